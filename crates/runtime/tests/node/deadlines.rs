//! Guests that do not answer in time: when their 504 comes, and that it is counted.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;

use crate::cluster::Cluster;

/// What the guests of these tests have.
const TIME: Duration = Duration::from_millis(700);
/// How soon after it the answer must be there, on a machine that has nothing else to do at that moment: one of [`TRIES`] finds it so.
const SOON: Duration = Duration::from_millis(100);
/// How soon after it the answer must be there whatever else goes on.
const LATE: Duration = Duration::from_secs(1);
const TRIES: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn h1_h6_h7_h19_the_504_comes_at_the_deadline_and_is_counted() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({"wctl.dev/time": "700ms", "wctl.dev/concurrency": "1"}), json!({})).await;
    cluster.ready("web", 1).await;
    let (deadlines, errors) = ("wctl_failures_total{reason=\"deadline\"}", "wctl_requests_total{class=\"5xx\"}");
    for path in ["/spin", "/spin-clock", "/spin-random", "/spin-poll", "/harsh?fill|16777216", "/sleep"] {
        let before = (cluster.metric(deadlines), cluster.metric(errors));
        let mut best = Duration::MAX;
        for _ in 0..TRIES {
            let start = Instant::now();
            let (status, text) = cluster.get("web", path).await;
            let took = start.elapsed();
            assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{path}: {text}");
            assert!(took >= TIME && took < TIME + LATE, "{path} took {took:?}");
            best = best.min(took);
            // The pod takes one at a time: its place is free again.
            assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK, "{path}");
        }
        assert!(best < TIME + SOON, "{path} took {best:?} at best");
        let counted = (cluster.metric(deadlines) - before.0, cluster.metric(errors) - before.1);
        assert_eq!(counted, (TRIES, TRIES), "{path}");
    }
    cluster.stop().await;
}
