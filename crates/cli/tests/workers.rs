//! Programs that are kept running, and those that cannot.

mod common;

use common::{Machine, teller};

fn worker(replicas: u32, args: &str) -> String {
    let image = teller().display();
    format!("app: worker\nimage: {image}\nreplicas: {replicas}\nargs: [{args}]\nrollout: {{ deadline: 3s }}\n")
}

#[test]
fn a_program_that_ends_at_once_is_never_ready_and_goes_back() {
    let machine = Machine::up(&[]);
    let file = machine.data.join("worker.yaml");
    let path = file.to_str().unwrap().to_owned();
    std::fs::write(&file, worker(1, "trap")).unwrap();
    let sentence = machine.fails(&["deploy", &path, "--wait"]);
    assert!(sentence.contains("worker"), "{sentence}");
    let status = machine.json(&["status", "worker"]);
    assert!(!status.to_string().contains("\"phase\":\"Ready\""), "a first deploy stays as it is, and says so: {status}");
    std::fs::write(&file, worker(2, "sleep")).unwrap();
    machine.ok(&["deploy", &path, "--wait"]);
    std::fs::write(&file, worker(2, "exit, \"3\"")).unwrap();
    let sentence = machine.fails(&["deploy", &path, "--wait"]);
    assert!(sentence.contains("rolled back"), "{sentence}");
    let pods = machine.json(&["get", "pods"]);
    let ready = pods["items"].as_array().unwrap().iter().filter(|pod| pod.to_string().contains("\"ready\":true"));
    assert_eq!(ready.count(), 2, "none of the good ones was given up: {pods}");
}
