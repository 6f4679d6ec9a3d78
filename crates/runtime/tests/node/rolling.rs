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

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_fails_no_request_and_never_has_fewer_than_three_ready() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 3, json!({}), json!({"env": [{"name": "V", "value": "1"}]})).await;
    cluster.ready("web", 3).await;
    let mut events = cluster.handle.endpoint_events();
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let loads: Vec<_> = (0..4).map(|_| tokio::spawn(load(cluster.http, stop.clone(), asked.clone()))).collect();
    cluster.change("web", json!({"metadata": {"annotations": {"v": "2"}}, "spec": {"containers": [{"name": "web", "image": cluster.image, "env": [{"name": "V", "value": "2"}]}]}})).await;
    let rolled = async {
        loop {
            let pods = cluster.pods().list(&Default::default()).await.expect("pods");
            let new = |pod: &&k8s_openapi::api::core::v1::Pod| {
                pod.metadata.annotations.as_ref().is_some_and(|a| a.get("v").is_some_and(|v| v == "2")) && state(pod)["ready"] == true
            };
            if pods.items.len() == 3 && pods.items.iter().filter(new).count() == 3 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the rollout", rolled).await;
    stop.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for load in loads {
        failed += load.await.expect("no panic");
    }
    let mut least = usize::MAX;
    while let Ok(event) = events.try_recv() {
        least = least.min(event.ready);
    }
    println!("{} requests, {failed} failed, never fewer than {least} ready", asked.load(Ordering::Relaxed));
    assert_eq!(failed, 0);
    assert!((3..usize::MAX).contains(&least), "{least}");
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
