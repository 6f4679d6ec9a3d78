//! hello through the gateway, beside plain hyper and `wasmtime serve`, in interleaved rounds of wrk.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, Guests, free_port, manifest};
use crate::process::Process;
use crate::report::{Figure, Target};

/// The settings of `wasmtime serve` that were found best for a fresh sandbox each request.
const BEST: &str = "pooling-allocator=y,memory-init-cow=y,pooling-memory-keep-resident=4194304,pooling-table-keep-resident=1048576,\
                    pooling-async-stack-keep-resident=1048576,pooling-max-unused-warm-slots=200";

struct Server {
    name: &'static str,
    process: Process,
    url: String,
    host: &'static str,
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

/// Requests a second and CPU time for each request of everything that says hello.
pub async fn figures(guests: &Guests, rounds: usize) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mut servers = vec![native()?];
    if let Some(wasmtime) = wasmtime(guests, folder.path())? {
        servers.push(wasmtime);
    }
    for (name, host, sandbox) in [("wctl, fresh sandbox", "fresh.localhost", "1"), ("wctl, reused sandbox", "reused.localhost", "1000")] {
        let app = host.trim_end_matches(".localhost");
        let file = manifest(folder.path(), app, &guests.hello, 1, &format!("sandbox: {{ reuse: {sandbox} }}\n"))?;
        let cluster = Cluster::start(&folder.path().join(app).join("data"), Some(&file))?;
        cluster.answers(app).await?;
        let url = cluster.url();
        servers.push(Server { name, process: cluster.process, url, host, rates: Vec::new(), cpu: Vec::new() });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for server in &mut servers {
        load(server, 2)?;
    }
    for server in &mut servers {
        server.rates.clear();
        server.cpu.clear();
    }
    for _ in 0..rounds {
        for server in &mut servers {
            load(server, 4)?;
        }
    }
    Ok(report(&servers))
}

fn report(servers: &[Server]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for server in servers {
        figures.push(Figure::median(format!("hello: {}", server.name), server.rates.clone(), "requests/s", None));
        figures.push(Figure::median(format!("hello: {}, CPU for each request", server.name), server.cpu.clone(), "µs", None));
        let ratios = server.rates.iter().zip(&servers[0].rates).map(|(rate, native)| rate / native).collect();
        figures.push(Figure::median(format!("hello: {}, ratio to native", server.name), ratios, "", None));
    }
    let named = |name: &str| servers.iter().find(|server| server.name == name);
    if let (Some(fresh), Some(peer)) = (named("wctl, fresh sandbox"), named("wasmtime serve")) {
        let ratios = fresh.rates.iter().zip(&peer.rates).map(|(rate, peer)| rate / peer).collect();
        figures.push(Figure::median("hello: fresh sandbox, ratio to wasmtime serve", ratios, "", Some(Target::AtLeast(1.0))));
    }
    figures
}

fn native() -> Result<Server> {
    let mut child = Command::new(std::env::current_exe()?).arg("--native").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
    let process = Process::from(child);
    Ok(Server { name: "native", process, url: format!("http://{}/", line.trim()), host: "localhost", rates: Vec::new(), cpu: Vec::new() })
}

fn wasmtime(guests: &Guests, folder: &std::path::Path) -> Result<Option<Server>> {
    let compiled = folder.join("hello.cwasm");
    let compile = Command::new("wasmtime").args(["compile", "-O", BEST]).arg("-o").arg(&compiled).arg(&guests.hello).status();
    if !compile.is_ok_and(|status| status.success()) {
        eprintln!("wasmtime is missing (`cargo install --locked wasmtime-cli@48.0.8`): not compared");
        return Ok(None);
    }
    let address = format!("127.0.0.1:{}", free_port()?);
    let mut command = Command::new("wasmtime");
    command
        .args(["serve", "-O", BEST, "--max-instance-reuse-count", "1", "--allow-precompiled", "-S", "cli", "--addr", &address])
        .arg(&compiled);
    let process = Process::start(&mut command)?;
    Ok(Some(Server {
        name: "wasmtime serve",
        process,
        url: format!("http://{address}/"),
        host: "localhost",
        rates: Vec::new(),
        cpu: Vec::new(),
    }))
}

/// One round of wrk: 64 connections from one thread.
fn load(server: &mut Server, seconds: u32) -> Result<()> {
    let before = server.process.cpu()?;
    let host = format!("Host: {}", server.host);
    let output =
        Command::new("wrk").args(["-t1", "-c64", &format!("-d{seconds}s"), "-H", &host, &server.url]).output().context("running wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!text.contains("Non-2xx"), "{} answered with errors:\n{text}", server.name);
    let rate = field(&text, "Requests/sec:").with_context(|| format!("wrk against {} printed:\n{text}", server.name))?;
    let requests =
        text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse::<f64>().ok()).context("requests of wrk")?;
    server.rates.push(rate);
    server.cpu.push((server.process.cpu()? - before) / requests * 1e6);
    Ok(())
}

fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().parse().ok())
}
