//! Logs, ids, ports of their own, odd requests.

use futures::AsyncReadExt;
use http::StatusCode;
use kube::api::LogParams;
use serde_json::json;

use crate::cluster::{Cluster, name, within};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_prints_is_read_through_the_api() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    cluster.ready("web", 1).await;
    let pod = cluster.seen("web", |pod| Some(name(pod))).await;
    let follow = LogParams { follow: true, ..LogParams::default() };
    let mut following = within("the log", cluster.pods().log_stream(&pod, &follow)).await.expect("a log");
    assert_eq!(cluster.get("web", "/print").await.1, "printed");
    let mut seen = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&seen).contains("to stderr\n") {
            let mut chunk = [0; 256];
            let size = following.read(&mut chunk).await.expect("more");
            assert!(size > 0, "the log ended: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&chunk[..size]);
        }
    };
    within("following", read).await;
    let whole = within("the log", cluster.pods().logs(&pod, &LogParams::default())).await.expect("a log");
    assert_eq!(whole, "to stdout\nto stderr\n");
    let tail = LogParams { tail_lines: Some(1), ..LogParams::default() };
    assert_eq!(within("the log", cluster.pods().logs(&pod, &tail)).await.expect("a log"), "to stderr\n");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_answers_on_a_port_of_its_own_whatever_host_is_asked_for() {
    let mut cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    cluster.ready("web", 1).await;
    cluster.http = cluster.handle.expose("default", "web").await.expect("a port");
    assert_eq!(cluster.handle.expose("default", "web").await.expect("a port"), cluster.http);
    assert_eq!(cluster.get("anything", "/").await, (StatusCode::OK, "hello".into()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_are_refused_and_the_gateway_goes_on() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    cluster.ready("web", 1).await;
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    for (request, want) in [
        ("GET / HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: web.localhost\r\nhost: web.localhost\r\nconnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: web.localhost\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n", "426"),
        ("TRACE / HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n\r\n", "405"),
        ("GET / HTTP/1.1\r\nhost : web.localhost\r\nconnection: close\r\n\r\n", "400"),
        ("GET http://web.localhost/ HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n", "200"),
        ("GET / HTTP/1.0\r\nhost: web.localhost\r\n\r\n", "200"),
    ] {
        assert_eq!(status(&cluster.raw(request).await), want, "{request}");
    }
    let long = format!("GET / HTTP/1.1\r\nhost: web.localhost\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    assert_eq!(status(&cluster.raw(&long).await), "431");
    let many = format!("GET / HTTP/1.1\r\nhost: web.localhost\r\n{}\r\n", "x: 1\r\n".repeat(120));
    assert_eq!(status(&cluster.raw(&many).await), "431");
    assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK);
    cluster.stop().await;
}
