//! Kubernetes manifests as wctl deploys them.

mod common;

use common::{Machine, ended, stderr};

#[test]
fn what_a_manifest_misspells_is_refused_and_what_has_no_effect_is_said() {
    let machine = Machine::up(&[]);
    let file = machine.data.join("d.yaml");
    let path = file.to_str().unwrap();
    let deployment = |spec: &str, pod: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec:\n  {spec}: 0\n  selector: {{matchLabels: {{app: d}}}}\n  \
             template:\n    metadata: {{labels: {{app: d}}}}\n    spec:\n      {pod}: x\n      containers: [{{name: main, image: 'hello:1'}}]\n"
        )
    };
    std::fs::write(&file, deployment("replcas", "serviceAccountName")).unwrap();
    let sentence = machine.fails(&["deploy", path]);
    assert!(sentence.contains("unknown field \"spec.replcas\""), "{sentence}");
    assert!(machine.ok(&["get", "deployments", "-o", "name"]).is_empty(), "nothing was made");

    std::fs::write(&file, deployment("replicas", "serviceAccountName")).unwrap();
    let output = machine.command(&["deploy", path]).output().unwrap();
    ended(&output, 0);
    let warned = stderr(&output);
    assert_eq!(warned.matches("serviceAccountName").count(), 1, "said once, though it was checked and written: {warned}");
}

#[cfg(unix)]
#[test]
fn an_image_that_never_ends_is_not_read() {
    let machine = Machine::up(&[]);
    let file = machine.data.join("zero.yaml");
    std::fs::write(&file, "app: zero\nimage: /dev/zero\n").unwrap();
    let sentence = machine.fails(&["deploy", file.to_str().unwrap()]);
    assert!(sentence.contains("/dev/zero is not a regular file"), "{sentence}");
}
