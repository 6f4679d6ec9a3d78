//! A second machine joins with what `wctl token create` prints, and a cluster goes into a file and comes back.

mod common;

use std::time::{Duration, Instant};

use common::{Machine, Process, client, component, ended, stderr, stdout, wctl};

fn hello() -> String {
    format!("app: hello\nimage: {}\nroute: hello.localhost\n", component("hello").display())
}

/// Waits until it holds.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The word after an option in a line for people.
fn after(line: &str, option: &str) -> String {
    line.split_whitespace().skip_while(|word| *word != option).nth(1).unwrap_or_else(|| panic!("no {option} in: {line}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_joins_with_one_line_and_its_gateway_answers_for_the_others_pods() {
    let machine = Machine::up(&[]);
    machine.deploy(&hello());
    let made = machine.command(&["token", "create", "--ttl", "1h"]).output().unwrap();
    ended(&made, 0);
    let line = stdout(&made) + &stderr(&made);
    let second = tempfile::tempdir().unwrap();
    let node = |token: &str, name: &str| {
        let mut command = wctl();
        command.arg("--data").arg(second.path()).args(["--http", "127.0.0.1:0", "node", "--name", name]);
        command.args(["--join", &after(&line, "--join"), "--token", token]);
        command
    };
    // The token names the CA: one that names another never gets as far as to be shown.
    let token = after(&line, "--token");
    let (secret, pin) = token.split_once('.').unwrap();
    let other = format!("{secret}.{}", pin.chars().rev().collect::<String>());
    let output = node(&other, "edge-2").output().unwrap();
    ended(&output, 1);
    drop(Process::start(node(&token, "edge-2"), &second.path().join("node")));
    // The same line again, as at the machine's next start: by then the token may be over.
    machine.ok(&["token", "revoke", token.split('_').nth(1).unwrap()]);
    let process = Process::start(node(&token, "edge-2"), &second.path().join("node"));
    until("edge-2 is ready", || machine.ok(&["get", "nodes"]).lines().any(|line| line.starts_with("edge-2") && line.contains("Ready")));
    let running: serde_json::Value = serde_json::from_slice(&std::fs::read(second.path().join("node/run.json")).unwrap()).unwrap();
    let url = running["http"].as_str().unwrap().to_owned();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client().get(format!("{url}/")).header("host", "hello.localhost").send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            break;
        }
        assert!(Instant::now() < deadline, "the other node's pod is never reached:\n{}", process.everything());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The first machine gives its pod to the second one.
    let pods = machine.ok(&["get", "pods", "-o", "json"]);
    let pods: serde_json::Value = serde_json::from_str(&pods).unwrap();
    let first = pods["items"][0]["spec"]["nodeName"].as_str().unwrap().to_owned();
    let told = machine.ok(&["drain", &first, "--timeout", "2m"]);
    assert!(told.contains("is empty, and gets no new pods"), "{told}");
    until("the pod is on the other node", || {
        let pods: serde_json::Value = serde_json::from_str(&machine.ok(&["get", "pods", "-o", "json"])).unwrap();
        pods["items"].as_array().unwrap().iter().all(|pod| pod["spec"]["nodeName"] != first.as_str())
    });
    machine.ok(&["uncordon", &first]);
    machine.fails(&["drain", "nobody"]);
    // A token that is taken back lets nobody in any more.
    let spare = machine.command(&["token", "create", "--ttl", "1h"]).output().unwrap();
    let spare = after(&(stdout(&spare) + &stderr(&spare)), "--token");
    for line in machine.ok(&["token", "list"]).lines().filter(|line| line.starts_with("join-")) {
        machine.ok(&["token", "revoke", line.split_whitespace().next().unwrap()]);
    }
    let third = tempfile::tempdir().unwrap();
    let mut refused = wctl();
    refused.arg("--data").arg(third.path()).args(["--http", "127.0.0.1:0", "node", "--name", "edge-3"]);
    let output = refused.args(["--join", &after(&line, "--join"), "--token", &spare]).output().unwrap();
    ended(&output, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_cluster_changes_nothing_and_a_backup_brings_it_back() {
    let machine = Machine::up(&[]);
    machine.deploy(&hello());
    machine.ok(&["freeze"]);
    machine.ok(&["scale", "hello", "--replicas", "3", "--wait=false"]);
    let pods = |machine: &Machine| machine.ok(&["get", "pods", "-o", "name"]).lines().count();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(pods(&machine), 1, "nobody schedules");
    machine.ok(&["thaw"]);
    until("three pods", || pods(&machine) == 3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.backup");
    let file = file.to_str().unwrap();
    machine.ok(&["backup", file]);
    let checked = machine.command(&["restore", "--check", file]).output().unwrap();
    ended(&checked, 0);
    assert!((stdout(&checked) + &stderr(&checked)).contains("is whole"), "{}", stdout(&checked));
    let mut damaged = std::fs::read(file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let broken = folder.path().join("broken.backup");
    std::fs::write(&broken, damaged).unwrap();
    machine.fails(&["restore", "--check", broken.to_str().unwrap()]);
}
