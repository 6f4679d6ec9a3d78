//! Clients that send, or take, next to nothing: N1 to N4. They are ended by their limits, and nobody waits for them.

use std::time::{Duration, Instant};

use http::StatusCode;
use runtime::gateway::listen::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bystander::Bystander;
use crate::cluster::{Cluster, within};

/// What the gateway of these tests allows; it looks once a second.
const LIMIT: Duration = Duration::from_millis(500);
/// By then it must have ended a connection.
const ENDED: Duration = Duration::from_secs(4);

async fn cluster() -> Cluster {
    let limits = Limits { head: LIMIT, body: LIMIT, stall: LIMIT, idle: Duration::from_secs(60), ..Limits::default() };
    let cluster = Cluster::with(limits).await;
    cluster.deploy("web", 1, json!({"wctl.dev/time": "1s", "wctl.dev/concurrency": "1000"}), json!({})).await;
    cluster.ready("web", 1).await;
    cluster
}

/// Runs so many clients at a time: all must be ended, and soon.
async fn all_end<F: Future<Output = ()> + Send + 'static>(what: &str, many: usize, client: impl Fn() -> F) {
    let start = Instant::now();
    let mut clients: JoinSet<()> = (0..many).map(|_| client()).collect();
    let all = async { while clients.join_next().await.is_some_and(|ended| ended.is_ok()) {} };
    within(what, all).await;
    assert!(clients.is_empty(), "{what}: a client failed");
    assert!(start.elapsed() < ENDED, "{what} took {:?}", start.elapsed());
}

/// Sends a byte at a time, for as long as the server takes them and says nothing.
async fn drip(mut stream: TcpStream, bytes: impl Iterator<Item = u8>) {
    let mut answer = [0; 1];
    for byte in bytes {
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        if let Ok(read) = tokio::time::timeout(LIMIT / 5, stream.read(&mut answer)).await {
            // An answer or an end.
            return drop(read);
        }
    }
    panic!("the server took all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_n2_n3_slow_clients_are_ended_and_keep_nobody_waiting() {
    let cluster = cluster().await;
    let bystander = Bystander::start(&cluster).await;
    let address = cluster.http;
    let connect = move || async move { TcpStream::connect(address).await.unwrap() };
    all_end("N1: a head, byte by byte", 200, move || async move {
        let head = "GET / HTTP/1.1\r\nhost: web.localhost\r\nx-some: ".bytes().chain(std::iter::repeat_n(b'x', 1_000));
        drip(connect().await, head).await;
    })
    .await;
    all_end("N1: a second head, byte by byte", 50, move || async move {
        let mut stream = connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: web.localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        drip(stream, "GET / HTTP/1.1\r\nhost: ".bytes().chain(std::iter::repeat_n(b'x', 1_000))).await;
    })
    .await;
    all_end("N2: a body that never comes", 100, move || async move {
        let mut stream = connect().await;
        stream.write_all(b"POST /echo HTTP/1.1\r\nhost: web.localhost\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
        // The guest has begun to echo when it learns that nothing comes, so what it sends ends where it ends.
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    })
    .await;
    all_end("N2: a body, byte by byte", 50, move || async move {
        let mut stream = connect().await;
        stream.write_all(b"POST /sleep HTTP/1.1\r\nhost: web.localhost\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
        drip(stream, std::iter::repeat_n(b'x', 1_000)).await;
    })
    .await;
    all_end("N3: an answer that nobody reads", 50, move || async move {
        let mut stream = connect().await;
        stream.write_all(b"GET /endless HTTP/1.1\r\nhost: web.localhost\r\n\r\n").await.unwrap();
        // Writing shows the end: nothing is read here, and a reset is not seen otherwise.
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(LIMIT / 5).await;
        }
    })
    .await;
    cluster.at_rest().await;
    assert_eq!(cluster.get("web", "/").await, (StatusCode::OK, "hello".into()));
    bystander.ends_unharmed().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n4_ranges_without_measure_are_answered_as_any_request() {
    let cluster = cluster().await;
    let ranges: String = (0..1_000).map(|n| format!(",{n}-")).collect();
    for range in [format!("bytes=0-{ranges}"), "bytes=-".into(), "bytes=18446744073709551615-".into(), "lines=1-2".into()] {
        let request = format!("GET / HTTP/1.1\r\nhost: web.localhost\r\nrange: {range}\r\nconnection: close\r\n\r\n");
        let answer = cluster.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    }
    cluster.stop().await;
}
