//! From an app to the objects that it stands for.

use scheduler::app::{AppSpec, app_object, expand};
use serde_json::{Value, json};

use crate::support::{app, compare, locked, read, render, spec};

fn stamped(text: &str) -> Value {
    let file = app(text);
    let mut object = app_object(&spec(text), &file.name, file.namespace.as_deref().unwrap_or("default"));
    object["metadata"]["uid"] = json!("u-1");
    object
}

fn expanded(text: &str) -> Vec<Value> {
    expand(&stamped(text)).unwrap_or_else(|error| panic!("{error}"))
}

/// `Deployment shop-user` and so on.
fn names(objects: &[Value]) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    objects.iter().map(|object| format!("{} {}", word(&object["kind"]), word(&object["metadata"]["name"]))).collect()
}

const SHOP: &str = "
app: shop
namespace: prod
env: { LOG_LEVEL: info, A: app }
services:
  user:
    image: ghcr.io/acme/user:1
    replicas: 2
    env: { A: own }
    args: [--fast]
    route: [shop.localhost/users, { path: /u }]
    probe: { path: /healthz, every: 10s, timeout: 2s, fail: 4 }
    limits: { memory: 64Mi, cpu: 200m, time: 5s, concurrency: 50 }
    sandbox: { reuse: 7 }
    uses: { keyvalue: [users, carts], blobs: [uploads], secrets: [DB_URL], connect: [https://api.mail.example], call: [cart], volumes: { /data: { size: 100Mi }, /var/tmp: { size: 1Gi } } }
    place: { spread: zone, require: { disk: ssd } }
    restart: { backoff: 1s..20s, reset: 5m }
  cart: { image: ./cart.wasm }
rollout: { surge: 25%, unavailable: 1, deadline: 90s, bake: 10s, on_failure: pause }
";

#[test]
fn a_service_becomes_a_deployment_a_service_and_an_ingress() {
    let objects = expanded(SHOP);
    assert_eq!(
        names(&objects),
        ["Deployment shop-cart", "Service shop-cart", "Deployment shop-user", "Service shop-user", "Ingress shop-user"]
    );
    let labels = json!({ "wctl.dev/app": "shop", "wctl.dev/service": "user" });
    let owner = json!([{ "apiVersion": "wctl.dev/v1", "kind": "App", "name": "shop", "uid": "u-1", "controller": true, "blockOwnerDeletion": true }]);
    let probe = json!({ "httpGet": { "path": "/healthz", "port": 80 }, "periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 4 });
    assert_eq!(
        objects[2],
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "shop-user", "namespace": "prod", "labels": labels, "ownerReferences": owner,
                "annotations": { "wctl.dev/on-failure": "pause", "wctl.dev/bake": "10s", "wctl.dev/image": "ghcr.io/acme/user:1" },
            },
            "spec": {
                "replicas": 2, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 90, "selector": { "matchLabels": labels },
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": 1 } },
                "template": {
                    "metadata": {
                        "labels": labels,
                        "annotations": {
                            "wctl.dev/image": "ghcr.io/acme/user:1", "wctl.dev/keyvalue": "carts,users", "wctl.dev/blobs": "uploads", "wctl.dev/volumes": "/data=100Mi,/var/tmp=1Gi", "wctl.dev/connect": "https://api.mail.example:443",
                            "wctl.dev/call": "cart", "wctl.dev/time": "5s", "wctl.dev/concurrency": "50", "wctl.dev/reuse": "7",
                            "wctl.dev/restart-backoff": "1s..20s", "wctl.dev/restart-reset": "5m", "wctl.dev/spread": "zone",
                        },
                    },
                    "spec": {
                        "runtimeClassName": "wasm",
                        "nodeSelector": { "disk": "ssd" },
                        "containers": [{
                            "name": "user", "image": locked("user", "ghcr.io/acme/user:1").image, "args": ["--fast"],
                            "ports": [{ "name": "http", "containerPort": 80 }],
                            "env": [
                                { "name": "A", "value": "own" },
                                { "name": "LOG_LEVEL", "value": "info" },
                                { "name": "DB_URL", "valueFrom": { "secretKeyRef": { "name": "wctl-secrets", "key": "DB_URL" } } },
                            ],
                            "resources": { "limits": { "memory": "64Mi", "cpu": "200m" }, "requests": { "memory": "64Mi", "cpu": "200m" } },
                            "readinessProbe": probe, "livenessProbe": probe,
                        }],
                    },
                },
            },
        })
    );
    let ports = json!([{ "name": "http", "port": 80, "targetPort": 80, "protocol": "TCP" }]);
    assert_eq!(objects[3]["spec"], json!({ "selector": labels, "ports": ports }));
    let backend = json!({ "service": { "name": "shop-user", "port": { "number": 80 } } });
    assert_eq!(
        objects[4]["spec"]["rules"],
        json!([
            { "http": { "paths": [{ "path": "/u", "pathType": "Prefix", "backend": backend }] } },
            { "host": "shop.localhost", "http": { "paths": [{ "path": "/users", "pathType": "Prefix", "backend": backend }] } },
        ])
    );
}

#[test]
fn what_is_not_said_is_filled_in() {
    let pod = &expanded("app: hello\nimage: ./a.wasm\n")[0]["spec"]["template"];
    assert_eq!(
        pod["metadata"]["annotations"],
        json!({ "wctl.dev/image": "./a.wasm", "wctl.dev/time": "30s", "wctl.dev/concurrency": "100", "wctl.dev/reuse": "1" })
    );
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["resources"], json!({ "limits": { "memory": "128Mi" }, "requests": { "memory": "2Mi" } }));
    for absent in ["env", "args", "readinessProbe", "livenessProbe"] {
        assert_eq!(container.get(absent), None);
    }
}

#[test]
fn only_a_service_named_like_its_app_is_just_the_app() {
    assert_eq!(names(&expanded("app: hello\nimage: ./a.wasm\n")), ["Deployment hello", "Service hello"]);
    assert_eq!(names(&expanded("app: hello\nservices: { web: { image: ./a.wasm } }\n"))[0], "Deployment hello-web");
    let two = names(&expanded("app: hello\nservices: { hello: { image: ./a.wasm }, web: { image: ./b.wasm } }\n"));
    assert_eq!(two, ["Deployment hello", "Service hello", "Deployment hello-web", "Service hello-web"]);
}

#[test]
fn the_objects_are_ones_that_kubernetes_knows() {
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service, networking::v1::Ingress};
    let objects = expanded(SHOP);
    let round = |value: &Value, back: Result<Value, serde_json::Error>| assert_eq!(Some(value), back.ok().as_ref());
    for object in &objects {
        match object["kind"].as_str() {
            Some("Deployment") => round(object, serde_json::from_value::<Deployment>(object.clone()).and_then(serde_json::to_value)),
            Some("Service") => round(object, serde_json::from_value::<Service>(object.clone()).and_then(serde_json::to_value)),
            _ => round(object, serde_json::from_value::<Ingress>(object.clone()).and_then(serde_json::to_value)),
        }
    }
}

#[test]
fn m14_a_secret_that_is_not_there_is_named_with_what_to_do() {
    let spec = spec(
        "app: shop\nservices:\n  a: { image: ./a.wasm, uses: { secrets: [DB_URL, KEY] } }\n  b: { image: ./b.wasm, uses: { secrets: [DB_URL] } }\n",
    );
    let there = |name: &str| name == "KEY";
    assert_eq!(
        spec.missing_secrets("prod", &there),
        ["the secret DB_URL of a and b is not in namespace prod; set it with `wctl secret set DB_URL`"]
    );
    assert!(spec.missing_secrets("prod", &|_| true).is_empty());
}

#[test]
fn m17_a_field_that_this_server_does_not_know_is_refused_by_name() {
    let mut object = stamped(SHOP);
    object["spec"]["services"]["user"]["gpu"] = json!(1);
    object["spec"]["services"]["cart"]["limits"]["disk"] = json!("1Gi");
    object["spec"]["mesh"] = json!({});
    let error = expand(&object).expect_err("three fields are not known").to_string().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    compare(
        &error,
        "
app shop is not valid:
spec.mesh: the field `mesh` is not known to this server (wctl VERSION)
spec.services.cart.limits.disk: the field `disk` is not known to this server (wctl VERSION)
spec.services.user.gpu: the field `gpu` is not known to this server (wctl VERSION)",
    );
}

#[test]
fn m17_unknown_fields_survive_a_round_trip_through_the_types() {
    let mut object = stamped(SHOP);
    object["spec"]["mesh"] = json!({ "x": [1] });
    for (part, value) in [
        ("gpu", json!(1)),
        ("limits", json!({ "disk": "1Gi", "time": "5s", "concurrency": 50 })),
        ("probe", json!({ "path": "/h", "every": "5s", "timeout": "1s", "fail": 3, "grpc": true })),
    ] {
        object["spec"]["services"]["user"][part] = value;
    }
    object["spec"]["rollout"]["waves"] = json!(3);
    let spec: AppSpec = serde_json::from_value(object["spec"].clone()).expect("unknown fields are kept");
    assert_eq!(serde_json::to_value(&spec).ok().as_ref(), Some(&object["spec"]));
}

#[test]
fn a_job_becomes_a_job_of_its_own_name_or_a_cron_job_and_nothing_that_takes_requests() {
    let file = "app: shop\nservices:\n  web: { image: ./web.wasm }\n  migrate: { image: ./m.wasm, job: { retries: 2, deadline: 90s } }\n  \
                report: { image: ./r.wasm, job: { cron: \"0 3 * * *\", timezone: Europe/Zurich, overlap: forbid, history: 5 } }\n";
    let objects = expanded(file);
    let all = names(&objects);
    let migrate = all[0].strip_prefix("Job shop-migrate-").expect("a name of its own").to_owned();
    assert_eq!(all[1..], ["CronJob shop-report", "Deployment shop-web", "Service shop-web"]);
    let run = &objects[0]["spec"];
    assert_eq!((&run["backoffLimit"], &run["activeDeadlineSeconds"], &run["completions"]), (&json!(2), &json!(90), &json!(1)));
    assert_eq!(run["template"]["spec"]["restartPolicy"], "Never");
    let cron = &objects[1]["spec"];
    assert_eq!(
        (&cron["schedule"], &cron["timeZone"], &cron["concurrencyPolicy"]),
        (&json!("0 3 * * *"), &json!("Europe/Zurich"), &json!("Forbid"))
    );
    assert_eq!((&cron["successfulJobsHistoryLimit"], &cron["failedJobsHistoryLimit"]), (&json!(5), &json!(5)));
    assert_eq!(cron["jobTemplate"]["spec"]["template"]["metadata"]["labels"]["wctl.dev/service"], "report");
    assert_eq!(names(&expanded(file))[0], all[0], "what did not change does not run again");
    let changed = names(&expanded(&file.replace("retries: 2", "retries: 3")));
    assert!(!changed[0].ends_with(&migrate), "what changed does: {changed:?}");
}

#[test]
fn a_scale_becomes_an_autoscaler_that_owns_the_replicas() {
    let objects =
        expanded("app: web\nimage: ./a.wasm\nlimits: { cpu: 500m }\nscale: { min: 2, max: 9, concurrency: 40, cpu: 70%, window: 30s }\n");
    assert_eq!(names(&objects), ["Deployment web", "Service web", "HorizontalPodAutoscaler web"]);
    assert!(objects[0]["spec"].get("replicas").is_none());
    let spec = &objects[2]["spec"];
    assert_eq!((&spec["minReplicas"], &spec["maxReplicas"]), (&json!(2), &json!(9)));
    assert_eq!(spec["scaleTargetRef"]["name"], "web");
    assert_eq!(spec["metrics"][0]["pods"]["target"]["averageValue"], "40");
    assert_eq!(spec["metrics"][1]["resource"]["target"]["averageUtilization"], 70);
    assert_eq!(spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 30);
    let sleeps = &expanded("app: web\nimage: ./a.wasm\nscale: { min: 0, max: 1 }\n")[2]["spec"];
    assert_eq!((&sleeps["minReplicas"], &sleeps["metrics"][0]["type"]), (&json!(0), &json!("Pods")), "not Kubernetes' own aim");
    assert_eq!(sleeps["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 60);
    let about = |text: &str| render(&read(format!("app: hello\nimage: ./a.wasm\n{text}")));
    assert!(about("scale: { max: 3 }\n").contains("a scale needs something to go by"));
    assert!(about("scale: { min: 4, max: 3, concurrency: 1 }\n").contains("`min` is 4, more than `max`"));
    assert!(about("scale: { max: 3, cpu: 50% }\n").contains("`limits.cpu`, which is not given"));
    assert!(about("replicas: 2\nscale: { max: 3, concurrency: 1 }\n").contains("exclude each other"));
}

#[test]
fn a_job_says_nothing_that_only_services_or_clocks_have() {
    let about = |text: &str| render(&read(format!("app: hello\nimage: ./a.wasm\n{text}")));
    let told = about("replicas: 2\nroute: a.localhost\njob: { timezone: UTC }\n");
    for part in ["`replicas` is for services that are kept running", "`route` is for services", "`timezone` is for jobs with a `cron` line"]
    {
        assert!(told.contains(part), "{part}:\n{told}");
    }
    assert!(about("job: { cron: \"0 25 * * *\" }\n").contains("its hour `25`"));
    assert!(about("job: { cron: \"@daily\", timezone: Mars/Olympus }\n").contains("`Mars/Olympus` is not a time zone"));
    assert!(about("job: { cron: \"@daily\", overlap: Forbid }\n").contains("did you mean `forbid`"));
}

#[test]
fn what_comes_over_the_api_is_held_to_the_same_rules() {
    let image = locked("a", "./a.wasm").image;
    let spec = json!({
        "services": {
            "a": { "image": "ghcr.io/acme/a:1", "replicas": -1, "limits": { "memory": "64", "concurrency": "7" }, "route": ["x.example"] },
            "b": { "image": image, "route": [{ "host": "x.example" }], "uses": { "call": ["c"], "connect": ["https://u@h"], "listen": ["0/tcp"] }, "build": "." },
            "C": { "image": image, "retry": { "attempts": 1 } },
        },
        "rollout": { "surge": 0 },
        "lost": { "after": "6s" },
    });
    let mistakes = AppSpec::read(&spec).expect_err("there are many").to_string().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    for expected in [
        "spec.services.a.image: `ghcr.io/acme/a:1` has no digest",
        "spec.services.a.replicas: `-1` is not between 0 and 10000",
        "spec.services.a.limits.memory: `64` is 64 bytes",
        "spec.services.a.limits.concurrency: expected a whole number, found the text \"7\"",
        "services.b.route.0: `x.example` leads to the service `a` already",
        "services.b.uses.call.0: the app has no service `c` to call",
        "spec.services.b.uses.connect.0: `https://u@h` is not a target",
        "spec.services.b.uses.listen.0: `0/tcp` has no port from 1 to 65535",
        "spec.services.b.build: the field `build` is not known to this server (wctl VERSION)",
        "spec.services.C: `C` cannot be a name",
        "spec.services.C.retry: not yet",
        "rollout.surge: `surge` and `unavailable` are both 0",
        "spec.lost: not yet",
    ] {
        assert!(mistakes.contains(expected), "{expected}\nis not in\n{mistakes}");
    }
    for odd in [json!(null), json!([]), json!("x"), json!({}), json!({ "services": [] }), json!({ "services": { "a": null } })] {
        assert!(AppSpec::read(&odd).is_err(), "{odd}");
    }
}

#[test]
fn a_spec_is_read_as_it_was_written() {
    let spec = spec(SHOP);
    let value = serde_json::to_value(&spec).expect("a spec is JSON");
    assert_eq!(AppSpec::read(&value).as_ref(), Ok(&spec));
}

#[test]
fn locking_takes_a_digest_for_every_service() {
    let file = || app("app: hello\nimage: x:1\n");
    let error = file().lock(Default::default()).expect_err("no image is locked");
    assert_eq!(error.to_string(), "locking the app: service hello has no image with a digest");
    let tag = scheduler::app::Locked { image: "x:1".into(), typed: "x:1".into() };
    assert!(file().lock([("hello".to_owned(), tag)].into()).is_err());
}

#[test]
fn an_object_without_its_metadata_is_no_app() {
    for (path, field) in [("name", "metadata.name"), ("namespace", "metadata.namespace"), ("uid", "metadata.uid")] {
        let mut object = stamped("app: hello\nimage: ./a.wasm\n");
        object["metadata"][path].take();
        assert_eq!(expand(&object).expect_err("a field is missing").to_string(), format!("expanding an app: its {field} is missing"));
    }
}
