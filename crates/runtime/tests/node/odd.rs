//! N21 to N23 and N27 to N30 on the wire: odd hosts, methods, upgrades, forwarding headers, clients that leave or wait.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, within};
use crate::frames;

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({"wctl.dev/time": "30s"}), json!({})).await;
    cluster.deploy("other", 1, json!({}), json!({})).await;
    cluster.ready("web", 1).await;
    cluster.ready("other", 1).await;
    cluster
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// One request on a connection of its own, whose head has these lines after the first.
async fn ask(cluster: &Cluster, first: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    cluster.raw(&format!("{first} HTTP/1.1\r\n{lines}connection: close\r\n\r\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn n21_n22_n23_n27_a_request_is_for_one_host_and_nothing_but_http() {
    let cluster = cluster().await;
    // N21: what the guest is told is what was routed by.
    for (first, host, want) in [
        ("GET /reflect", "host: web.localhost", "host: web.localhost\n"),
        ("GET http://web.localhost/reflect", "host: other.localhost", "host: web.localhost\n"),
        ("GET http://WEB.localhost:80/reflect", "host: other.localhost", "host: WEB.localhost:80\n"),
        ("GET /reflect", "host: web.localhost.:8080", "host: web.localhost.:8080\n"),
    ] {
        let answer = ask(&cluster, first, &[host]).await;
        assert!(status(&answer) == "200" && answer.contains(want), "{first} {host}\n{answer}");
        assert!(!answer.contains("host: other") && answer.contains("x-forwarded-host: "), "{answer}");
    }
    for (first, lines) in [
        ("GET /", &["host: web.localhost", "host: other.localhost"][..]),
        ("GET /", &["host: web.localhost", "Host : other.localhost"]),
        ("GET /", &["host: web.localhost, other.localhost"]),
        ("GET /", &["host: other.localhost@web.localhost"]),
        ("GET /", &["host: web.localhost#other.localhost"]),
        ("GET /", &["host: web.localhost\\other"]),
        ("GET /", &[]),
        ("GET http://other.localhost@web.localhost/", &["host: web.localhost"]),
    ] {
        let answer = ask(&cluster, first, lines).await;
        assert_eq!(status(&answer), "400", "{first} {lines:?}\n{answer}");
    }
    for host in ["host: ", "host: :80", "host: nobody.localhost", "host: web.localhost:99999", "host: [::1"] {
        let answer = ask(&cluster, "GET /", &[host]).await;
        assert!(matches!(status(&answer), "400" | "404" | "200"), "{host}\n{answer}");
        assert!(status(&answer) != "200" || host.contains("web."), "{host}\n{answer}");
    }
    let head = [frames::head("GET", "/reflect"), frames::fields(&[("host", "other.localhost")])].concat();
    let end = frames::END_STREAM | frames::END_HEADERS;
    let stream = frames::open(cluster.http, &[]).await;
    let told = frames::flood(stream, 1, |_| frames::frame(frames::HEADERS, end, 1, &head), Duration::from_millis(500)).await;
    let seen = String::from_utf8_lossy(&told.data);
    assert!(!seen.contains("host: other") && (told.ok.is_empty() || seen.contains("host: web.localhost\n")), "{told:?}\n{seen}");

    // N22
    for (first, want) in
        [("CONNECT web.localhost:80", "405"), ("CONNECT 127.0.0.1:22", "405"), ("TRACE /", "405"), ("TRACK /", "200"), ("OPTIONS *", "404")]
    {
        let answer = ask(&cluster, first, &["host: web.localhost"]).await;
        assert_eq!(status(&answer), want, "{first}\n{answer}");
        assert_eq!(answer.contains("allow: GET"), want == "405", "{first}\n{answer}");
    }

    // N23: what follows a request for an upgrade is never a tunnel, and never taken for a request before it is one.
    let after = "GET /reflect/hidden HTTP/1.1\r\nhost: web.localhost\r\n\r\n";
    let upgrade = "GET /reflect HTTP/1.1\r\nhost: web.localhost\r\nconnection: upgrade, close\r\nupgrade: ";
    let answer = cluster.raw(&format!("{upgrade}websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n{after}")).await;
    assert!(status(&answer) == "426" && !answer.contains("hidden") && !answer.contains("101 "), "{answer}");
    let settings = "http2-settings: AAMAAABkAAQAAP__\r\n";
    let answer = cluster.raw(&format!("{upgrade}h2c\r\n{settings}\r\n{after}")).await;
    assert!(status(&answer) == "200" && !answer.contains("hidden") && !answer.contains("101 "), "{answer}");
    assert!(!answer.contains("upgrade: h2c"), "the guest is not asked to switch: {answer}");

    // N27
    let forged = ["host: web.localhost", "x-forwarded-for: 10.0.0.1", "x-forwarded-proto: https", "forwarded: for=10.0.0.1"];
    let stripped = "connection: x-forwarded-for, x-forwarded-host, x-request-id, traceparent, host, x-own";
    let answer = ask(&cluster, "GET /reflect", &[&forged[..], &[stripped, "x-own: 1", "x-real-ip: 10.0.0.1"]].concat()).await;
    for want in ["x-forwarded-for: 127.0.0.1\n", "x-forwarded-proto: http\n", "x-forwarded-host: web.localhost\n", "\nx-request-id: "] {
        assert!(answer.contains(want), "{want}\n{answer}");
    }
    assert!(!answer.contains("10.0.0.1") && !answer.contains("x-own"), "{answer}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n28_h23_clients_that_close_their_side_get_answers_and_those_that_leave_stop_the_guest() {
    let cluster = cluster().await;
    // A whole request, then FIN: as `nc -N` sends it.
    for request in [
        "GET / HTTP/1.1\r\nhost: web.localhost\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\nhost: web.localhost\r\n\r\n".into(),
        "GET /sleep?100000000 HTTP/1.1\r\nhost: web.localhost\r\n\r\n".into(),
        "POST /echo HTTP/1.1\r\nhost: web.localhost\r\ncontent-length: 5\r\n\r\nhello".into(),
        "GET / HTTP/1.1\r\nhost: web.localhost\r\n\r\n".repeat(20),
    ] {
        let mut stream = TcpStream::connect(cluster.http).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        let start = Instant::now();
        within("the end", stream.read_to_string(&mut answer)).await.unwrap();
        let want = request.matches("HTTP/1.").count();
        assert_eq!(answer.matches(" 200 OK").count(), want, "{request:?}\n{answer}");
        assert!(start.elapsed() < Duration::from_millis(450), "the connection ends with the answer: {:?}", start.elapsed());
    }
    // Half a request, then FIN: there is nothing to answer.
    let mut stream = TcpStream::connect(cluster.http).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web.loc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    within("the end", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(!answer.contains(" 200 "), "{answer}");
    // H23: whoever leaves, by FIN or RST, in whatever state, stops the guest within a second.
    cluster.at_rest().await;
    let begin = "HTTP/1.1\r\nhost: web.localhost\r\n";
    for request in [
        format!("GET /sleep {begin}\r\n"),
        format!("GET /spin {begin}\r\n"),
        format!("GET /spin-body {begin}\r\n"),
        format!("GET /stall-body {begin}\r\n"),
        format!("POST /echo {begin}content-length: 9\r\n\r\nh"),
    ] {
        for reset in [false, true] {
            let mut stream = TcpStream::connect(cluster.http).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let begun = async {
                while cluster.metric("wctl_sandboxes") == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await
                }
            };
            within("the guest", begun).await;
            if reset {
                stream.set_zero_linger().unwrap();
            }
            drop(stream);
            let left = Instant::now();
            cluster.at_rest().await;
            assert!(left.elapsed() < Duration::from_secs(1), "{request:?} went on for {:?}", left.elapsed());
        }
    }
    assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n29_a_client_that_waits_to_be_told_to_go_on_is_told_or_refused() {
    let cluster = cluster().await;
    let ask = async |first: &str, host: &str, body: &str| {
        let mut stream = TcpStream::connect(cluster.http).await.unwrap();
        let head = format!("{first}\r\nhost: {host}.localhost\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut told = vec![0; 1024];
        let n = within("the first word", stream.read(&mut told)).await.unwrap();
        told.truncate(n);
        // Who was refused may have been cut off.
        let _ = stream.write_all(body.as_bytes()).await;
        let _ = within("the end", stream.read_to_end(&mut told)).await;
        String::from_utf8(told).unwrap()
    };
    let told = ask("POST /length HTTP/1.1", "web", "hello").await;
    let after = told.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or_else(|| panic!("{told}"));
    assert!(after.starts_with("HTTP/1.1 200 ") && after.ends_with("\r\n\r\n5"), "{after}");
    // Nobody wants the body: the answer comes without it, and the body is no request.
    for (host, path, want) in [("nobody", "/echo", "404"), ("web", "/reflect", "200")] {
        let told = ask(&format!("POST {path} HTTP/1.1"), host, "hello").await;
        assert!(status(&told) == want && !told.contains("100 Continue") && told.matches("HTTP/1.1 ").count() == 1, "{told}");
    }
    // HTTP/1.0 knows no such answer; the body comes at once.
    let old = "POST /echo HTTP/1.0\r\nhost: web.localhost\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello";
    let told = cluster.raw(old).await;
    assert!(!told.contains("100 Continue") && told.contains("200 OK") && told.ends_with("hello"), "{told}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n30_hosts_that_nobody_knows_make_no_metrics() {
    let cluster = cluster().await;
    let series = || cluster.handle.metrics().lines().filter(|line| !line.starts_with('#')).count();
    let before = series();
    let requests: String = (0..5_000).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: host-{n}.example\r\n\r\n")).collect();
    let answers = cluster.raw(&format!("{requests}M{} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "X".repeat(100))).await;
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 5_001);
    assert_eq!(series(), before);
    assert!(!cluster.handle.metrics().contains("example"));
    cluster.stop().await;
}
