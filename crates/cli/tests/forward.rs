//! `kubectl port-forward` and `kubectl top` with real nodes: one in the server's process, one that joined. Skipped with a word where kubectl is
//! missing, unless WCTL_REQUIRE_TOOLS=1.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Machine, Process, build, component, ended, stderr, stdout, wctl};

/// How long kubectl may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_there() -> bool {
    let there = Command::new("kubectl").args(["version", "--client"]).output().is_ok_and(|done| done.status.success());
    if !there {
        assert!(std::env::var_os("WCTL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "kubectl is required");
        println!("skipped: kubectl is not installed");
    }
    there
}

fn kubectl(machine: &Machine, args: &[&str]) -> Command {
    let mut command = Command::new("kubectl");
    command.args(args).env("KUBECONFIG", machine.data.join("kubeconfig")).env("HOME", &machine.data).stdin(Stdio::null());
    command
}

/// Runs kubectl until it prints what is wanted.
#[track_caller]
fn until(machine: &Machine, args: &[&str], wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = kubectl(machine, args).output().unwrap();
        let out = stdout(&output);
        if output.status.success() && wanted(&out) {
            return out;
        }
        assert!(Instant::now() < deadline, "kubectl {args:?} never printed what was wanted:\n{out}{}", stderr(&output));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A kubectl that forwards; killed when it is dropped.
struct Forward {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Forward {
    fn start(machine: &Machine, args: &[&str]) -> Forward {
        let mut child = kubectl(machine, &[&["port-forward"], args].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Forward { child, lines }
    }

    /// The next address that it forwards from.
    fn address(&mut self) -> String {
        let line = self.lines.next().expect("it forwards").unwrap();
        line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(" -> ").next()).unwrap_or_else(|| panic!("{line}")).to_owned()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // The test is over, whatever it still does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(address: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    heard
}

/// A second machine, joined.
fn join(machine: &Machine, folder: &Path) -> Process {
    let made = machine.command(&["token", "create", "--ttl", "1h"]).output().unwrap();
    ended(&made, 0);
    let told = stdout(&made) + &stderr(&made);
    let after = |option: &str| told.split_whitespace().skip_while(|word| *word != option).nth(1).unwrap().to_owned();
    let mut command = wctl();
    command.arg("--data").arg(folder).args(["--http", "127.0.0.1:0", "node", "--name", "edge-2"]);
    command.args(["--join", &after("--join"), "--token", &after("--token")]);
    Process::start(command, &folder.join("node"))
}

#[test]
fn kubectl_forwards_to_pods_of_each_node_and_shows_what_they_use() {
    if !is_there() {
        return;
    }
    let (machine, second) = (Machine::up(&[]), tempfile::tempdir().unwrap());
    let _edge = join(&machine, second.path());
    until(&machine, &["get", "nodes"], |out| out.lines().any(|line| line.starts_with("edge-2") && line.contains(" Ready")));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let socket = build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/socket/app.yaml"));
    let nodes = machine.ok(&["get", "nodes", "-o", "name"]);
    let names: Vec<&str> = nodes.lines().filter_map(|line| line.strip_prefix("node/")).collect();
    assert_eq!(names.len(), 2, "{nodes}");
    for (app, node) in ["hello-a", "hello-b"].iter().zip(&names) {
        let image = component("hello");
        machine.deploy(&format!("app: {app}\nimage: {}\nplace: {{ require: {{ kubernetes.io/hostname: {node} }} }}\n", image.display()));
    }
    machine.deploy(&format!("app: socket\nimage: {}\nenv: {{ PORT: \"{port}\" }}\nuses: {{ listen: [{port}/tcp] }}\nplace: {{ require: {{ kubernetes.io/hostname: edge-2 }} }}\n", socket.display()));

    // HTTP, by exactly the pod that was named, on either node, frozen or not.
    machine.ok(&["freeze"]);
    let pods = until(&machine, &["get", "pods", "-l", "wctl.dev/app in (hello-a,hello-b)", "-o", "name"], |out| out.lines().count() == 2);
    for pod in pods.lines() {
        let mut forward = Forward::start(&machine, &[pod, ":80"]);
        let address = forward.address();
        for turn in 0..3 {
            let id = format!("GET /forwarded-{turn} HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n");
            let answer = say(&address, &id);
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("x-request-id: "), "{answer}");
        }
        let name = pod.strip_prefix("pod/").unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !machine.ok(&["logs", "--access", "-o", "json"]).lines().any(|line| line.contains("/forwarded-2") && line.contains(name)) {
            assert!(Instant::now() < deadline, "{name} is not in the access log");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    machine.ok(&["thaw"]);

    // A port of the guest's own, and a Service.
    let mut forward = Forward::start(&machine, &["deploy/socket", &format!(":{port}")]);
    let mut stream = TcpStream::connect(forward.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    // Sent and echoed as in RFC 6455, section 5.7.
    stream.write_all(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").unwrap();
    let mut echoed = [0; 7];
    stream.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"\x81\x05Hello");
    let service = until(&machine, &["get", "service", "hello-b", "-o", "jsonpath={.spec.ports[0].port}"], |out| !out.is_empty());
    let mut forward = Forward::start(&machine, &["svc/hello-b", &format!(":{service}")]);
    assert!(say(&forward.address(), "GET / HTTP/1.0\r\n\r\n").contains(" 200 OK"));

    // The socket's pod runs its guest all the time, the others none now.
    let nodes = until(&machine, &["top", "nodes", "--no-headers"], |out| out.lines().count() == 2 && !out.contains("<unknown>"));
    assert!(nodes.lines().all(|line| !line.split_whitespace().any(|word| word == "0Mi")), "{nodes}");
    let used = |out: &str, app: &str| -> Vec<u64> {
        let amount = |line: &str| line.split_whitespace().nth(2)?.strip_suffix("Mi")?.parse().ok();
        out.lines().filter(|line| line.starts_with(app)).filter_map(amount).collect()
    };
    let pods = until(&machine, &["top", "pods", "--no-headers"], |out| used(out, "hello").len() == 2 && used(out, "socket").len() == 1);
    assert!(used(&pods, "socket")[0] > 0 && used(&pods, "hello") == [0, 0], "{pods}");

    // With its pod a connection ends.
    machine.ok(&["delete", "app", "socket"]);
    let ended = stream.read(&mut [0; 8]);
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(ended.as_ref().is_ok_and(|read| *read == 0) || ended.as_ref().is_err_and(reset), "{ended:?}");
}
