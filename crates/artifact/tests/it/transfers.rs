//! Blobs from a hostile or broken registry: wrong, cut, long, endless, slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use artifact::registry::{Failure, Limits, Options};
use artifact::{Digest, Reference};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;

use crate::support::*;

/// A registry that behaves except for the blobs, which `blob` answers.
async fn with_blob(blob: impl Fn(&Seen, Bytes) -> Response + Clone + Send + Sync + 'static) -> Fake {
    let packed = packed();
    let contents = Contents::of(&packed);
    let layer = format!("blobs/{}", Digest::of(&packed.layer));
    Fake::start(move |seen| match seen.path.ends_with(&layer) {
        true => blob(seen, packed.layer.clone()),
        false => contents.answer(seen),
    })
    .await
}

#[tokio::test]
async fn r1_a_blob_with_another_digest_is_refused() {
    let fake = with_blob(|_, layer| {
        let mut bytes = layer.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        ok("application/octet-stream", bytes)
    })
    .await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Digest { .. }));
}

#[tokio::test]
async fn r3_a_blob_that_is_always_cut_is_refused() {
    let fake = with_blob(|_, layer| {
        let half = layer[..layer.len() / 2].to_vec();
        let body = pieces(vec![Ok(half), Err(std::io::Error::other("cut"))]);
        Response::builder().header("content-length", layer.len()).body(body).unwrap()
    })
    .await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Cut { .. } | Failure::Size { .. }));
    assert!(fake.seen("blobs/").len() > 1, "a broken transfer is taken up again");
}

#[tokio::test]
async fn r3_a_blob_that_ends_early_without_an_announced_length_is_refused() {
    let fake = with_blob(|_, layer| Response::new(pieces(vec![Ok(layer[..layer.len() - 1].to_vec())]))).await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Size { .. }));
}

#[tokio::test]
async fn r4_a_blob_that_is_longer_than_described_is_refused() {
    let announced = with_blob(|_, layer| ok("application/octet-stream", [&layer[..], b"more"].concat())).await;
    assert!(matches!(failure(&pull(&announced, ":1").await), Failure::Size { .. }));
    let unannounced = with_blob(|_, layer| Response::new(pieces(vec![Ok(layer.to_vec()), Ok(b"more".to_vec())]))).await;
    assert!(matches!(failure(&pull(&unannounced, ":1").await), Failure::Size { .. }));
}

#[tokio::test]
async fn r5_a_manifest_that_lies_about_a_size_is_refused() {
    for lie in [-1i64, 1, 100_000] {
        let wasm = component();
        let mut layer = described(WASM, &wasm);
        layer["size"] = json!(wasm.len() as i64 + lie);
        let mut contents = Contents::default();
        contents.blob(wasm);
        contents.document("1", MANIFEST, manifest(&[layer]));
        let fake = Fake::holding(contents).await;
        assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Size { .. }), "a lie of {lie} bytes");
    }
}

#[tokio::test]
async fn r10_a_layer_of_10_gb_is_refused_before_it_is_asked_for() {
    let mut layer = described(WASM, b"x");
    layer["size"] = json!(10u64 << 30);
    let mut contents = Contents::default();
    contents.document("1", MANIFEST, manifest(&[layer]));
    let fake = Fake::holding(contents).await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::TooLarge { .. }));
    assert!(fake.seen("blobs/").is_empty());
}

#[tokio::test]
async fn r10_an_endless_blob_is_stopped_at_its_size() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let fake = with_blob(move |_, _| {
        let count = count.clone();
        let endless = futures::stream::repeat_with(move || {
            count.fetch_add(1 << 16, Ordering::SeqCst);
            Ok::<_, std::io::Error>(vec![0u8; 1 << 16])
        });
        Response::new(Body::from_stream(endless))
    })
    .await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Size { .. }));
    assert!(sent.load(Ordering::SeqCst) < 64 << 20, "{} bytes were taken", sent.load(Ordering::SeqCst));
}

#[tokio::test]
async fn r14_a_trickling_blob_is_given_up() {
    let fake = with_blob(|_, layer| {
        let bytes = layer.to_vec();
        let trickle = futures::stream::unfold(0, move |at| {
            let byte = bytes.get(at).copied();
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                byte.map(|byte| (Ok::<_, std::io::Error>(vec![byte]), at + 1))
            }
        });
        Response::new(Body::from_stream(trickle))
    })
    .await;
    let limits = Limits { patience: Duration::from_secs(1), slowest: 4096, ..limits() };
    let result = client_with(Options { limits, ..Options::default() }).pull(&fake.reference(":1")).await;
    assert!(matches!(failure(&result), Failure::Slow { .. }));
}

#[tokio::test]
async fn r14_a_registry_that_never_answers_or_never_ends_is_left() {
    let limits = Limits { answer: Duration::from_millis(500), transfer: Duration::from_secs(1), ..limits() };
    let client = client_with(Options { limits, ..Options::default() });
    // Accepts and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent: Reference = format!("{}/acme/hello:1", listener.local_addr().unwrap()).parse().unwrap();
    assert!(matches!(failure(&client.pull(&silent).await), Failure::Late { .. }));
    let never = Fake::start(|_| Response::new(Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()))).await;
    assert!(matches!(failure(&client.pull(&never.reference(":1")).await), Failure::Late { .. }));
    let stuck = with_blob(|_, _| Response::new(Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()))).await;
    assert!(matches!(failure(&client.pull(&stuck.reference(":1")).await), Failure::Late { .. } | Failure::Slow { .. }));
}

#[tokio::test]
async fn r14_a_blob_that_breaks_off_is_resumed() {
    let fake = with_blob(|seen, layer| {
        let from =
            seen.headers.get("range").map_or(0, |range| range.to_str().unwrap()["bytes=".len()..].trim_end_matches('-').parse().unwrap());
        let to = (from + layer.len() / 3 + 1).min(layer.len());
        let mut parts = vec![Ok(layer[from..to].to_vec())];
        if to < layer.len() {
            parts.push(Err(std::io::Error::other("cut")));
        }
        // The pause lets the first part out before the connection goes.
        let body = futures::stream::iter(parts).then(|part| async {
            if part.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            part
        });
        let response = Response::builder().status(if from == 0 { 200 } else { 206 });
        response.header("content-range", format!("bytes {from}-{}/{}", layer.len() - 1, layer.len())).body(Body::from_stream(body)).unwrap()
    })
    .await;
    assert_eq!(pull(&fake, ":1").await.unwrap().wasm, component());
    let ranges = fake.seen("blobs/").iter().filter(|seen| seen.headers.contains_key("range")).count();
    assert_eq!(ranges, 2);
}

#[tokio::test]
async fn r14_a_registry_that_cannot_resume_is_asked_for_all_again() {
    let turns = Arc::new(AtomicUsize::new(0));
    let fake = with_blob(move |_, layer| match turns.fetch_add(1, Ordering::SeqCst) {
        0 => Response::new(pieces(vec![Ok(layer[..100].to_vec()), Err(std::io::Error::other("cut"))])),
        _ => ok("application/octet-stream", layer),
    })
    .await;
    assert_eq!(pull(&fake, ":1").await.unwrap().wasm, component());
}

#[tokio::test]
async fn r14_a_range_that_was_not_asked_for_is_refused() {
    let fake =
        with_blob(|_, layer| Response::builder().status(206).header("content-range", "bytes 5-9/10").body(Body::from(layer)).unwrap())
            .await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Nonsense { .. }));
}
