//! The figures of one machine: starting, deploying, healing, scaling, rolling out, resting.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::{Cluster, Guests, manifest, repository};
use crate::load::Load;
use crate::report::{Figure, Target};

/// The folder of the JavaScript component.
pub const JAVASCRIPT: &str = "examples/polyglot/js";

/// `wctl up` of a built component with compiled code in the cache: process start → first 200.
pub async fn up(guests: &Guests, rounds: usize) -> Result<Figure> {
    let folder = tempfile::tempdir()?;
    let app = manifest(folder.path(), "hello", &guests.hello, 1, "")?;
    let data = folder.path().join("data");
    let mut times = Vec::new();
    for round in 0..=rounds {
        let start = Instant::now();
        let cluster = Cluster::start(&data, Some(&app))?;
        cluster.answers("hello").await?;
        // The first round fills the cache.
        if round > 0 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        cluster.ready().await?;
        // So that every round deploys, and none merely resumes.
        cluster.wctl(&["delete", "app", "hello"])?;
        cluster.stop()?;
    }
    Ok(Figure::median("wctl up, warm cache: process start → first 200", times, "ms", Some(Target::AtMost(300.0))))
}

/// `wctl deploy --wait` of three replicas with compiled code in the cache.
pub async fn deploy(guests: &Guests, rounds: usize) -> Result<Figure> {
    let folder = tempfile::tempdir()?;
    let app = manifest(folder.path(), "hello", &guests.hello, 3, "")?;
    let cluster = Cluster::start(&folder.path().join("data"), None)?;
    cluster.ready().await?;
    let mut times = Vec::new();
    for round in 0..=rounds {
        let time = cluster.time(&["deploy", path(&app)?, "--wait"])?;
        if round > 0 {
            times.push(time);
        }
        cluster.wctl(&["delete", "app", "hello"])?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(Figure::median("wctl deploy --wait of 3 replicas, warm cache", times, "ms", Some(Target::AtMost(150.0))))
}

/// `wctl deploy` of a JavaScript component that the node has never seen → first 200, its compilation included.
pub async fn first(rounds: usize) -> Result<Figure> {
    let wasm = crate::cluster::build(JAVASCRIPT)?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let folder = tempfile::tempdir()?;
        let app = manifest(folder.path(), "js", &wasm, 1, "")?;
        let cluster = Cluster::start(&folder.path().join("data"), None)?;
        cluster.ready().await?;
        let start = Instant::now();
        cluster.wctl(&["deploy", path(&app)?, "--wait"])?;
        cluster.answers("js").await?;
        times.push(start.elapsed().as_secs_f64());
        cluster.optimised().await?;
        cluster.stop()?;
    }
    Ok(Figure::median("JavaScript, first deploy → first 200", times, "s", Some(Target::AtMost(3.0))))
}

/// Five traps end an instance → it serves again; and what the other replicas lose meanwhile.
pub async fn heal(guests: &Guests, rounds: usize) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&folder.path().join("data"), None)?;
    cluster.ready().await?;
    let client = reqwest::Client::new();
    let crash = || client.post(format!("{}/crash", cluster.url())).header("host", "crashy.localhost").send();

    let (mut times, mut told) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // A new app each time: a restart that follows another would rightly wait.
        cluster.wctl(&["deploy", path(&manifest(folder.path(), "crashy", &guests.crashy, 1, "")?)?, "--wait"])?;
        for _ in 0..5 {
            ensure!(crash().await?.status() == 500, "a trap was not answered with 500");
        }
        let start = Instant::now();
        cluster.answers("crashy").await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        restarted(&cluster).await?;
        told.push(start.elapsed().as_secs_f64() * 1e3);
        cluster.wctl(&["delete", "app", "crashy"])?;
    }

    cluster.wctl(&["deploy", path(&manifest(folder.path(), "crashy", &guests.crashy, 3, "")?)?, "--wait"])?;
    let load = Load::start(&cluster.url(), "crashy", 200, 8)?;
    for _ in 0..3 {
        // Enough to end one instance or two, and too few for all three.
        for _ in 0..13 {
            crash().await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    restarted(&cluster).await?;
    let (sent, failed) = load.stop().await;
    ensure!(sent > 100, "the load did not run");
    Ok(vec![
        Figure::median("five traps end an instance → it serves again", times, "ms", Some(Target::AtMost(50.0))),
        Figure::median("the API shows the second life, ready", told, "ms", None),
        Figure::median("failed requests to the other replicas meanwhile", vec![failed as f64], "requests", Some(Target::AtMost(0.0))),
    ])
}

/// Waits until the API shows that a pod is in its second life and ready: the answers come from a new instance.
async fn restarted(cluster: &Cluster) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        let pods: serde_json::Value = serde_json::from_slice(&cluster.wctl(&["get", "pods", "-o", "json"])?.stdout)?;
        let items = pods["items"].as_array().context("a list of pods")?;
        let mut containers = items.iter().map(|pod| &pod["status"]["containerStatuses"][0]);
        if containers.any(|container| container["restartCount"].as_u64() > Some(0) && container["ready"] == true) {
            return Ok(());
        }
    }
    bail!("no instance was restarted")
}

/// `wctl scale --wait` from 3 to 20.
pub async fn scale(guests: &Guests, rounds: usize) -> Result<Figure> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&folder.path().join("data"), None)?;
    cluster.ready().await?;
    cluster.wctl(&["deploy", path(&manifest(folder.path(), "hello", &guests.hello, 3, "")?)?, "--wait"])?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(cluster.time(&["scale", "hello", "--replicas", "20", "--wait"])?);
        cluster.wctl(&["scale", "hello", "--replicas", "3", "--wait"])?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(Figure::median("wctl scale --wait 3 → 20", times, "ms", Some(Target::AtMost(200.0))))
}

/// A rolling update of three replicas under 500 requests/s with keep-alive.
pub async fn roll(guests: &Guests) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&folder.path().join("data"), None)?;
    cluster.ready().await?;
    let app = |revision: usize| manifest(folder.path(), "hello", &guests.hello, 3, &format!("env: {{ REVISION: r{revision} }}\n"));
    cluster.wctl(&["deploy", path(&app(0)?)?, "--wait"])?;
    cluster.answers("hello").await?;
    let load = Load::start(&cluster.url(), "hello", 500, 20)?;
    let mut times = Vec::new();
    for revision in 1..=5 {
        times.push(cluster.time(&["deploy", path(&app(revision)?)?, "--wait"])?);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (sent, failed) = load.stop().await;
    ensure!(sent > 1000, "the load did not run");
    Ok(vec![
        Figure::median(
            format!("failed of {sent} requests in 5 rolling updates"),
            vec![failed as f64],
            "requests",
            Some(Target::AtMost(0.0)),
        ),
        Figure::median("a rolling update of 3 replicas takes", times, "ms", None),
    ])
}

/// Resident memory of `wctl up` with the shop deployed and idle.
pub async fn rss() -> Result<Figure> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&folder.path().join("data"), Some(&repository().join("examples/shop/app.yaml")))?;
    let client = reqwest::Client::new();
    for _ in 0..1200 {
        let user = client.get(format!("{}/users/1", cluster.url())).header("host", "shop.localhost").send().await;
        if user.is_ok_and(|answer| answer.status() == 200) {
            tokio::time::sleep(Duration::from_secs(5)).await;
            return Ok(Figure::median(
                "RSS of wctl up, shop deployed and idle",
                vec![cluster.process.rss()?],
                "MB",
                Some(Target::AtMost(120.0)),
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the shop did not answer within 120 s")
}

fn path(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
