//! Every verb, on one machine with the hello example.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{Machine, component, ended, one_sentence, stderr, stdout, wctl};
use serde_json::Value;

fn hello(replicas: u32) -> String {
    format!("app: hello\nimage: {}\nreplicas: {replicas}\nroute: hello.localhost\n", component("hello").display())
}

fn input(machine: &Machine, args: &[&str], text: &str) -> std::process::Output {
    let mut child = machine.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_deployed_changed_scaled_taken_back_and_deleted() {
    let machine = Machine::up(&[]);
    machine.prints("nothing is deployed yet");

    // A dry run changes nothing; a deploy does, and says what is granted.
    let file = machine.data.join("hello.yaml");
    std::fs::write(&file, hello(2)).unwrap();
    let path = file.to_str().unwrap();
    assert!(machine.ok(&["deploy", path, "--dry-run"]).contains("nothing was changed"));
    assert!(machine.fails(&["describe", "app", "hello"]).contains("no app hello"));
    assert!(machine.ok(&["deploy", path, "--wait"]).contains("ready"));
    assert_eq!(machine.get("hello.localhost", "/").await, (200, "Hello from wctl!\n".into()));
    assert_eq!(machine.get("other.localhost", "/").await.0, 404);
    assert!(machine.ok(&["deploy", path, "--wait"]).contains("unchanged"), "M16: the same file twice is no change");
    assert!(machine.ok(&["diff", path]).contains("would not change"));

    // All forms of output.
    let pods = machine.json(&["get", "pods"]);
    assert_eq!(pods["items"].as_array().unwrap().len(), 2, "{pods:#}");
    assert!(machine.ok(&["get", "pods"]).starts_with("NAME"));
    assert!(machine.ok(&["get", "deploy,svc", "-o", "wide"]).contains("deployment/hello"));
    assert!(machine.ok(&["get", "app", "hello", "-o", "yaml"]).contains("kind: App"));
    assert_eq!(machine.ok(&["get", "deployments", "-o", "name"]).trim(), "deployment.apps/hello");
    assert_eq!(machine.json(&["get", "app/hello"])["metadata"]["name"], "hello");
    assert!(machine.ok(&["get", "nodes"]).contains("Ready"));
    assert!(machine.ok(&["get", "all", "-A"]).contains("pod/hello-"));
    assert!(machine.ok(&["ps"]).contains("hello-"));
    assert_eq!(machine.json(&["get", "pods", "-l", "wctl.dev/app=nonsense"])["items"], Value::Array(vec![]));
    assert!(machine.ok(&["status"]).contains("2/2"));
    assert_eq!(machine.json(&["status", "hello"])["status"]["phase"], "Ready");
    for args in [
        &["describe", "hello"][..],
        &["describe", "pods"],
        &["describe", "deployment/hello"],
        &["describe", "service", "hello"],
        &["describe", "nodes"],
    ] {
        assert!(machine.ok(args).contains("Events:"), "{args:?}");
    }
    assert!(machine.ok(&["events", "hello"]).contains("Started"));
    machine.ok(&["logs", "hello"]);

    // Scaled by hand, and by file.
    machine.ok(&["scale", "hello", "--replicas", "4", "--wait"]);
    assert_eq!(machine.json(&["get", "pods"])["items"].as_array().unwrap().len(), 4);
    assert!(machine.fails(&["scale", "hello/nope", "--replicas", "1"]).contains("no service nope"));
    assert!(machine.fails(&["scale", "nope", "--replicas", "1"]).contains("there is hello"));

    // Changed, and taken back as a new revision.
    std::fs::write(&file, format!("{}env: {{ GREETING: hi }}\n", hello(3))).unwrap();
    assert!(machine.ok(&["diff", path]).contains("GREETING"));
    machine.ok(&["deploy", path, "--wait"]);
    assert!(machine.ok(&["rollout", "history", "hello"]).contains("current"));
    machine.ok(&["rollout", "undo", "hello", "--wait"]);
    let app = machine.json(&["get", "app", "hello"]);
    assert!(app["spec"]["services"]["hello"]["env"]["GREETING"].is_null() && app["spec"]["env"]["GREETING"].is_null(), "{app:#}");
    machine.ok(&["rollout", "undo", "hello", "--to-revision", "1", "--wait"]);
    assert!(machine.fails(&["rollout", "undo", "hello", "--to-revision", "99"]).contains("no revision 99"));
    let names = |pods: &Value| pods["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].clone()).collect::<Vec<_>>();
    let before = names(&machine.json(&["get", "pods"]));
    machine.ok(&["rollout", "restart", "hello", "--wait"]);
    let after = names(&machine.json(&["get", "pods", "--field-selector", "status.phase=Running"]));
    assert!(after.iter().all(|name| !before.contains(name)), "{before:?} {after:?}");
    machine.ok(&["rollout", "status", "hello"]);
    assert_eq!(machine.get("hello.localhost", "/").await.0, 200);

    // Gone, with all that it owned.
    machine.ok(&["delete", "-f", path, "--wait"]);
    assert!(machine.fails(&["delete", "app", "hello"]).contains("no app hello"));
    machine.ok(&["delete", "app", "hello", "--ignore-not-found"]);
    assert_eq!(machine.json(&["get", "pods,svc,ing,deploy"])["items"], Value::Array(vec![]));
    assert_eq!(machine.get("hello.localhost", "/").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn components_go_to_the_registry_and_come_back() {
    let machine = Machine::up(&[]);
    let wasm = component("hello");
    let pushed = machine.json(&["push", wasm.to_str().unwrap(), "hello:1"]);
    let pinned = pushed["pinned"].as_str().unwrap();
    assert!(pinned.starts_with("hello@sha256:"), "{pushed}");
    let back = machine.data.join("back.wasm");
    machine.ok(&["pull", "hello:1", back.to_str().unwrap()]);
    assert_eq!(std::fs::read(&back).unwrap(), std::fs::read(&wasm).unwrap());
    assert!(machine.ok(&["inspect", pinned]).contains("wasi:http/"));
    assert!(machine.ok(&["images"]).contains("hello"));
    assert!(machine.fails(&["pull", "hello:2"]).contains("hello:2"));
    machine.deploy("app: tagged\nimage: hello:1\nroute: tagged.localhost\n");
    assert_eq!(machine.get("tagged.localhost", "/").await.0, 200);
    let app = machine.json(&["get", "app", "tagged"]);
    assert_eq!(app["spec"]["services"]["tagged"]["image"], pinned, "a tag becomes a digest");
    machine.ok(&["prune", "--dry-run"]);
    machine.ok(&["prune"]);
    assert_eq!(machine.get("tagged.localhost", "/").await.0, 200, "what runs is not pruned");
    assert!(machine.ok(&["get", "pods"]).contains("tagged"));
}

#[test]
fn secrets_are_set_from_stdin_and_never_shown() {
    let machine = Machine::up(&[]);
    ended(&input(&machine, &["secret", "set", "DB_URL"], "postgres://top:secret@db\n"), 0);
    ended(&input(&machine, &["secret", "set", "OTHER"], "x"), 0);
    let list = machine.ok(&["secret", "list"]);
    assert!(list.contains("DB_URL") && list.contains("OTHER") && !list.contains("postgres"), "{list}");
    let described = machine.ok(&["describe", "secret", "wctl-secrets"]);
    assert!(described.contains("DB_URL") && !described.contains("c2VjcmV0"), "h31: {described}");
    let data = machine.json(&["get", "secret", "wctl-secrets"])["data"]["DB_URL"].clone();
    assert_eq!(data, "cG9zdGdyZXM6Ly90b3A6c2VjcmV0QGRi", "its line end is dropped");
    machine.ok(&["secret", "rm", "OTHER"]);
    assert_eq!(machine.json(&["secret", "list"])["names"], serde_json::json!(["DB_URL"]));
    let output = machine.command(&["secret", "rm", "OTHER"]).output().unwrap();
    ended(&output, 1);
    ended(&input(&machine, &["secret", "set", "EMPTY"], ""), 1);
    assert!(!machine.everything().contains("top:secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_manifest_deploys() {
    let machine = Machine::up(&[]);
    machine.ok(&["push", component("hello").to_str().unwrap(), "hello:1"]);
    let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: plain}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: plain}}\n  template:\n    metadata: {labels: {app: plain}}\n    spec:\n      containers: [{name: main, image: 'hello:1', ports: [{containerPort: 80}]}]\n---\napiVersion: v1\nkind: Service\nmetadata: {name: plain}\nspec: {selector: {app: plain}, ports: [{port: 80}]}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: plain}\nspec:\n  rules: [{host: plain.localhost, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: plain, port: {number: 80}}}}]}}]\n";
    let output = input(&machine, &["deploy", "-", "--wait"], manifest);
    ended(&output, 0);
    assert!(stdout(&output).contains("deployment plain is ready"), "{}", stdout(&output));
    machine.ok(&["get", "ingress", "plain"]);
    assert_eq!(machine.get("plain.localhost", "/").await.0, 200);
    let output = input(&machine, &["deploy", "-"], manifest);
    assert!(stdout(&output).contains("deployment plain is unchanged"), "{}{}", stdout(&output), stderr(&output));
    ended(&input(&machine, &["delete", "-f", "-"], manifest), 0);
    let privileged = manifest.replace("ports: [{containerPort: 80}]", "securityContext: {privileged: true}");
    let output = input(&machine, &["deploy", "-"], &privileged);
    ended(&output, 1);
    assert!(one_sentence(&output).contains("privileged"));
    assert_eq!(machine.json(&["get", "svc"])["items"], Value::Array(vec![]), "nothing is half applied");
}

#[test]
fn a_deploy_that_cannot_be_ready_says_why() {
    let machine = Machine::up(&[]);
    let file = machine.data.join("greedy.yaml");
    std::fs::write(&file, format!("{}limits: {{ memory: 900Gi }}\nrollout: {{ deadline: 2s }}\n", hello(1))).unwrap();
    let sentence = machine.fails(&["deploy", file.to_str().unwrap(), "--wait"]);
    assert!(sentence.contains("hello") && sentence.contains("900Gi"), "{sentence}");
    // A component that is gone fails before anything is written.
    std::fs::write(&file, "app: missing\nimage: nowhere:1\n").unwrap();
    assert!(machine.fails(&["deploy", file.to_str().unwrap()]).contains("nowhere:1"));
    assert!(machine.fails(&["describe", "app", "missing"]).contains("no app missing"));
}

#[test]
fn m12_a_route_belongs_to_one_app() {
    let machine = Machine::up(&[]);
    machine.deploy(&hello(1));
    let file = machine.data.join("other.yaml");
    std::fs::write(&file, hello(1).replace("app: hello", "app: other")).unwrap();
    let sentence = machine.fails(&["deploy", file.to_str().unwrap()]);
    assert!(sentence.contains("hello.localhost") && sentence.contains("hello"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_ours_is_never_written_to() {
    // Anything that answers HTTP will do: it is asked for its version, and gets nothing else.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let log = asked.clone();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let log = log.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 8192];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    log.lock().unwrap().push(text.lines().next().unwrap_or_default().to_owned());
                    let body = "{\"major\":\"1\",\"minor\":\"33\",\"platform\":\"linux/amd64\"}";
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: a, user: {{token: t}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n"
    );
    std::fs::write(home.path().join("kubeconfig"), kubeconfig).unwrap();
    let app = home.path().join("app.yaml");
    std::fs::write(&app, hello(1)).unwrap();
    for args in
        [&["deploy", app.to_str().unwrap()][..], &["delete", "app", "x"], &["scale", "x", "--replicas", "1"], &["rollout", "restart", "x"]]
    {
        let output = wctl().arg("--data").arg(home.path()).args(args).output().unwrap();
        ended(&output, 1);
        let sentence = one_sentence(&output);
        assert!(sentence.contains("not a wctl server"), "{args:?}: {sentence}");
    }
    let asked = asked.lock().unwrap();
    assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with("GET /version")), "{asked:?}");
}
