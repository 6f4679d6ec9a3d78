//! Attacks on the real binary: its memory, its words and its keys, while an app beside the attacked one is asked all the time.
#![cfg(target_os = "linux")]

mod attacked;
#[path = "../common/mod.rs"]
mod common;
mod every;
#[path = "../../../runtime/tests/sandbox/guests.rs"]
mod guests;

use std::time::{Duration, Instant};

use attacked::{Attacked, Bystander};
use common::wctl;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn h21_h22_bodies_without_end_take_no_memory() {
    let attacked = Attacked::start();
    let bystander = Bystander::start(&attacked);
    assert_eq!(attacked.machine.get("bad.localhost", "/").await.0, 200);
    let before = attacked.held();
    let mut most = 0;
    // H22: ten uploads as fast as the wire takes them, to a guest that reads none.
    let mut uploads = JoinSet::new();
    for _ in 0..10 {
        let mut stream = attacked.connect().await;
        let head = b"POST /sleep HTTP/1.1\r\nhost: bad.localhost\r\ncontent-length: 10737418240\r\n\r\n";
        stream.write_all(head).await.unwrap();
        uploads.spawn(async move { while stream.write_all(&[0; 64 << 10]).await.is_ok() {} });
    }
    // H21: ten downloads without end, read a little at a time.
    let mut downloads = JoinSet::new();
    for _ in 0..10 {
        let mut stream = attacked.connect().await;
        stream.write_all(b"GET /endless HTTP/1.1\r\nhost: bad.localhost\r\n\r\n").await.unwrap();
        downloads.spawn(async move {
            let mut piece = [0; 4096];
            while stream.read_exact(&mut piece).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        most = most.max(attacked.held().saturating_sub(before));
    }
    // Twenty sandboxes of a mebibyte or two each are among it; the bodies would be gibibytes.
    assert!(most < 100 << 20, "{} MiB more were held", most >> 20);
    uploads.shutdown().await;
    downloads.shutdown().await;
    bystander.ends_unharmed().await;
    attacked.is_as_before(before + (20 << 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n31_n33_keys_are_in_no_log_and_the_host_in_no_error() {
    let attacked = Attacked::start();
    let machine = &attacked.machine;
    let token = std::fs::read_to_string(machine.data.join("pki/admin.token")).unwrap().trim().to_owned();
    let secret = token.splitn(3, '_').nth(2).unwrap();
    machine.ok(&["get", "pods"]);
    for authority in [machine.api.trim_start_matches("https://"), &attacked.address] {
        // N33, and the machine's own gateway, in each way that an address can be written.
        let (_, port) = authority.trim_end_matches('/').rsplit_once(':').unwrap();
        for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "[::ffff:127.0.0.1]"] {
            for scheme in ["http", "https"] {
                let (status, text) = machine.get("bad.localhost", &format!("/fetch?{scheme}|{host}:{port}|/api")).await;
                assert!(status == 200 && text.starts_with("error: "), "{scheme}://{host}:{port}: {status} {text}");
            }
        }
    }
    // A guest's request with the admin's token through the gateway reaches the guest, not the API.
    let ask = common::client().get(format!("{}/reflect", machine.http)).header("host", "bad.localhost");
    assert_eq!(ask.bearer_auth(&token).send().await.unwrap().status(), 200);
    for path in ["/panic", "/exit?1", "/none", "/trap-body"] {
        let _ = common::client().get(format!("{}{path}", machine.http)).header("host", "bad.localhost").bearer_auth(&token).send().await;
    }
    machine.ok(&["events"]);
    // Lines gather for a moment before they are written.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut said = machine.everything();
    let mut folders = vec![machine.data.join("node/logs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { said += &String::from_utf8_lossy(&std::fs::read(path).unwrap()) }
        }
    }
    assert!(said.contains("bad.localhost"), "the logs were looked at");
    assert!(secret.len() > 20 && !said.contains(secret), "the admin's token is in a log");
}

/// Files below a folder that hold one of these texts.
fn holding(folder: &std::path::Path, texts: &[&str]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, texts));
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let holds = |text: &&str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
            found.extend(texts.iter().any(holds).then_some(path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn h31_a_secret_is_told_by_its_guest_alone() {
    const SECRET: &str = "hush-0f3c9a7b51";
    const ENCODED: &str = "aHVzaC0wZjNjOWE3YjUx";
    let attacked = Attacked::start();
    let machine = &attacked.machine;
    let mut child = machine.command(&["secret", "set", "KEY"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), SECRET.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let wasm = machine.data.join("leaky.wasm");
    std::fs::write(&wasm, guests::wasm("hostile")).unwrap();
    machine.deploy(&format!("app: leaky\nimage: {}\nroute: leaky.localhost\nuses: {{ secrets: [KEY] }}\n", wasm.display()));
    std::fs::remove_file(&wasm).unwrap();
    let pod = machine.json(&["get", "pods", "-l", "wctl.dev/app=leaky"])["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(machine.get("leaky.localhost", "/env").await.1.contains(SECRET), "it has the secret");
    // It panics with it until it is restarted, and answers with the trap of the last time.
    for _ in 0..5 {
        let (status, text) = machine.get("leaky.localhost", "/panic-env?KEY").await;
        assert!(status == 500 && !text.contains(SECRET), "{text}");
    }
    machine.prints("5 traps in a row");
    // What the guest itself prints is its own log, which is for those who may read it.
    assert!(machine.ok(&["logs", &pod]).contains(SECRET));
    for args in [
        &["describe", "pod", &pod][..],
        &["describe", "leaky"],
        &["describe", "secret", "wctl-secrets"],
        &["events"],
        &["events", "-o", "json"],
        &["status", "leaky", "-o", "json"],
        &["get", "pods,apps,deployments,replicasets,events", "-o", "yaml"],
        &["logs", "--access", "-o", "json"],
    ] {
        let told = machine.ok(args);
        assert!(!told.contains(SECRET) && !told.contains(ENCODED), "{args:?}: {told}");
        assert!(told.contains("leaky") || told.contains("KEY"), "{args:?}: {told}");
    }
    let metrics = machine.ok(&["get", "nodes", "-o", "json"]);
    assert!(!metrics.contains(SECRET));
    // The host says it nowhere, although it tells all it can, but for the lines of the pod; and keeps it nowhere else in the clear.
    let told = machine.everything();
    let host: Vec<&str> = told.lines().filter(|line| line.contains(SECRET) && !line.starts_with(&pod)).collect();
    assert!(host.is_empty(), "{host:#?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let kept = holding(&machine.data, &[SECRET, ENCODED]);
    let own = machine.data.join("node/logs");
    assert!(!kept.is_empty() && kept.iter().all(|path| path.starts_with(&own) && path.to_string_lossy().contains(&pod)), "{kept:#?}");
}

#[test]
fn h2_a_component_that_loops_at_its_start_is_never_ready() {
    let attacked = Attacked::start();
    let machine = &attacked.machine;
    let wasm = machine.data.join("spins.wasm");
    std::fs::write(&wasm, wat::parse_str(include_str!("../../../runtime/tests/guests/spins_at_start.wat")).unwrap()).unwrap();
    let file = machine.data.join("spins.yaml");
    let bounds = "limits: { time: 500ms }\nrollout: { deadline: 5s }\n";
    std::fs::write(&file, format!("app: spins\nimage: {}\nroute: spins.localhost\n{bounds}", wasm.display())).unwrap();
    let watch = common::Lines::of(machine.command(&["get", "pods", "-w", "-o", "json", "-l", "wctl.dev/app=spins"]));
    let output = machine.command(&["deploy", file.to_str().unwrap(), "--wait"]).output().unwrap();
    common::ended(&output, 1);
    let sentence = common::one_sentence(&output);
    assert!(sentence.contains("spins") && sentence.contains("longer than its limit of 500ms"), "{sentence}");
    assert!(!common::stdout(&output).contains("is ready"), "{}", common::stdout(&output));
    assert_eq!(machine.json(&["status", "spins"])["status"]["phase"], "Failed");
    let told = machine.ok(&["events", "spins"]);
    assert!(told.contains("longer than its limit of 500ms") && !told.contains("Started"), "{told}");
    watch.prints("CrashLoopBackOff");
    assert!(!watch.everything().contains("\"ready\": true"), "{}", watch.everything());
}

#[test]
fn h9_what_a_guest_learns_of_an_error_is_not_where_the_host_was() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = folder.path().join("files.wasm");
    std::fs::write(&wasm, guests::wasm("files")).unwrap();
    let mut command = wctl();
    command.arg("--data").arg(folder.path()).env("RUST_BACKTRACE", "full").args(["run", "--dir", "/dev::/dev"]);
    let output = command.arg(&wasm).args(["debug /dev/full"]).output().unwrap();
    common::ended(&output, 0);
    let told = common::stdout(&output);
    assert!(told.contains("error"), "{told}");
    for host in ["backtrace", ".rs", "tokio", "wasmtime", "/root", "/home"] {
        assert!(!told.contains(host), "{host} in {told}");
    }
}

async fn strangers(hosts: usize) {
    let attacked = Attacked::start();
    let bystander = Bystander::start(&attacked);
    let ask = async |from: usize, to: usize| {
        for at in (from..to).step_by(1_000) {
            let mut stream = attacked.connect().await;
            let requests: String = (at..at + 1_000).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: h{n}.example\r\n\r\n")).collect();
            let close = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let (mut reader, mut writer) = stream.split();
            let mut answers = Vec::new();
            let whole = format!("{requests}{close}");
            let (sent, read) = tokio::join!(writer.write_all(whole.as_bytes()), reader.read_to_end(&mut answers));
            sent.unwrap();
            read.unwrap();
            assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 404").count(), 1_001);
        }
    };
    ask(0, hosts / 10).await;
    let before = attacked.held();
    ask(hosts / 10, hosts).await;
    assert!(attacked.held() < before + (32 << 20), "{} MiB, {} before", attacked.held() >> 20, before >> 20);
    bystander.ends_unharmed().await;
    attacked.is_as_before(before).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: takes minutes"]
async fn n30_a_million_hosts_take_no_memory() {
    strangers(1_000_000).await;
}

/// Opens so many connections that send a first piece, then a byte each second, and gives how many the server has ended after `time`.
async fn slow(attacked: &Attacked, many: usize, first: &'static [u8], time: Duration) -> usize {
    let mut clients = JoinSet::new();
    for _ in 0..many {
        // One that is turned away at once is ended as well.
        let Ok(mut stream) = TcpStream::connect(&attacked.address).await else { continue };
        clients.spawn(async move {
            if stream.write_all(first).await.is_err() {
                return true;
            }
            let mut answer = [0; 4096];
            let start = Instant::now();
            while start.elapsed() < time {
                if stream.write_all(b"x").await.is_err() {
                    return true;
                }
                let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await;
                if matches!(read, Ok(Ok(0) | Err(_))) {
                    return true;
                }
            }
            false
        });
    }
    clients.join_all().await.into_iter().filter(|ended| *ended).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "nightly: takes minutes and 10,000 file descriptors"]
async fn n1_n2_n4_ten_thousand_slow_connections_are_ended_and_keep_nobody_waiting() {
    let attacked = Attacked::start();
    // Ten thousand attackers share this process, and its cores, with it.
    let bystander = Bystander::waiting(&attacked, Duration::from_secs(5));
    let before = attacked.held();
    for (what, first, time) in [
        ("N1", &b"GET / HTTP/1.1\r\nhost: bad.localhost\r\nx-some: "[..], 15),
        ("N2", b"POST /length HTTP/1.1\r\nhost: bad.localhost\r\ncontent-length: 100000\r\n\r\n", 60),
        ("N4", b"GET / HTTP/1.1\r\nhost: bad.localhost\r\nrange: bytes=0-,5-0,5-1,5-2,5-3\r\nx-some: ", 15),
    ] {
        let ended = slow(&attacked, 10_000, first, Duration::from_secs(time)).await;
        assert_eq!(ended, 10_000, "{what}");
    }
    bystander.ends_unharmed().await;
    attacked.is_as_before(before).await;
}

#[test]
#[ignore = "nightly: takes a minute"]
fn h36_a_node_serves_while_it_compiles_a_bomb() {
    let attacked = Attacked::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bystander = runtime.block_on(async { Bystander::start(&attacked) });
    // Valid, large and slow to compile: a hundred copies of a real component's code, none of which is an HTTP service.
    let wasm = attacked.machine.data.join("bomb.wasm");
    let inner = guests::wasm("hostile");
    let mut bomb = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..100 {
        bomb.push(4);
        let mut length = inner.len();
        while length > 127 {
            bomb.push(length as u8 | 128);
            length >>= 7;
        }
        bomb.push(length as u8);
        bomb.extend_from_slice(&inner);
    }
    std::fs::write(&wasm, bomb).unwrap();
    let file = attacked.machine.data.join("bomb.yaml");
    std::fs::write(&file, format!("app: bomb\nimage: {}\nroute: bomb.localhost\n", wasm.display())).unwrap();
    let sentence = attacked.machine.fails(&["deploy", file.to_str().unwrap(), "--wait"]);
    assert!(sentence.len() > 20, "{sentence}");
    runtime.block_on(bystander.ends_unharmed());
}
