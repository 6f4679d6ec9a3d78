//! Every verb, on one machine with the hello example.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{Machine, component, ended, one_sentence, stderr, stdout};
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
    for malformed in [&["get", "pods", "-l", "=bad"][..], &["get", "pods", "--field-selector", "foo=bar"]] {
        let output = machine.command(malformed).output().unwrap();
        ended(&output, 2);
        assert!(one_sentence(&output).contains("selector"), "{}", stderr(&output));
    }
    let nowhere = machine.fails(&["-n", "acc", "deploy", path]);
    assert!(nowhere.contains("there is no namespace acc; make it with `echo '{\"apiVersion\""), "{nowhere}");
    assert!(machine.fails(&["delete", "ns", "acc"]).ends_with("there is no namespace acc"));
    let made = input(&machine, &["deploy", "-"], nowhere.split('\'').nth(1).unwrap());
    ended(&made, 0);
    machine.ok(&["get", "ns", "acc"]);
    let status = machine.ok(&["status"]);
    assert!(status.contains("revision 1   age ") && status.contains("2/2"), "{status}");
    assert!(machine.ok(&["status", "-o", "wide"]).contains("OWN REVISION"));
    assert_eq!(machine.json(&["status", "hello"])["status"]["phase"], "Ready");
    let described = machine.json(&["describe", "hello"]);
    assert!(described["kind"] == "App" && described["events"][0]["involvedObject"].is_object(), "{described:#}");
    assert_eq!(machine.json(&["describe", "pods"])["items"].as_array().unwrap().len(), 2);
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
    let url = machine.json(&["status", "hello"])["urls"][0].as_str().unwrap().to_owned();
    assert!(url.starts_with("http://hello.localhost:") && machine.ok(&["status"]).contains(&url), "{url}");

    // Scaled by hand, and by file.
    let scaled = machine.json(&["scale", "hello", "--replicas", "4", "--wait"]);
    assert_eq!((&scaled["replicas"], &scaled["ready"]), (&serde_json::json!(4), &serde_json::json!(true)), "{scaled}");
    assert_eq!(machine.json(&["get", "pods"])["items"].as_array().unwrap().len(), 4);
    assert!(machine.fails(&["scale", "hello/nope", "--replicas", "1"]).contains("no service nope"));
    assert!(machine.fails(&["scale", "nope", "--replicas", "1"]).contains("there is hello"));

    // Changed, and taken back as a new revision.
    std::fs::write(&file, format!("{}env: {{ GREETING: hi }}\n", hello(3))).unwrap();
    assert!(machine.ok(&["diff", path]).contains("GREETING"));
    machine.ok(&["deploy", path, "--wait"]);
    assert!(machine.ok(&["rollout", "history", "hello"]).contains("current"));
    let undone = machine.json(&["rollout", "undo", "hello", "--wait"]);
    assert_eq!(undone["changed"], true, "{undone}");
    let app = machine.json(&["get", "app", "hello"]);
    assert!(app["spec"]["services"]["hello"]["env"]["GREETING"].is_null() && app["spec"]["env"]["GREETING"].is_null(), "{app:#}");
    assert_eq!(app["spec"]["services"]["hello"]["replicas"], 3, "what runs keeps its replicas");
    machine.ok(&["rollout", "undo", "hello", "--to-revision", "1", "--wait"]);
    assert!(machine.fails(&["rollout", "undo", "hello", "--to-revision", "99"]).contains("no revision 99"));
    let names = |pods: &Value| pods["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].clone()).collect::<Vec<_>>();
    let before = names(&machine.json(&["get", "pods"]));
    assert_eq!(machine.json(&["rollout", "restart", "hello", "--wait"])["deployments"], serde_json::json!(["hello"]));
    let mut after = machine.json(&["get", "pods", "--field-selector", "status.phase=Running"]);
    // What still drains is on its way.
    after["items"].as_array_mut().unwrap().retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let after = names(&after);
    assert!(after.iter().all(|name| !before.contains(name)), "{before:?} {after:?}");
    assert_eq!(machine.json(&["rollout", "status", "hello"])["done"], true);
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
    std::fs::write(&back, "mine").unwrap();
    assert!(machine.fails(&["pull", "hello:1", back.to_str().unwrap()]).contains("--force"));
    assert_eq!(std::fs::read(&back).unwrap(), b"mine");
    assert_eq!(machine.json(&["pull", "hello:1", back.to_str().unwrap(), "--force"])["pinned"], pinned);
    machine.deploy("app: tagged\nimage: hello:1\nroute: tagged.localhost\n");
    assert_eq!(machine.get("tagged.localhost", "/").await.0, 200);
    let app = machine.json(&["get", "app", "tagged"]);
    assert_eq!(app["spec"]["services"]["tagged"]["image"], pinned, "a tag becomes a digest");
    machine.ok(&["prune", "--dry-run"]);
    machine.ok(&["prune", "--grace", "0s"]);
    assert_eq!(machine.get("tagged.localhost", "/").await.0, 200, "what runs is not pruned");
    assert!(machine.ok(&["get", "pods"]).contains("tagged"));
}

/// Bytes of all files of a folder.
fn bytes_in(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}

#[test]
fn prune_frees_what_no_revision_needs_in_the_registry_and_on_nodes() {
    let machine = Machine::up(&[]);
    // The same component but for a custom section: another digest.
    let other = machine.data.join("other.wasm");
    let mut bytes = std::fs::read(component("hello")).unwrap();
    bytes.extend([0, 5, 3, b'p', b'a', b'd', 0]);
    std::fs::write(&other, bytes).unwrap();
    machine.deploy(&hello(1));
    machine.deploy(&format!("app: other\nimage: {}\n", other.display()));
    let (registry, cache) = (machine.data.join("registry"), machine.data.join("node/cache"));
    let full = (bytes_in(&registry), bytes_in(&cache));
    let nothing = machine.ok(&["prune", "--grace", "0s"]);
    assert!(nothing.contains("there is nothing to drop") && (bytes_in(&registry), bytes_in(&cache)) == full, "{nothing}");

    machine.ok(&["delete", "app", "other", "--wait"]);
    let young = machine.json(&["prune", "--dry-run"]);
    assert!(young["items"].as_array().unwrap().iter().all(|item| item["what"] == "code"), "just pushed: {young:#}");
    let would = machine.json(&["prune", "--dry-run", "--grace", "0s"]);
    assert_eq!((bytes_in(&registry), bytes_in(&cache)), full, "a dry run drops nothing");
    let whats: std::collections::BTreeSet<&str> =
        would["items"].as_array().unwrap().iter().filter_map(|item| item["what"].as_str()).collect();
    assert_eq!(whats.into_iter().collect::<Vec<_>>(), ["blob", "code", "manifest"], "{would:#}");
    let said = machine.ok(&["prune", "--grace", "0s"]);
    assert!(said.starts_with("WHAT") && said.contains("are freed"), "{said}");
    let freed = full.0 + full.1 - bytes_in(&registry) - bytes_in(&cache);
    assert!(bytes_in(&registry) < full.0 && bytes_in(&cache) < full.1);
    let told = would["freedBytes"].as_u64().unwrap();
    assert!(told > 0 && freed >= told && freed < told + 4096, "{freed} of {would:#}");
    machine.ok(&["rollout", "restart", "hello", "--wait"]);
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
    assert_eq!(machine.json(&["secret", "rm", "OTHER"])["names"], serde_json::json!(["OTHER"]));
    assert_eq!(machine.json(&["secret", "list"])["names"], serde_json::json!(["DB_URL"]));
    let output = machine.command(&["secret", "rm", "OTHER"]).output().unwrap();
    ended(&output, 1);
    ended(&input(&machine, &["secret", "set", "EMPTY"], ""), 1);
    assert!(!machine.everything().contains("top:secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_come_first_and_missing_secrets_are_named_before_anything_waits() {
    let machine = Machine::up(&[]);
    let file = machine.data.join("pay.yaml");
    let path = file.to_str().unwrap();
    let image = component("hello").display().to_string();
    let plain = format!("app: pay\nservices:\n  checkout: {{ image: {image}, route: pay.localhost }}\n");
    std::fs::write(&file, &plain).unwrap();
    machine.ok(&["deploy", path, "--wait"]);
    let uses = "uses: { connect: [\"https://api.pay.example:443\"], secrets: [PAY_KEY], keyvalue: [orders] }";
    std::fs::write(&file, format!("{}rollout: {{ deadline: 60s }}\n", plain.replace("route:", &format!("replicas: 2, {uses}, route:"))))
        .unwrap();
    let output = machine.command(&["diff", path]).output().unwrap();
    ended(&output, 0);
    let lines: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "checkout will newly reach https://api.pay.example:443", "{lines:?}");
    assert_eq!(lines.last().unwrap(), "checkout changes its pods from 1 to 2", "{lines:?}");
    let missing = "warning: the secret PAY_KEY of checkout is not in namespace default; set it with `wctl secret set PAY_KEY`";
    assert!(stderr(&output).contains(missing), "{}", stderr(&output));
    let output = machine.command(&["deploy", path, "--dry-run"]).output().unwrap();
    assert!(stderr(&output).contains(missing), "{}", stderr(&output));

    // The App may come before its secret: the rollout waits, the old pod serves, and all is well once the secret is set.
    let output = machine.command(&["deploy", path, "--wait=false"]).output().unwrap();
    ended(&output, 0);
    assert!(stderr(&output).contains(missing) && stdout(&output).contains("app pay is changed"), "{}", stderr(&output));
    assert_eq!(machine.get("pay.localhost", "/").await.0, 200);
    ended(&input(&machine, &["secret", "set", "PAY_KEY"], "hush-hush"), 0);
    machine.ok(&["rollout", "status", "pay"]);
    let output = machine.command(&["deploy", path, "--wait"]).output().unwrap();
    ended(&output, 0);
    assert!(!stderr(&output).contains("warning") && !machine.everything().contains("hush-hush"), "{}", stderr(&output));
}

#[test]
fn a_watch_goes_on_with_each_change_under_the_same_columns() {
    let machine = Machine::up(&[]);
    let start = |args: &[&str]| common::Lines::of(machine.command(args));
    let (pods, whole, events) = (start(&["get", "pods", "-w"]), start(&["get", "pods", "-w", "-o", "name"]), start(&["events", "-w"]));
    // Headers stand there although there is no pod yet, so the watch is on its way.
    pods.prints("NAME");
    machine.deploy(&hello(1));
    let running = pods.prints("Running");
    let name = whole.prints("pod/hello-").trim_start_matches("pod/").to_owned();
    assert!(running.starts_with(&name), "{running}");
    events.prints("Started");
    // Programs get those that were as they get those to come.
    let objects = start(&["events", "-w", "-o", "json"]);
    objects.prints("\"kind\": \"Event\"");
    assert!(!objects.everything().contains("\"items\""), "{}", objects.everything());
    machine.ok(&["delete", "app", "hello", "--wait"]);
    pods.prints("(gone)");
    let (logs, again) = (start(&["logs", "-f", "hello"]), start(&["get", "pods", "nowhere", "-w"]));
    again.prints("there is no pod nowhere");
    logs.prints("there is no app hello");
}

#[test]
fn files_are_merged_come_from_stdin_and_are_one_kind() {
    let machine = Machine::up(&[]);
    let write = |name: &str, text: &str| {
        let path = machine.data.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (first, second) = (write("first.yaml", &hello(1)), write("second.yaml", "app: hello\nreplicas: 2\nenv: { A: b }\n"));
    machine.ok(&["deploy", "-f", &first, "-f", &second, "--wait"]);
    let app = machine.json(&["get", "app", "hello"]);
    assert_eq!(
        (&app["spec"]["services"]["hello"]["replicas"], app["spec"]["services"].as_object().unwrap().len()),
        (&2.into(), 1),
        "{app:#}"
    );
    let output = input(&machine, &["deploy", "-", "--wait"], &hello(1));
    ended(&output, 0);
    assert!(stderr(&output).contains("from 2 to 1"), "{}", stderr(&output));
    let two = input(&machine, &["deploy", "-"], &format!("{}---\napp: other\n", hello(1)));
    ended(&two, 1);
    assert!(one_sentence(&two).contains("an app file holds one"), "{}", stderr(&two));
    let maps = write(
        "maps.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: b }\n",
    );
    assert!(machine.fails(&["deploy", &maps, &first]).contains("no Kubernetes object"));
    assert_eq!(machine.json(&["get", "cm"])["items"], Value::Array(vec![]), "nothing is half applied");
    assert_eq!(machine.ok(&["deploy", &maps]), "configmap a is made\nconfigmap b is made\n");
    let list = machine.json(&["deploy", &maps]);
    assert!(list["kind"] == "List" && list["items"][1]["metadata"]["name"] == "b", "{list:#}");
    assert_eq!(machine.ok(&["delete", "-f", &maps]), "configmap b is deleted\nconfigmap a is deleted\n");
    let compose = input(&machine, &["deploy", "-"], "services:\n  web: { image: nginx }\n");
    assert!(one_sentence(&compose).starts_with("error: stdin is a Compose file"), "{}", stderr(&compose));
    let unknown = input(&machine, &["deploy", "-"], "app: x\nimage: nowhere:1\n");
    let sentence = one_sentence(&unknown);
    assert!(sentence.contains("has no manifest nowhere:1; push it with `wctl push FILE.wasm nowhere:1`"), "{sentence}");
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
    assert!(machine.ok(&["rollout", "status", "plain"]).contains("plain is rolled out"), "a Deployment needs no app");
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

/// A component that imports one interface with a function.
fn importing(interface: &str) -> Vec<u8> {
    use wasm_encoder::{Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection, ComponentValType, InstanceType};
    let mut instance = InstanceType::new();
    instance.ty().function().params::<[(&str, ComponentValType); 0], _>([]).result(None);
    instance.export("f", ComponentTypeRef::Func(0));
    let (mut types, mut imports) = (ComponentTypeSection::new(), ComponentImportSection::new());
    types.instance(&instance);
    imports.import(interface, ComponentTypeRef::Instance(0));
    let mut component = Component::new();
    component.section(&types).section(&imports);
    component.finish()
}

#[test]
fn a_deploy_that_cannot_be_ready_says_why() {
    let machine = Machine::up(&[]);
    let file = machine.data.join("greedy.yaml");
    std::fs::write(&file, format!("{}limits: {{ memory: 900Gi }}\nrollout: {{ deadline: 2s }}\n", hello(1))).unwrap();
    let sentence = machine.fails(&["deploy", file.to_str().unwrap(), "--wait"]);
    assert!(sentence.contains("hello") && sentence.contains("900Gi"), "{sentence}");
    // What a component needs and no node offers is told where the app file names it.
    std::fs::write(machine.data.join("odd.wasm"), importing("wasi:nonsense/x@0.9.0")).unwrap();
    std::fs::write(&file, "app: odd\nimage: ./odd.wasm\n").unwrap();
    let sentence = machine.fails(&["deploy", file.to_str().unwrap()]);
    assert!(sentence.contains("greedy.yaml:2:8: odd cannot run") && sentence.contains("wasi:nonsense/x@0.9.0"), "{sentence}");
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
