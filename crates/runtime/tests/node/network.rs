//! N cases: bytes on the wire that no honest client sends. One connection each; behind the gateway is a guest that says what it saw.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::cluster::Cluster;

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    cluster.ready("web", 1).await;
    cluster
}

/// The statuses of all answers on a connection.
fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.1 ").map(|(at, _)| answers[at + 9..].get(..3).unwrap_or_default()).collect()
}

/// Sends a message that hides a second request, as a smuggler would: the answers must be `want`, and the hidden one must get none.
async fn check(cluster: &Cluster, message: &str, want: &[&str]) {
    let answers = cluster.raw(message).await;
    assert_eq!(statuses(&answers), want, "{message:?}\n{answers}");
    assert!(!answers.contains("/hidden"), "{message:?}\n{answers}");
}

const HIDDEN: &str = "GET /reflect/hidden HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST /reflect HTTP/1.1\r\nhost: web.localhost\r\n{fields}\r\n{body}{HIDDEN}")
}

#[tokio::test(flavor = "multi_thread")]
async fn n15_n16_n17_n19_n20_a_length_that_can_be_read_in_two_ways_is_refused_and_hides_nothing() {
    let cluster = cluster().await;
    let hidden = HIDDEN.len();
    for fields in [
        // N16
        format!("content-length: 0\r\ncontent-length: {hidden}\r\n"),
        format!("content-length: 0, {hidden}\r\n"),
        "content-length: +4\r\n".into(),
        "content-length: 4,4\r\n".into(),
        "content-length: 0x4\r\n".into(),
        "content-length: -1\r\n".into(),
        "content-length: 18446744073709551616\r\n".into(),
        "content-length: \r\n".into(),
        // N17
        "transfer-encoding: xchunked\r\n".into(),
        "transfer-encoding: chunked, identity\r\n".into(),
        "transfer-encoding: identity\r\n".into(),
        "transfer-encoding: \x0bchunked\r\n".into(),
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".into(),
        "transfer-encoding : chunked\r\n".into(),
    ] {
        check(&cluster, &post(&fields, "0\r\n\r\n"), &["400"]).await;
    }
    // N15: the chunks count, the length is dropped, and the connection ends with the answer.
    for fields in [
        format!("content-length: {hidden}\r\ntransfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {hidden}\r\n"),
    ] {
        let answers = cluster.raw(&post(&fields, "0\r\n\r\n")).await;
        assert_eq!(statuses(&answers), ["200"], "{fields}\n{answers}");
        let (head, seen) = answers.split_once("\r\n\r\n").expect("a whole head");
        assert!(head.contains("connection: close") && !seen.contains("content-length") && !seen.contains("/hidden"), "{answers}");
    }
    let old = format!("POST /reflect HTTP/1.0\r\nhost: web.localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
    check(&cluster, &old, &["400"]).await;
    // N19: the head is good, so the guest is asked; its body breaks, and nothing after it is read as a request.
    for body in
        ["zz\r\n", "ffffffffffffffffff\r\n", "-1\r\n", "5 \n\nhello\r\n0\r\n\r\n", "5;\nx\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n"]
    {
        let answers = cluster.raw(&post("transfer-encoding: chunked\r\n", body)).await;
        assert!(statuses(&answers).len() <= 1 && !answers.contains("/hidden"), "{body:?}\n{answers}");
    }
    let trailers = "0\r\ncontent-length: 50\r\nhost: other\r\n\r\n";
    let answers = cluster.raw(&post("transfer-encoding: chunked\r\n", trailers)).await;
    assert_eq!(statuses(&answers), ["200", "200"], "trailers end where they end\n{answers}");
    assert!(answers.contains("host: web.localhost") && !answers.contains("host: other"), "{answers}");
    assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n18_n25_n26_a_head_has_one_reading_and_a_bounded_size() {
    let cluster = cluster().await;
    for head in [
        "GET /reflect HTTP/1.1\r\nhost: web.localhost\r\nx: a\r\n b\r\nconnection: close\r\n\r\n",
        "GET /reflect HTTP/1.1\r\nhost: web.localhost\r\nx : a\r\nconnection: close\r\n\r\n",
        "GET /reflect HTTP/1.1\r\nhost: web.localhost\r\nx: a\rb\r\nconnection: close\r\n\r\n",
        "GET /reflect HTTP/1.1\r\nhost: web.localhost\r\nx: a\0b\r\nconnection: close\r\n\r\n",
        "GET /reflect HTTP/1.1\r\nhost: web.localhost\r\n: a\r\nconnection: close\r\n\r\n",
        "GET /reflect HTTP/1.1\r\nhost: web.localhost/x\r\nconnection: close\r\n\r\n",
        "GET  /reflect HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n\r\n",
        "GET /reflect HTTP/9.9\r\nhost: web.localhost\r\nconnection: close\r\n\r\n",
        "GET /re\0flect HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n\r\n",
        "hello there\r\n\r\n",
    ] {
        check(&cluster, head, &["400"]).await;
    }
    for (head, want) in [
        (format!("GET /{} HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n\r\n", "a".repeat(8 << 10)), "200"),
        (format!("GET /{} HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n\r\n", "a".repeat(70 << 10)), "431"),
        (format!("GET / HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n{}\r\n", "x: 1\r\n".repeat(90)), "200"),
        (format!("GET / HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n{}\r\n", "x: 1\r\n".repeat(10_000)), "431"),
        (format!("GET / HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\nx: {}\r\n\r\n", "a".repeat(16 << 10)), "200"),
        (format!("GET / HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)), "431"),
    ] {
        let answers = cluster.raw(&head).await;
        assert_eq!(statuses(&answers), [want], "{} bytes: {}…\n{answers}", head.len(), &head[..20]);
    }
    // N26: what routes see is what the guest sees, letter by letter.
    for path in ["/reflect/%2e%2e/x", "/reflect/..%2fx", "/reflect//x", "/reflect/a%00b", "/reflect/A%2Fb", "/reflect/../x"] {
        let answers = cluster.raw(&format!("GET {path} HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n\r\n")).await;
        assert!(answers.contains(&format!("GET {path}\n")), "{path}\n{answers}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n24_n28_pipelines_are_answered_in_order_and_clients_may_leave_anywhere() {
    let cluster = cluster().await;
    let many: String = (0..100).map(|n| format!("GET /reflect/{n} HTTP/1.1\r\nhost: web.localhost\r\n\r\n")).collect();
    let answers = cluster.raw(&format!("{many}GET /reflect/last HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n\r\n")).await;
    let order: Vec<&str> = answers.lines().filter_map(|line| line.strip_prefix("GET /reflect/")).collect();
    let want: Vec<String> = (0..100).map(|n| n.to_string()).chain(["last".into()]).collect();
    assert_eq!(order, want);

    // Clients that leave at every point of a request.
    let whole = "POST /reflect HTTP/1.1\r\nhost: web.localhost\r\ncontent-length: 5\r\n\r\nhello";
    for end in 0..whole.len() {
        let mut stream = TcpStream::connect(cluster.http).await.unwrap();
        stream.write_all(&whole.as_bytes()[..end]).await.unwrap();
        if end % 2 == 0 {
            stream.set_zero_linger().unwrap();
        }
    }

    assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n5_two_thousand_idle_connections_do_not_keep_a_good_one_waiting() {
    let cluster = cluster().await;
    let mut idle = Vec::new();
    for _ in 0..2_000 {
        idle.push(TcpStream::connect(cluster.http).await.unwrap());
    }
    let start = Instant::now();
    assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop(idle);
    cluster.stop().await;
}
