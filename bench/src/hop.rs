//! One more hop: a request that comes to one node and is answered by a pod of another, beside the same pod asked directly.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use crate::cluster::{self, free_port, manifest, wctl};
use crate::http::{native, wrk};
use crate::process::Process;
use crate::report::{Figure, Target};

/// Requests a second at which latency is compared.
const RATE: u32 = 2000;
const CONNECTIONS: u32 = 16;
const STARTS: Duration = Duration::from_secs(60);

/// A node of a cluster with a server of its own.
pub struct Node {
    /// Its process.
    pub process: Process,
    /// Its gateway.
    pub url: String,
}

/// Requests/s, CPU time and latency with and without the hop.
pub async fn figures(rounds: usize) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let wasm = cluster::build("bench/guests/hello2")?;
    let app = manifest(folder.path(), "hop", &wasm, 1, "sandbox: { reuse: 1000 }\n")?;
    let server = folder.path().join("server");
    let api = format!("127.0.0.1:{}", free_port()?);
    let verb = |args: &[&str]| -> Result<Vec<u8>> {
        let output = Command::new(wctl()?).arg("--data").arg(&server).args(args).env_remove("KUBECONFIG").output()?;
        ensure!(output.status.success(), "wctl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    let _server = Process::start(Command::new(wctl()?).arg("--data").arg(&server).args(["--api", &api, "server"]))?;
    until("the server", || verb(&["get", "nodes"]).is_ok()).await?;
    let mut nodes = Vec::new();
    for name in ["a", "b"] {
        nodes.push(node(folder.path(), name, &server)?);
    }
    until("two nodes", || verb(&["get", "nodes", "-o", "name"]).is_ok_and(|names| names.split(|b| *b == b'\n').count() > 2)).await?;
    verb(&["deploy", app.to_str().context("a path")?, "--wait"])?;
    let pods: serde_json::Value = serde_json::from_slice(&verb(&["get", "pods", "-o", "json"])?)?;
    if pods["items"][0]["spec"]["nodeName"] == "a" {
        nodes.reverse();
    }
    let (far, near) = (&nodes[0], &nodes[1]);
    let native = native()?;
    for _ in 0..2 {
        wrk(&far.process, &far.url, "hop.localhost", 2)?;
        wrk(&near.process, &near.url, "hop.localhost", 2)?;
    }
    let (mut rates, mut costs, mut shares, mut more) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let direct = wrk(&near.process, &near.url, "hop.localhost", 4)?;
        let hop = wrk(&far.process, &far.url, "hop.localhost", 4)?;
        let plain = wrk(&native.process, &native.url, "localhost", 4)?;
        rates.push(hop.rate / direct.rate);
        costs.push(hop.cpu);
        shares.push(hop.cpu / plain.cpu);
        more.push(median(&far.url).await? - median(&near.url).await?);
    }
    Ok(vec![
        Figure::median("one hop: requests/s to the same pod asked directly", rates, "", Some(Target::AtLeast(0.55))),
        Figure::median("one hop: CPU for each request in the gateway that forwards", costs, "µs", None),
        Figure::median("one hop: the same, to native", shares, "", Some(Target::AtMost(2.5))),
        Figure::median(format!("one hop: more at the median, at {RATE} requests/s"), more, "ms", Some(Target::AtMost(0.4))),
    ])
}

/// Joins a node to the server whose data is in `server`.
pub fn node(folder: &Path, name: &str, server: &Path) -> Result<Node> {
    let kubeconfig = std::fs::read_to_string(server.join("kubeconfig"))?;
    let field = |name: &str| {
        kubeconfig
            .lines()
            .find_map(|line| line.trim().trim_start_matches("- ").strip_prefix(name))
            .map(|text| text.trim().trim_matches('"'))
    };
    let (url, token) = (field("server:").context("the server's URL")?, field("token:").context("the token")?);
    let http = free_port()?;
    let mut command = Command::new(wctl()?);
    command.arg("--data").arg(folder.join(name)).args(["--http", &format!("127.0.0.1:{http}"), "node", "--name", name]);
    command.args(["--join", url, "--token", token, "--ca"]).arg(server.join("pki/ca.crt"));
    Ok(Node { process: Process::start(&mut command)?, url: format!("http://127.0.0.1:{http}/") })
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let since = Instant::now();
    while !holds() {
        if since.elapsed() > STARTS {
            bail!("{what} did not come within {STARTS:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The median time of a request in milliseconds, over a few seconds of a steady load.
async fn median(url: &str) -> Result<f64> {
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        tasks.spawn(asked(address.clone()));
    }
    let mut times = Vec::new();
    while let Some(some) = tasks.join_next().await {
        times.extend(some??);
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("a request")
}

async fn asked(address: String) -> Result<Vec<f64>> {
    let stream = tokio::net::TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut tick = tokio::time::interval(Duration::from_secs(1) * CONNECTIONS / RATE);
    let mut times = Vec::new();
    for _ in 0..RATE * 3 / CONNECTIONS {
        tick.tick().await;
        let since = Instant::now();
        sender.ready().await?;
        let request = Request::get("/").header("host", "hop.localhost").body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        ensure!(answer.status() == 200, "an answer was {}", answer.status());
        answer.into_body().collect().await?;
        times.push(since.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
