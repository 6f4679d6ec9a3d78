//! Commands: arguments, environment, folders, exit codes.

use std::sync::Arc;

use runtime::sandbox::{Dir, Failure, Spec};

use crate::support::{Seen, guest_with, spec};

async fn run(spec: Spec, args: &[&str]) -> (Result<i32, Failure>, String) {
    let seen = Arc::<Seen>::default();
    let args = ["command"].iter().chain(args).map(ToString::to_string).collect();
    let guest = guest_with("command", Spec { args, ..spec }, &seen).await.unwrap();
    assert!(!guest.is_http());
    let result = guest.run().await;
    (result, String::from_utf8(std::mem::take(&mut seen.stdout.lock())).unwrap())
}

#[tokio::test]
async fn a_command_gets_its_arguments_and_returns_its_code() {
    assert_eq!(run(spec(), &["args", "one", "two words"]).await, (Ok(0), "one,two words\n".into()));
    assert_eq!(run(spec(), &["exit", "0"]).await.0, Ok(0));
    assert_eq!(run(spec(), &["exit", "1"]).await.0, Ok(1));
    assert!(matches!(run(spec(), &["panic"]).await.0, Err(Failure::Trap { .. })));
}

#[tokio::test]
async fn h31_only_declared_variables_are_seen() {
    let declared = Spec { env: vec![("LOG_LEVEL".into(), "info".into())], ..spec() };
    let (_, printed) = run(declared, &["env"]).await;
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["HOSTNAME=user-1", "LOG_LEVEL=info"]);
    assert_eq!(run(spec(), &["env"]).await.1, "HOSTNAME=user-1\n");
}

#[tokio::test]
async fn folders_are_seen_only_when_granted_and_written_only_when_writable() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "inside").unwrap();
    assert!(run(spec(), &["cat", "/data/file"]).await.1.starts_with("refused"));
    let grant = |read_only| Spec { dirs: vec![Dir { host: dir.path().into(), guest: "/data".into(), read_only }], ..spec() };
    assert_eq!(run(grant(true), &["cat", "/data/file"]).await.1, "inside");
    assert!(run(grant(true), &["write", "/data/new"]).await.1.starts_with("Err"));
    assert_eq!(run(grant(false), &["write", "/data/new"]).await.1, "Ok(())\n");
    assert!(run(grant(false), &["cat", "/data/../../etc/passwd"]).await.1.starts_with("refused"));
    let missing = Spec { dirs: vec![Dir { host: dir.path().join("none"), guest: "/data".into(), read_only: true }], ..spec() };
    let error = guest_with("command", missing, &Arc::default()).await.err().unwrap();
    assert!(error.to_string().contains("none"));
}

#[tokio::test]
async fn h32_sockets_are_denied() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert!(run(spec(), &["connect", &address]).await.1.starts_with("Err"));
    assert!(run(spec(), &["connect", "localhost:80"]).await.1.starts_with("Err"));
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "a connection was made");
}

#[tokio::test]
async fn input_is_empty() {
    assert_eq!(run(spec(), &["stdin"]).await.1, "Ok(0) \n");
}
