//! What clients see when a guest fails.

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::json;

use crate::cluster::{Cluster, within};

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({"wctl.dev/time": "700ms", "wctl.dev/concurrency": "2"}), json!({})).await;
    cluster.ready("web", 1).await;
    cluster
}

async fn broken_in_both_protocols(cluster: &Cluster, path: &str) {
    let raw = cluster.raw(&format!("GET {path} HTTP/1.1\r\nhost: web.localhost\r\n\r\n")).await;
    assert!(!raw.ends_with("0\r\n\r\n"), "the end of a body that was cut must not look like one: {raw:?}");
    let response = within("a head", cluster.open("web", path, true)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = within("the end of the body", response.into_body().collect()).await;
    assert!(body.is_err(), "HTTP/2 must reset the stream: {body:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h16_trap_after_headers_is_an_error() {
    let cluster = cluster().await;
    broken_in_both_protocols(&cluster, "/trap-body").await;
    assert_eq!(cluster.get("web", "/").await, (StatusCode::OK, "hello".into()), "the next request is unharmed");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h17_a_deadline_in_mid_body_is_an_error() {
    let cluster = cluster().await;
    broken_in_both_protocols(&cluster, "/spin-body").await;
    // H20: a body that stalls ends too, and gives its permit back; there are two.
    broken_in_both_protocols(&cluster, "/stall-body").await;
    assert_eq!(cluster.get("web", "/").await, (StatusCode::OK, "hello".into()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h18_h19_h41_each_failure_has_its_status_and_sentence() {
    let cluster = cluster().await;
    for (path, status, reason) in [
        ("/none", 502, "no answer"),
        ("/exit?0", 502, "no answer"),
        ("/panic", 500, "trap"),
        ("/spin", 504, "deadline"),
        ("/sleep", 504, "deadline"),
        ("/large-header", 502, "bad answer"),
    ] {
        let (got, body) = cluster.get("web", path).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"));
        assert_eq!((got.as_u16(), body["reason"].as_str()), (status, Some(reason)), "{path}: {body}");
        assert_eq!(body["request"].as_str().map(str::len), Some(16), "each answer carries the request's id");
    }
    assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK);
    let (status, body) = cluster.get("nobody", "/").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("no app has a route for this host and path"), "{body}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_limit_of_concurrency_is_a_quick_503_with_retry_after() {
    let cluster = cluster().await;
    let full = async {
        // Not before both are at work: a third request in their midst would have taken one's place.
        while !cluster.handle.metrics().contains("wctl_sandboxes 2\n") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let response = cluster.open("web", "/", false).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        response.headers()["retry-after"].clone()
    };
    let (one, two, retry) = tokio::join!(cluster.open("web", "/sleep", false), cluster.open("web", "/sleep", false), within("a 503", full));
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (504, 504));
    assert_eq!(retry, "1");
    assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK, "the permits are back");
    cluster.stop().await;
}
