//! H cases through the gateway: a hostile app, and one beside it that must not notice.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bystander::Bystander;
use crate::cluster::{Cluster, within};

async fn cluster(concurrency: u32) -> Cluster {
    let cluster = Cluster::start().await;
    let bounds = json!({"wctl.dev/time": "700ms", "wctl.dev/concurrency": concurrency.to_string(), "wctl.dev/call": "web"});
    cluster.deploy("web", 1, bounds, json!({})).await;
    cluster.ready("web", 1).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn h14_no_field_of_a_guest_frames_its_answer() {
    let cluster = cluster(10).await;
    for (fields, statuses) in [
        ("transfer-encoding|chunked", &["200"][..]),
        ("transfer-encoding|identity|te|trailers", &["200"]),
        ("connection|close", &["200"]),
        ("keep-alive|timeout=9|upgrade|h2c|proxy-connection|close", &["200"]),
        ("trailer|content-length", &["200"]),
        // The host refuses the field, or the bytes beyond, which the guest takes ill.
        ("content-length|3", &["200", "500", "502"]),
        ("content-length|3|content-length|4", &["200", "500", "502"]),
        ("content-length|4,4", &["200", "500", "502"]),
        ("content-length|-1", &["200", "500", "502"]),
        ("content-length|18446744073709551616", &["200", "500", "502"]),
        // Set by the guest with a line break in it, which its own library may refuse already.
        ("x-some|a%0d%0acontent-length: 0%0d%0a%0d%0aHTTP/1.1 200 OK", &["200", "502"]),
        ("x-some|a%0ab", &["200", "502"]),
    ] {
        // Two on one connection: whatever the first says of its length, the second must come in its place.
        let request = |path: &str, close: &str| format!("GET {path} HTTP/1.1\r\nhost: web.localhost\r\n{close}\r\n");
        let first = request(&format!("/fields?{}", fields.replace(' ', "+")), "");
        let answers = cluster.raw(&format!("{first}{}", request("/", "connection: close\r\n"))).await;
        let heads: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
        assert_eq!(heads.len(), 2, "{fields}\n{answers}");
        let (head, _) = heads[0].split_once("\r\n\r\n").unwrap();
        assert!(statuses.contains(&&head[..3]), "{fields}\n{answers}");
        for never in ["connection", "transfer-encoding: identity", "keep-alive", "upgrade", "proxy-connection", "trailer", "te:"] {
            assert!(!head.lines().any(|line| line.starts_with(never)), "{fields}: {never}\n{answers}");
        }
        assert!(head.matches("content-length").count() + head.matches("transfer-encoding").count() == 1, "{fields}\n{answers}");
        assert!(heads[1].starts_with("200 ") && heads[1].ends_with("hello"), "{fields}\n{answers}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h15_a_body_that_does_not_fit_its_length_breaks_the_connection() {
    let cluster = cluster(10).await;
    for path in ["/short-body", "/long-body"] {
        let answers = cluster.raw(&format!("GET {path} HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n\r\n")).await;
        assert!(answers.starts_with("HTTP/1.1 502 "), "{path}\n{answers}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h28_a_service_that_calls_itself_ends() {
    let cluster = cluster(10).await;
    let bystander = Bystander::start(&cluster).await;
    let (status, text) = cluster.get("web", "/again?web.internal").await;
    // Ten at a time is less than the sixteen hops, so the pod's own limit is what ends it.
    assert!(status == StatusCode::OK && text.contains("error: "), "{text}");
    cluster.deploy("deep", 1, json!({"wctl.dev/concurrency": "100", "wctl.dev/call": "deep"}), json!({})).await;
    cluster.ready("deep", 1).await;
    let (status, text) = cluster.get("deep", "/again?deep.internal").await;
    assert!(status == StatusCode::OK && text.contains("LoopDetected"), "{text}");
    assert_eq!(text.matches("200 ").count(), 16, "{text}");
    // Its own gateway is an address inside, which a guest does not reach.
    let address = cluster.http;
    for host in [format!("{address}"), format!("localhost:{}", address.port()), "deep.localhost".into()] {
        let (_, text) = cluster.get("deep", &format!("/fetch?http|{host}|/")).await;
        assert!(text.contains("HttpRequestDenied"), "{host}: {text}");
    }
    bystander.ends_unharmed().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h42_an_app_that_crashes_on_each_request_is_restarted_now_and_then() {
    let cluster = cluster(100).await;
    let bystander = Bystander::start(&cluster).await;
    let (address, until) = (cluster.http, tokio::time::Instant::now() + Duration::from_millis(1_500));
    let hammer = |_| async move {
        let mut asked = 0;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answer = vec![0; 4096];
        while tokio::time::Instant::now() < until {
            stream.write_all(b"GET /panic HTTP/1.1\r\nhost: web.localhost\r\n\r\n").await.unwrap();
            let n = stream.read(&mut answer).await.unwrap();
            let status = String::from_utf8_lossy(&answer[9..12]).into_owned();
            assert!(n > 12 && matches!(&status[..], "500" | "503"), "{status}");
            asked += 1;
        }
        asked
    };
    let asked: usize = (0..8).map(hammer).collect::<JoinSet<_>>().join_all().await.iter().sum();
    let restarts = cluster.metric("wctl_instance_restarts_total");
    assert!(asked > 200, "{asked} requests are no attack");
    // At once, then after 100 ms, 200 ms, 400 ms …
    assert!((1..=8).contains(&restarts), "{restarts} restarts for {asked} requests");
    bystander.ends_unharmed().await;
    let again = async {
        while cluster.get("web", "/").await.0 != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    };
    within("the app's return", again).await;
    cluster.stop().await;
}

async fn looping(apps: usize, each: usize) {
    let cluster = Cluster::start().await;
    let bystander = Bystander::start(&cluster).await;
    let name = |n: usize| format!("loop-{n}");
    for n in 0..apps {
        cluster.deploy(&name(n), 1, json!({"wctl.dev/time": "2s"}), json!({})).await;
    }
    for n in 0..apps {
        cluster.ready(&name(n), 1).await;
    }
    let address = cluster.http;
    let spin = |n: usize| async move { Cluster::open_at(address, &name(n % apps), "/spin", false).await.status() };
    let ended = (0..apps * each).map(spin).collect::<JoinSet<_>>().join_all().await;
    assert!(ended.iter().all(|status| *status == StatusCode::GATEWAY_TIMEOUT), "{ended:?}");
    bystander.ends_unharmed().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h43_apps_that_loop_do_not_slow_their_neighbour() {
    looping(5, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: takes half a minute"]
async fn h43_a_hundred_apps_that_loop_do_not_slow_their_neighbour() {
    looping(100, 1).await;
}
