//! N cases on HTTP/2: floods, bombs and stalls, with an app beside the attacked one that must not notice.

use std::time::Duration;

use http::StatusCode;
use runtime::gateway::listen::Limits;
use serde_json::json;

use crate::bystander::Bystander;
use crate::cluster::{Cluster, within};
use crate::frames::*;

const SOON: Duration = Duration::from_secs(10);

async fn cluster() -> Cluster {
    let limits = Limits { stall: Duration::from_secs(1), ..Limits::default() };
    let cluster = Cluster::with(limits).await;
    cluster.deploy("web", 1, json!({"wctl.dev/time": "60s", "wctl.dev/concurrency": "50"}), json!({})).await;
    cluster.ready("web", 1).await;
    cluster
}

/// The attacked app serves as before, and nothing of the attack still runs.
async fn is_over(cluster: &Cluster) {
    cluster.at_rest().await;
    assert_eq!(cluster.get("web", "/").await, (StatusCode::OK, "hello".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn n7_n13_streams_that_are_reset_at_once_end_the_connection() {
    let cluster = cluster().await;
    let bystander = Bystander::start(&cluster).await;
    let before = cluster.metric("wctl_sandboxes_made_total");
    // N7: by the client.
    let rapid = |n: u32| [get(2 * n + 1, "/sleep"), frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes())].concat();
    let told = flood(open(cluster.http, &[]).await, 100_000, rapid, SOON).await;
    assert!(told.goaway.is_some() && told.closed && told.sent < 50_000, "{told:?}");
    // N13: the client has the server do it, with an error in each stream.
    let made = |n: u32| [get(2 * n + 1, "/sleep"), frame(WINDOW_UPDATE, 0, 2 * n + 1, &0u32.to_be_bytes())].concat();
    let told = flood(open(cluster.http, &[]).await, 100_000, made, SOON).await;
    assert!(told.goaway.is_some() && told.closed && told.sent < 50_000, "{} sent, {} reset", told.sent, told.resets.len());
    is_over(&cluster).await;
    let started = cluster.metric("wctl_sandboxes_made_total") - before;
    // The bystander's are among them.
    assert!(started < 5_000, "{started} sandboxes were made for requests that were taken back");
    bystander.ends_unharmed().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n8_n9_n10_n12_floods_of_frames_end_the_connection() {
    let cluster = cluster().await;
    let bystander = Bystander::start(&cluster).await;
    // N8: a head that never ends.
    let piece = fields(&[("x-some", &"v".repeat(16_000))]);
    let endless = |n: u32| match n {
        0 => frame(HEADERS, END_STREAM, 1, &head("GET", "/")),
        _ => frame(CONTINUATION, 0, 1, &piece),
    };
    let told = flood(open(cluster.http, &[]).await, 100_000, endless, SOON).await;
    assert!(told.closed && told.sent < 2_000, "CONTINUATION: {} sent", told.sent);
    // The same in pieces of nothing.
    let empty = |n: u32| if n == 0 { endless(0) } else { frame(CONTINUATION, 0, 1, &[]).repeat(100) };
    let told = flood(open(cluster.http, &[]).await, 100_000, empty, SOON).await;
    assert!(told.closed && told.sent < 50_000, "empty CONTINUATION: {} sent", told.sent);
    // N9: a body of nothing, for ever.
    let nothing = |n: u32| match n {
        0 => frame(HEADERS, END_HEADERS, 1, &head("POST", "/sleep")),
        _ => frame(DATA, 0, 1, &[]).repeat(100),
    };
    let told = flood(open(cluster.http, &[]).await, 100_000, nothing, SOON).await;
    assert!((told.goaway.is_some() || !told.resets.is_empty()) && told.sent < 50_000, "empty DATA: {told:?}");
    // N10: each wants an answer that nobody reads.
    for what in [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[7; 8])] {
        let stream = open(cluster.http, &[]).await;
        let pieces = what.repeat(1_000);
        assert!(unread(stream, &pieces, 20_000).await, "a client that reads no answers is cut off");
    }
    // N12: a megabyte from each kibibyte.
    for times in [1_000, 16_000] {
        let told = exchange(cluster.http, &frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb(times)[..]), SOON).await;
        assert!(told.goaway.is_some() || !told.resets.is_empty() || told.heads == [1], "{told:?}");
        assert!(told.ok.is_empty(), "the guest never sees it: {told:?}");
    }
    is_over(&cluster).await;
    bystander.ends_unharmed().await;
    cluster.stop().await;
}

/// Whether the server ends a connection on which the client writes and reads nothing.
async fn unread(mut stream: tokio::net::TcpStream, piece: &[u8], times: usize) -> bool {
    use tokio::io::AsyncWriteExt;
    let write = async {
        for _ in 0..times {
            if stream.write_all(piece).await.is_err() {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(SOON, write).await.unwrap_or(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn n11_a_window_of_0_keeps_nobody_from_the_app_and_ends() {
    let cluster = cluster().await;
    let bystander = Bystander::start(&cluster).await;
    let stream = open(cluster.http, &[(4, 0)]).await;
    // Twice as many answers as the pod may work on at a time, none of which is taken.
    let attack = tokio::spawn(flood(stream, 100, |n| get(2 * n + 1, "/"), SOON));
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..50 {
        assert_eq!(cluster.get("web", "/").await, (StatusCode::OK, "hello".into()), "answers that are done hold no place");
    }
    let told = within("the end of the connection", attack).await.unwrap();
    assert!(told.closed && told.heads.len() == 100 && told.data.is_empty(), "{told:?}");
    is_over(&cluster).await;
    bystander.ends_unharmed().await;
    cluster.stop().await;
}
