//! `up -d`, `down`, and who may have a data folder.

mod common;

use common::{Machine, component, ended, one_sentence, stderr, stdout, wctl};
use serde_json::Value;

fn verb(data: &std::path::Path, args: &[&str]) -> std::process::Output {
    wctl().arg("--data").arg(data).args(["--api", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(args).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn up_d_runs_on_until_down() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let file = home.path().join("app.yaml");
    std::fs::write(&file, format!("app: hello\nimage: {}\nroute: hello.localhost\n", component("hello").display())).unwrap();
    let output = verb(&data, &["up", "-d", file.to_str().unwrap()]);
    ended(&output, 0);
    assert!(stdout(&output).contains("curl -H 'Host: hello.localhost'"), "{}", stdout(&output));
    let running: Value = serde_json::from_slice(&std::fs::read(data.join("run.json")).unwrap()).unwrap();
    let answer = common::client().get(running["http"].as_str().unwrap()).header("host", "hello.localhost").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // Once more is no failure: it runs already, and the app is as it was.
    let output = verb(&data, &["up", "-d", file.to_str().unwrap()]);
    ended(&output, 0);
    assert!(stdout(&output).contains("unchanged"), "{}", stdout(&output));
    // In the foreground it is one.
    let output = verb(&data, &["up"]);
    ended(&output, 1);
    let sentence = one_sentence(&output);
    assert!(sentence.contains("in use") && sentence.contains(&running["pid"].to_string()) && sentence.contains("wctl down"), "{sentence}");
    let output = wctl().arg("--data").arg(&data).arg("down").output().unwrap();
    ended(&output, 0);
    assert!(!data.join("run.json").exists());
    assert!(common::client().get(running["http"].as_str().unwrap()).send().await.is_err());
    let output = wctl().arg("--data").arg(&data).args(["get", "pods"]).output().unwrap();
    ended(&output, 1);
    assert!(one_sentence(&output).contains("no server answers"), "{}", stderr(&output));
    let output = wctl().arg("--data").arg(&data).arg("down").output().unwrap();
    ended(&output, 0);
    assert!(stdout(&output).contains("nothing runs"));
}

#[test]
fn up_d_tells_why_it_did_not_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = tempfile::tempdir().unwrap();
    let output = wctl()
        .arg("--data")
        .arg(home.path())
        .args(["--api", &taken.local_addr().unwrap().to_string(), "--http", "127.0.0.1:0", "up", "-d"])
        .output()
        .unwrap();
    ended(&output, 1);
    assert!(one_sentence(&output).contains("in use"), "{}", stderr(&output));
}

#[test]
fn a_stale_run_json_fools_nobody() {
    let mut machine = Machine::up(&[]);
    machine.kill();
    assert!(machine.data.join("run.json").exists());
    // The number may be anybody's by now: nothing is stopped.
    let output = machine.command(&["down"]).output().unwrap();
    ended(&output, 0);
    assert!(stdout(&output).contains("nothing runs"));
    let mut machine = machine.again(&[]);
    machine.down();
}

#[tokio::test(flavor = "multi_thread")]
async fn server_and_node_run_apart() {
    let home = tempfile::tempdir().unwrap();
    let (control, worker) = (home.path().join("control"), home.path().join("worker"));
    let start = |data: &std::path::Path, args: &[&str]| {
        let mut command = wctl();
        command.arg("--data").arg(data).args(["--api", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(args);
        common::Process::start(command, data)
    };
    let server = start(&control, &["server"]);
    let kubeconfig = control.join("kubeconfig");
    let token = {
        let text = std::fs::read_to_string(&kubeconfig).unwrap();
        let line = text.lines().find(|line| line.trim_start().starts_with("token:")).unwrap().to_owned();
        line.trim().trim_start_matches("token:").trim().trim_matches('"').to_owned()
    };
    // The CA is found where the server left it.
    std::fs::create_dir_all(&worker).unwrap();
    std::fs::copy(&kubeconfig, worker.join("kubeconfig")).unwrap();
    let api = server.running["api"].as_str().unwrap();
    let node = start(&worker, &["node", "--name", "edge-1", "--join", api, "--token", &token]);
    let file = home.path().join("app.yaml");
    std::fs::write(&file, format!("app: hello\nimage: {}\nroute: hello.localhost\n", component("hello").display())).unwrap();
    let output = wctl().arg("--data").arg(&control).args(["deploy", "--wait", file.to_str().unwrap()]).output().unwrap();
    ended(&output, 0);
    let answer = common::client().get(node.running["http"].as_str().unwrap()).header("host", "hello.localhost").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let output = wctl().arg("--data").arg(&control).args(["get", "nodes"]).output().unwrap();
    assert!(stdout(&output).contains("edge-1"), "{}", stdout(&output));
    let output = wctl().arg("--data").arg(&worker).args(["node", "--name", "other"]).output().unwrap();
    ended(&output, 1);
    assert!(one_sentence(&output).contains("in use"));
}
