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
    cluster.http = cluster.handle.expose("default", "web").await.expect("a port").address;
    assert_eq!(cluster.handle.expose("default", "web").await.expect("a port").address, cluster.http);
    assert_eq!(cluster.get("anything", "/").await, (StatusCode::OK, "hello".into()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_through_gateway_guest_and_call_into_the_access_log() {
    let mut cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({"wctl.dev/call": "web"}), json!({})).await;
    cluster.ready("web", 1).await;
    let ask = async |headers: &str| {
        let path = "/trace?http|web.internal|/trace";
        let answer = cluster.raw(&format!("GET {path} HTTP/1.1\r\nhost: web.localhost\r\n{headers}connection: close\r\n\r\n")).await;
        let lines: Vec<&str> = answer.lines().filter(|line| line.contains("00-")).collect();
        let words = lines.iter().map(|line| line.trim_start_matches("200 ").split(' ').map(str::to_owned).collect::<Vec<_>>());
        let [caller, callee] = <[_; 2]>::try_from(words.collect::<Vec<_>>()).unwrap_or_else(|_| panic!("two places in {answer}"));
        assert_eq!((caller.len(), callee.len()), (2, 2), "{answer}");
        (caller, callee)
    };
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let (caller, callee) = ask(&format!("traceparent: 00-{trace}-{span}-00\r\ntracestate: a=1\r\n")).await;
    for place in [&caller, &callee] {
        assert!(place[0].starts_with(&format!("00-{trace}-")) && place[0].ends_with("-00") && place[1] == "a=1", "{place:?}");
        assert!(!place[0].contains(span), "each has a span of its own");
    }
    assert_ne!(caller[0], callee[0]);
    let mut ids = vec![trace.to_owned()];
    for headers in ["", "traceparent: 00-0-0-01\r\ntracestate: a=1\r\n"] {
        let (caller, callee) = ask(headers).await;
        assert!(caller[0].len() == 55 && caller[1].is_empty() && callee[1].is_empty(), "{caller:?}");
        assert_eq!(caller[0][..36], callee[0][..36]);
        ids.push(caller[0][3..35].to_owned());
    }
    cluster.stop_node().await;
    let log = std::fs::read_to_string(cluster.node_folder().join("logs/access.log")).expect("the access log");
    for id in ids {
        let lines = log.lines().filter(|line| line.contains(&format!("\"trace\":\"{id}\""))).count();
        assert_eq!(lines, 2, "{id}, of caller and callee, in\n{log}");
    }
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
