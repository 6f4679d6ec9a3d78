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

#[test]
fn a_state_that_is_gone_is_told() {
    let mut machine = Machine::up(&[]);
    assert!(!machine.everything().contains("no state"), "{}", machine.everything());
    machine.ok(&["push", component("hello").to_str().unwrap(), "hello:1"]);
    machine.down();
    std::fs::remove_file(machine.data.join("store/state.redb")).unwrap();
    let machine = machine.again(&[]);
    machine.prints("has artifacts but no state (store/state.redb is missing), so it starts as an empty cluster");
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
    // The node's folder is stopped as any other; the server runs on.
    let output = wctl().arg("--data").arg(&worker).arg("down").output().unwrap();
    ended(&output, 0);
    assert!(stdout(&output).starts_with("stopped the node"), "{}", stdout(&output));
    assert!(!worker.join("run.json").exists() && !worker.join("node/run.json").exists());
    ended(&wctl().arg("--data").arg(&control).args(["get", "nodes"]).output().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_and_node_share_a_folder_and_one_word_stops_both() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let command = |args: &[&str]| {
        let mut command = wctl();
        command.arg("--data").arg(&data).args(["--api", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(args);
        command
    };
    let server = common::Process::start(command(&["server"]), &data);
    let node = common::Lines::of(command(&["node", "--name", "here"]));
    let gateway = node.prints("gateway").split_whitespace().last().unwrap().to_owned();
    let file = home.path().join("app.yaml");
    std::fs::write(&file, format!("app: hello\nimage: {}\nroute: hello.localhost\n", component("hello").display())).unwrap();
    // The same options as for the server do no harm: port 0 is nowhere to connect to.
    let output = command(&["deploy", "--wait", file.to_str().unwrap()]).output().unwrap();
    ended(&output, 0);
    let port = gateway.rsplit_once(':').unwrap().1;
    assert!(stdout(&output).contains(&format!("http://hello.localhost:{port}/")), "{}", stdout(&output));
    let answer = common::client().get(&gateway).header("host", "hello.localhost").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // Another `up` or `node` on the folder leaves it as it is.
    for verb in ["up", "node"] {
        let output = command(&[verb]).output().unwrap();
        ended(&output, 1);
        assert!(one_sentence(&output).contains("in use by another wctl (process "), "{}", stderr(&output));
    }
    let status = stdout(&command(&["status"]).output().unwrap());
    assert!(status.contains(&format!("http://hello.localhost:{port}/")), "{status}");
    let output = command(&["down"]).output().unwrap();
    ended(&output, 0);
    let said = stdout(&output);
    assert!(said.starts_with("stopped the node") && said.contains(&format!("stopped (process {})", server.running["pid"])), "{said}");
    assert!(stdout(&command(&["down"]).output().unwrap()).starts_with("nothing runs"));
}

#[test]
fn a_gateway_that_is_gone_is_not_told() {
    let mut machine = Machine::up(&[]);
    machine.deploy(&format!("app: hello\nimage: {}\nroute: hello.localhost\n", component("hello").display()));
    let port = machine.http.rsplit_once(':').unwrap().1.to_owned();
    assert!(machine.ok(&["status"]).contains(&format!("http://hello.localhost:{port}/")));
    machine.kill();
    let sentence = machine.fails(&["status"]);
    assert!(sentence.contains("no server answers") && sentence.contains("wctl up"), "{sentence}");
    // The server alone comes back: its gateway of before is no more.
    let mut command = wctl();
    command.arg("--data").arg(&machine.data).args(["--api", "127.0.0.1:0", "server"]);
    let _server = common::Process::start(command, &machine.data);
    let status = machine.ok(&["status"]);
    assert!(status.contains("http://hello.localhost/") && !status.contains(&port), "{status}");
}

#[test]
fn an_app_keeps_its_own_port_over_restarts_unless_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hello.yaml");
    std::fs::write(&file, format!("app: hello\nimage: {}\nroute: hello.localhost\n", component("hello").display())).unwrap();
    let port = |machine: &Machine| {
        let line = machine.prints("this app alone");
        let address = line.split_once("http://127.0.0.1:").expect(&line).1;
        address.split('/').next().unwrap().parse::<u16>().expect(&line)
    };
    let machine = Machine::up(&[&file]);
    let first = port(&machine);
    let machine = machine.again(&[]);
    assert_eq!(port(&machine), first);
    let mut machine = machine;
    machine.kill();
    let taken = std::net::TcpListener::bind(("127.0.0.1", first)).unwrap();
    let machine = machine.again(&[]);
    let second = port(&machine);
    assert_ne!(second, first);
    let said = machine.prints("is taken");
    assert!(
        said.contains(&format!("port {first}, where app hello alone answered until now, is taken; from now on it is {second}")),
        "{said}"
    );
    drop(taken);
    assert_eq!(port(&machine.again(&[])), second);
}
