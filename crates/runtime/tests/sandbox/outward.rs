//! Outgoing requests without measure, and what hostile servers answer to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::sandbox::{Failure, Guest, Spec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{self, fail, get, guest, is_unharmed, spec};

/// A server that says the same to everybody, and then what `then` does.
async fn server<F: Future<Output = ()> + Send>(
    head: Vec<u8>,
    then: impl Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
) -> (String, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(AtomicU64::new(0));
    let count = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let (head, then) = (head.clone(), then.clone());
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                if stream.read(&mut buffer).await.is_ok_and(|n| n > 0) && stream.write_all(&head).await.is_ok() {
                    then(stream).await;
                }
            });
        }
    });
    (authority, seen)
}

async fn granted(authority: &str, time: Duration) -> Guest {
    guest(Spec { connect: vec![format!("http://{authority}").parse().unwrap()], time, ..spec() }).await
}

#[tokio::test]
async fn h24_a_pod_has_so_many_requests_outside_and_no_more() {
    let (authority, seen) = server(Vec::new(), |stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let guest = granted(&authority, Duration::from_secs(20)).await;
    assert_eq!(
        get(&guest, &format!("/harsh?fetches|600|{authority}")).await,
        r#"{"ErrorCode::ConnectionLimitReached": 472, "waits": 128}"#
    );
    assert!((1..=128).contains(&seen.load(Ordering::Relaxed)), "{} connections", seen.load(Ordering::Relaxed));
    // They end with the request that made them, and their places come back.
    let back = async { while get(&guest, &format!("/harsh?fetches|100|{authority}")).await != r#"{"waits": 100}"# {} };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("their places come back");
    let Failure::Trap { .. } = fail(&guest, &format!("/harsh?fetches|10000|{authority}")).await else { panic!("ten thousand are a trap") };
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h27_an_answer_without_end_is_read_only_as_far_as_the_guest_reads() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n".to_vec();
    let (authority, _) = server(head, move |mut stream| {
        let count = count.clone();
        async move {
            while let Ok(n) = stream.write(&[b'x'; 64 << 10]).await {
                count.fetch_add(n as u64, Ordering::Relaxed);
            }
        }
    })
    .await;
    let guest = granted(&authority, spec().time).await;
    // The guest gathers what it reads, so its own memory ends it; one that reads nothing is ended by its deadline.
    let read_all = fail(&guest, &format!("/fetch?http|{authority}|/")).await;
    assert!(matches!(read_all, Failure::Trap { .. } | Failure::Deadline(_)), "{read_all:?}");
    is_unharmed(&guest).await;
    let stopped = sent.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(sent.load(Ordering::Relaxed) < stopped + (16 << 20), "nobody reads on after the guest's end");
    assert!(stopped < 2 << 30, "{stopped} bytes were taken in");
}

#[tokio::test]
async fn h27_a_server_that_drips_is_waited_for_no_longer_than_the_guest_has() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_vec();
    let (authority, _) = server(head, |mut stream| async move {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let (never, _) = server(Vec::new(), |stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    for authority in [authority, never] {
        let guest = granted(&authority, spec().time).await;
        let start = Instant::now();
        let outcome = support::head(&guest, &format!("/fetch?http|{authority}|/")).await;
        let took = start.elapsed();
        // At the very deadline the guest may still be told that its own request is over, and say so.
        match outcome {
            Ok(response) => assert!(support::read(response).await.unwrap().starts_with(b"error: ")),
            Err(failure) => assert_eq!(failure, Failure::Deadline(spec().time)),
        }
        assert!(took > spec().time - Duration::from_millis(20) && took < spec().time + Duration::from_secs(1), "{took:?}");
        is_unharmed(&guest).await;
    }
}

#[tokio::test]
async fn h27_a_head_without_measure_is_an_error_to_the_guest() {
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x-some: field\r\n".repeat(100_000));
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "v".repeat(64 << 20));
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned();
    for head in [many, large, two, "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n".into(), "what?\r\n\r\n".into()] {
        let start: String = head.chars().take(40).collect();
        let (authority, _) = server(head.into_bytes(), |_| async {}).await;
        let guest = granted(&authority, Duration::from_secs(10)).await;
        let answer = get(&guest, &format!("/fetch?http|{authority}|/")).await;
        assert!(answer.starts_with("error: "), "{start:?}: {answer}");
        is_unharmed(&guest).await;
    }
}
