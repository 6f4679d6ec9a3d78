//! Rollouts and stops under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::cluster::{Cluster, state, within};

/// Keeps asking over one connection until told to stop; how many requests were not answered with 200.
async fn load(to: std::net::SocketAddr, stop: Arc<AtomicBool>, asked: Arc<AtomicUsize>) -> usize {
    let mut failed = 0;
    let io = TokioIo::new(TcpStream::connect(to).await.expect("a connection"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    while !stop.load(Ordering::Relaxed) {
        let request = Request::get("/").header("host", "web.localhost").body(Empty::<Bytes>::new()).expect("a request");
        sender.ready().await.expect("the connection stays");
        let whole = match sender.send_request(request).await {
            Ok(response) if response.status() == StatusCode::OK => response.into_body().collect().await.is_ok(),
            _ => false,
        };
        failed += usize::from(!whole);
        asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    failed
}

/// Done when three pods of this revision are ready and no other is left.
async fn rolled(cluster: &Cluster, revision: &str) {
    let new = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.metadata.annotations.as_ref().is_some_and(|a| a.get("v").is_some_and(|v| v == revision)) && state(pod)["ready"] == true
    };
    loop {
        let pods = cluster.pods().list(&Default::default()).await.expect("pods");
        if pods.items.len() == 3 && pods.items.iter().all(new) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_fails_no_request_and_never_has_fewer_than_three_ready() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 3, json!({}), json!({"env": [{"name": "V", "value": "1"}]})).await;
    cluster.ready("web", 3).await;
    let mut events = cluster.handle.endpoint_events();
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let loads: Vec<_> = (0..4).map(|_| tokio::spawn(load(cluster.http, stop.clone(), asked.clone()))).collect();
    for revision in 2..7 {
        let revision = revision.to_string();
        let env = json!([{"name": "V", "value": revision}]);
        let containers = json!([{"name": "web", "image": cluster.image, "env": env}]);
        cluster.change("web", json!({"metadata": {"annotations": {"v": revision}}, "spec": {"containers": containers}})).await;
        within("the rollout", rolled(&cluster, &revision)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for load in loads {
        failed += load.await.expect("no panic");
    }
    let seen: Vec<usize> = std::iter::from_fn(|| events.try_recv().ok()).map(|event| event.ready).collect();
    let asked = asked.load(Ordering::Relaxed);
    println!("{asked} requests, {failed} failed, ready pods at each change: {seen:?}");
    assert_eq!(failed, 0);
    assert!(asked > 300, "{asked} requests are no load");
    // Each of the five rollouts replaces three pods one by one.
    assert!(seen.len() >= 15 && seen.iter().all(|ready| *ready >= 3), "{seen:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_finishes_its_requests_and_takes_no_more() {
    let mut cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    cluster.ready("web", 1).await;
    let to = cluster.http;
    let slow = tokio::spawn(async move {
        let io = TokioIo::new(TcpStream::connect(to).await.expect("a connection"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        let request = Request::get("/sleep?1500000000").header("host", "web.localhost").body(Empty::<Bytes>::new()).expect("a request");
        sender.send_request(request).await.map(|response| (response.status(), response.headers().get("connection").cloned()))
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.stop_node().await;
    let (status, connection) = slow.await.expect("no panic").expect("an answer");
    assert_eq!(status, StatusCode::OK);
    assert!(connection.is_some_and(|value| value == "close"), "the connection is not kept");
    assert!(TcpStream::connect(to).await.is_err(), "nobody listens");
    cluster.stop().await;
}
