//! Manifests, Compose files and spin.toml become app files that are read without a mistake, and an app file becomes manifests.

use scheduler::app::convert::{self, Converted};
use scheduler::app::{AppFile, Parsed, Source, read_documents};
use serde_json::{Value, json};

use crate::support::{check, read};

fn converted(text: &str) -> Converted {
    convert::app(&read_documents(&[Source::new("in.yaml", text)]).unwrap(), "shop").unwrap_or_else(|why| panic!("{why}"))
}

fn app(converted: &Converted) -> AppFile {
    match read(converted.text.as_str()) {
        Ok(Parsed::App(app)) => *app,
        other => panic!("{other:?} of\n{}", converted.text),
    }
}

#[track_caller]
fn noted(converted: &Converted, word: &str) {
    assert!(converted.notes.iter().any(|note| note.contains(word)), "{word} is not among {:#?}", converted.notes);
}

const PRIMER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: my-python-app }
spec:
  replicas: 3
  selector: { matchLabels: { app: python-app } }
  template:
    metadata: { labels: { app: python-app } }
    spec:
      containers:
        - name: python-app
          image: my-python-app:latest
          ports: [{ containerPort: 5000 }]
";

#[test]
fn the_primer_example_is_three_lines() {
    let found = converted(PRIMER);
    assert_eq!(found.text, "app: my-python-app\nimage: my-python-app:latest\nreplicas: 3\n");
    noted(&found, "push one with `wctl push FILE.wasm my-python-app:latest`");
}

#[test]
fn manifests_become_services_with_their_routes_variables_and_limits() {
    let found = converted(
        "
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: prod, labels: { app.kubernetes.io/instance: store } }
spec:
  selector: { matchLabels: { app: web } }
  strategy: { rollingUpdate: { maxSurge: 2, maxUnavailable: 25% } }
  template:
    metadata: { labels: { app: web, tier: front } }
    spec:
      nodeSelector: { region: eu }
      topologySpreadConstraints: [{ maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway }]
      volumes: [{ name: cache, emptyDir: {} }]
      containers:
        - name: web
          image: ghcr.io/acme/web:1.2
          args: [--verbose]
          command: [/bin/web]
          env:
            - { name: MONEY, value: 'US$5' }
            - { name: DB_URL, valueFrom: { secretKeyRef: { name: db, key: url } } }
            - { name: LEVEL, valueFrom: { configMapKeyRef: { name: settings, key: level } } }
            - { name: POD, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
          envFrom: [{ configMapRef: { name: settings }, prefix: S_ }]
          readinessProbe: { httpGet: { path: /healthz, port: http }, periodSeconds: 7 }
          resources: { limits: { memory: 64Mi, cpu: 200m } }
        - { name: sidecar, image: envoy }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: api }
spec:
  replicas: 2
  selector: { matchLabels: { app: api } }
  template: { metadata: { labels: { app: api } }, spec: { containers: [{ name: api, image: 'api:1', livenessProbe: { exec: { command: [x] } } }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: web }, spec: { selector: { app: web }, ports: [{ port: 80 }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: api }, spec: { selector: { app: api }, ports: [{ port: 80 }] } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: settings }, data: { level: info } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: unused }, data: { a: b } }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web }
spec: { rules: [{ host: shop.example.com, http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }] } }] }
",
    );
    let app = app(&found);
    assert_eq!((app.name.as_str(), app.namespace.as_deref(), app.services.len()), ("store", Some("prod"), 2));
    let web = &app.services["web"].settings;
    let env: Vec<String> = web.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(env, ["LEVEL=info", "MONEY=US$5", "S_level=info"]);
    assert!(web.uses.secrets.contains("DB_URL") && web.args == ["--verbose"]);
    assert_eq!((web.place.spread.as_deref(), web.place.require["region"].as_str()), (Some("zone"), "eu"));
    assert_eq!((web.probe.as_ref().unwrap().path.as_str(), web.route.len()), ("/healthz", 1));
    assert_eq!(app.services["api"].settings.replicas, 2);
    for word in [
        "sidecar",
        "`command`",
        "wctl secret set DB_URL",
        "HOSTNAME",
        "volume cache",
        "http://api.internal",
        "its probe is left out",
        "ConfigMap unused",
    ] {
        noted(&found, word);
    }
    assert!(!found.notes.iter().any(|note| note.contains("ConfigMap settings")));
}

#[test]
fn of_a_compose_file_the_database_stays_in_docker() {
    let found = converted(
        "
name: Shop
services:
  web:
    build: { context: ./web, dockerfile: Dockerfile }
    ports: ['8080:80']
    environment: { LEVEL: info, DATABASE_URL: 'postgres://u@db:5432/x' }
    depends_on: { db: { condition: service_healthy }, api: { condition: service_started } }
    healthcheck: { test: [CMD, curl, -f, 'http://localhost:80/healthz'], interval: 10s, retries: 5 }
    deploy: { replicas: 2, resources: { limits: { cpus: '0.5', memory: 128M } } }
    volumes: ['data:/data', './conf:/etc/conf:ro']
    privileged: true
  api: { image: 'acme/api:1', command: serve --all, environment: [MODE=fast, TAG] }
  db: { image: 'postgres:16-alpine', volumes: ['pg:/var/lib/postgresql/data'] }
volumes: { data: {}, pg: {} }
",
    );
    let app = app(&found);
    assert_eq!((app.name.as_str(), app.services.keys().map(String::as_str).collect::<Vec<_>>()), ("shop", vec!["api", "web"]));
    let web = &app.services["web"].settings;
    assert_eq!((web.replicas, web.limits.cpu.map(|cpu| cpu.to_string()), web.probe.as_ref().unwrap().fail), (2, Some("500m".into()), 5));
    assert!(web.uses.connect.contains("tcp://db:5432") && web.uses.call.contains("api") && web.uses.volumes.contains_key("/data"));
    let api = &app.services["api"].settings;
    assert_eq!((api.args.join(" "), api.env["MODE"].as_str(), api.env["TAG"].as_str()), ("serve --all".into(), "fast", "2.0"));
    for word in ["db stays in Docker (postgres:16-alpine)", "the Dockerfile is not used", "web.shop.localhost", "./conf", "`privileged`"] {
        noted(&found, word);
    }
}

#[test]
fn a_spin_application_keeps_its_routes_hosts_and_stores() {
    let found = convert::spin(
        r#"
spin_manifest_version = 2
[application]
name = "greeter"
[[trigger.http]]
route = "/hello/..."
component = "hello"
[[trigger.redis]]
channel = "x"
component = "hello"
[component.hello]
source = "target/wasm32-wasip2/release/hello.wasm"
allowed_outbound_hosts = ["https://api.example.com", "postgres://db:5432", "https://*.example.com", "http://other.spin.internal"]
key_value_stores = ["default"]
environment = { LEVEL = "info" }
[component.hello.build]
command = "cargo build --target wasm32-wasip2 --release"
[component.other]
source = { url = "https://example.com/other.wasm", digest = "sha256:00" }
"#,
    )
    .unwrap();
    let app = app(&found);
    assert_eq!((app.name.as_str(), app.services.len()), ("greeter", 2));
    let hello = &app.services["hello"].settings;
    assert_eq!(hello.uses.connect.iter().map(String::as_str).collect::<Vec<_>>(), ["https://api.example.com:443", "tcp://db:5432"]);
    assert!(hello.uses.keyvalue.contains("default") && hello.uses.call.contains("other") && hello.env["LEVEL"] == "info");
    assert!(found.text.contains("greeter.localhost/hello"), "{}", found.text);
    for word in ["`redis`", "https://*.example.com", "https://example.com/other.wasm"] {
        noted(&found, word);
    }
    assert!(convert::spin("a = ").is_err() && convert::spin("a = 1").unwrap_err().to_string().contains("no spin.toml"));
}

#[test]
fn an_app_file_becomes_manifests_with_images_as_typed() {
    let Ok(Parsed::App(file)) = read("app: hello\nimage: ghcr.io/acme/hello:1\nreplicas: 2\nroute: hello.localhost\n") else { panic!() };
    let found = convert::manifests(*file).unwrap();
    let objects: Vec<Value> = read_documents(&[Source::new("k.yaml", found.text.as_str())]).unwrap().into_iter().map(|d| d.value).collect();
    let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Deployment", "Service", "Ingress"]);
    assert_eq!(objects[0].pointer("/spec/template/spec/containers/0/image"), Some(&json!("ghcr.io/acme/hello:1")));
    assert!(
        objects.iter().all(|object| object["metadata"].get("ownerReferences").is_none() && object["metadata"].get("namespace").is_none())
    );
    // And back again.
    let back = converted(&found.text);
    let app = app(&back);
    assert_eq!((app.name.as_str(), app.services["hello"].settings.replicas), ("hello", 2));
    assert!(back.text.contains("route: hello.localhost"), "{}", back.text);
}

#[test]
fn what_is_none_of_these_is_refused() {
    let refused = |text: &str| convert::app(&read_documents(&[Source::new("x.yaml", text)]).unwrap(), "x").unwrap_err().to_string();
    assert!(refused("a: b\n").contains("neither"));
    assert!(refused("app: x\nimage: ./x.wasm\n").contains("app file already"));
    assert!(refused("services: { db: { image: postgres } }\n").contains("nothing here can run"));
    check("services: { a: { image: x } }\n", "Compose");
}
