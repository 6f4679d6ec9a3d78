//! Guests through the gateway, beside plain hyper and `wasmtime serve`, in interleaved rounds of wrk.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::{self, Cluster, free_port, manifest};
use crate::process::Process;
use crate::report::{Figure, Target};

/// The settings of `wasmtime serve` that were found best for a fresh sandbox each request.
const BEST: &str = "pooling-allocator=y,memory-init-cow=y,pooling-memory-keep-resident=4194304,pooling-table-keep-resident=1048576,\
                    pooling-async-stack-keep-resident=1048576,pooling-max-unused-warm-slots=200";

/// Requests that a reused sandbox serves.
pub const REUSE: u32 = 1000;

/// What the names of the figures begin with, and the folder of the guest.
const GUESTS: [Guest; 5] = [
    Guest { name: "hello 0.2", group: "hello", folder: "bench/guests/hello2", more: "", peers: &[1, REUSE], ours: &[1, REUSE] },
    Guest { name: "hello 0.3", group: "hello", folder: "bench/guests/hello3", more: "", peers: &[REUSE], ours: &[1, REUSE] },
    Guest { name: "hello, wstd", group: "hello", folder: "examples/hello", more: "", peers: &[1, REUSE], ours: &[1, REUSE] },
    Guest { name: "JavaScript", group: "javascript", folder: "examples/polyglot/js", more: ROOM, peers: &[1], ours: &[1] },
    Guest { name: "Python", group: "python", folder: "examples/polyglot/py", more: ROOM, peers: &[1], ours: &[1, REUSE] },
];

/// An interpreter's sandboxes are large.
const ROOM: &str = "limits: { memory: 2Gi }\n";

struct Guest {
    name: &'static str,
    group: &'static str,
    folder: &'static str,
    more: &'static str,
    /// How often `wasmtime serve` uses a sandbox.
    peers: &'static [u32],
    /// How often wctl does.
    ours: &'static [u32],
}

/// What must hold between two of those that are measured.
struct Bar {
    who: &'static str,
    against: &'static str,
    /// Least requests/s, as a multiple of the other's.
    rate: f64,
    /// Most CPU time for a request, as a multiple of the other's.
    cpu: Option<f64>,
}

const BARS: [Bar; 10] = [
    Bar { who: "wctl: hello 0.2, fresh", against: "native", rate: 0.30, cpu: Some(4.5) },
    Bar { who: "wctl: hello 0.2, fresh", against: "wasmtime serve: hello 0.2, fresh", rate: 2.0, cpu: None },
    Bar { who: "wctl: hello 0.2, reused", against: "native", rate: 0.65, cpu: Some(2.2) },
    Bar { who: "wctl: hello 0.2, reused", against: "wasmtime serve: hello 0.2, reused", rate: 1.7, cpu: None },
    Bar { who: "wctl: hello 0.3, reused", against: "native", rate: 0.45, cpu: None },
    Bar { who: "wctl: hello, wstd, fresh", against: "wasmtime serve: hello, wstd, fresh", rate: 1.0, cpu: None },
    Bar { who: "wctl: JavaScript, fresh", against: "native", rate: 0.045, cpu: None },
    Bar { who: "wctl: JavaScript, fresh", against: "wasmtime serve: JavaScript, fresh", rate: 1.5, cpu: None },
    Bar { who: "wctl: Python, reused", against: "native", rate: 0.10, cpu: None },
    Bar { who: "wctl: Python, fresh", against: "wasmtime serve: Python, fresh", rate: 1.5, cpu: None },
];

/// Something that answers, and what was measured of it.
pub struct Server {
    name: String,
    /// Its process.
    pub process: Process,
    /// Where it answers.
    pub url: String,
    host: String,
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

impl Server {
    fn new(name: String, process: Process, url: String, host: &str) -> Server {
        Server { name, process, url, host: host.to_owned(), rates: Vec::new(), cpu: Vec::new() }
    }
}

/// The groups of guests that can be asked for.
pub fn groups() -> impl Iterator<Item = &'static str> {
    ["hello", "javascript", "python"].into_iter()
}

/// Requests a second and CPU time for each request, and what must hold between them.
pub async fn figures(rounds: usize, wanted: &[&str]) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mut servers = vec![native()?];
    for guest in GUESTS.iter().filter(|guest| wanted.contains(&guest.group)) {
        let wasm = cluster::build(guest.folder)?;
        for reuse in guest.peers {
            servers.extend(wasmtime(guest, *reuse, &wasm, folder.path())?);
        }
        for reuse in guest.ours {
            servers.push(wctl(guest, *reuse, &wasm, folder.path()).await?);
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for server in &mut servers {
        load(server, 2)?;
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
        figures.push(Figure::median(server.name.clone(), server.rates.clone(), "requests/s", None));
        figures.push(Figure::median(format!("{}, CPU for each request", server.name), server.cpu.clone(), "µs", None));
    }
    let named = |name: &str| servers.iter().find(|server| server.name == name);
    for Bar { who, against, rate, cpu } in BARS {
        let Some((ours, theirs)) = named(who).zip(named(against)) else { continue };
        let ratios = |ours: &[f64], theirs: &[f64]| ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        let rates = ratios(&ours.rates, &theirs.rates);
        figures.push(Figure::median(format!("{who}: requests/s to {against}"), rates, "", Some(Target::AtLeast(rate))));
        if let Some(most) = cpu {
            let costs = ratios(&ours.cpu, &theirs.cpu);
            figures.push(Figure::median(format!("{who}: CPU to {against}"), costs, "", Some(Target::AtMost(most))));
        }
    }
    figures
}

fn word(reuse: u32) -> &'static str {
    if reuse > 1 { "reused" } else { "fresh" }
}

/// The yardstick, running.
pub fn native() -> Result<Server> {
    let mut child = Command::new(std::env::current_exe()?).arg("--native").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
    Ok(Server::new("native".into(), Process::from(child), format!("http://{}/", line.trim()), "localhost"))
}

async fn wctl(guest: &Guest, reuse: u32, wasm: &Path, folder: &Path) -> Result<Server> {
    let app = format!("{}-{}", slug(guest.name), word(reuse));
    let file = manifest(folder, &app, wasm, 1, &format!("sandbox: {{ reuse: {reuse} }}\n{}", guest.more))?;
    let cluster = Cluster::start(&folder.join(&app).join("data"), Some(&file))?;
    cluster.answers(&app).await?;
    cluster.optimised().await?;
    let url = cluster.url();
    Ok(Server::new(format!("wctl: {}, {}", guest.name, word(reuse)), cluster.process, url, &format!("{app}.localhost")))
}

fn slug(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn wasmtime(guest: &Guest, reuse: u32, wasm: &Path, folder: &Path) -> Result<Option<Server>> {
    let Some(compiled) = compiled(guest, wasm, folder) else {
        eprintln!("wasmtime is missing (`cargo install --locked wasmtime-cli@48.0.8`): not compared");
        return Ok(None);
    };
    let address = format!("127.0.0.1:{}", free_port()?);
    let mut command = Command::new("wasmtime");
    command.args(["serve", "-O", BEST, "--max-instance-reuse-count", &reuse.to_string(), "--allow-precompiled", "-S", "cli"]);
    command.args(["--addr", &address]).arg(compiled);
    let process = Process::start(&mut command)?;
    Ok(Some(Server::new(format!("wasmtime serve: {}, {}", guest.name, word(reuse)), process, format!("http://{address}/"), "localhost")))
}

fn compiled(guest: &Guest, wasm: &Path, folder: &Path) -> Option<PathBuf> {
    let path = folder.join(format!("{}.cwasm", slug(guest.name)));
    if path.exists() {
        return Some(path);
    }
    let status = Command::new("wasmtime").args(["compile", "-O", BEST, "-o"]).arg(&path).arg(wasm).status();
    status.is_ok_and(|status| status.success()).then_some(path)
}

fn load(server: &mut Server, seconds: u32) -> Result<()> {
    let taken = wrk(&server.process, &server.url, &server.host, seconds).with_context(|| format!("loading {}", server.name))?;
    server.rates.push(taken.rate);
    server.cpu.push(taken.cpu);
    Ok(())
}

/// What one round of wrk found.
pub struct Taken {
    /// Requests/s.
    pub rate: f64,
    /// CPU time of the process for a request, in microseconds.
    pub cpu: f64,
}

/// One round of wrk against a process: 64 connections from one thread.
pub fn wrk(process: &Process, url: &str, host: &str, seconds: u32) -> Result<Taken> {
    let before = process.cpu()?;
    let host = format!("Host: {host}");
    let output = Command::new("wrk").args(["-t1", "-c64", &format!("-d{seconds}s"), "-H", &host, url]).output().context("running wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!text.contains("Non-2xx"), "there were errors:\n{text}");
    let rate = field(&text, "Requests/sec:").with_context(|| format!("wrk printed:\n{text}"))?;
    let requests =
        text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse::<f64>().ok()).context("requests of wrk")?;
    Ok(Taken { rate, cpu: (process.cpu()? - before) / requests * 1e6 })
}

fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().parse().ok())
}
