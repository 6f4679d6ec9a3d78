//! From zero: how long the first request to an app that sleeps takes, at the gateway of its node and at that of another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::{self, Guests, free_port, wctl};
use crate::hop::{Node, node, until};
use crate::process::Process;
use crate::report::{Figure, Target};

/// Copies of the small guest, each with code of its own: those that were asked just now lend theirs to nobody.
const COPIES: u8 = 20;
/// Of guests whose compilation takes seconds.
const FEW: u8 = 2;

/// Percentiles of the first response on one node, and from another.
pub async fn figures(guests: &Guests, rounds: usize) -> Result<Vec<Figure>> {
    let mut figures = measured("hello", &guests.hello, COPIES, 10.0, 2 * rounds).await?;
    for (name, folder, most) in [("JavaScript", crate::figures::JAVASCRIPT, 20.0), ("Python", "examples/polyglot/python", 30.0)] {
        match cluster::build(folder) {
            Ok(wasm) => figures.extend(measured(name, &wasm, FEW, most, 4 * rounds).await?),
            Err(why) => eprintln!("from zero: no {name}: {why:#}"),
        }
    }
    Ok(figures)
}

async fn measured(name: &str, wasm: &Path, copies: u8, most: f64, rounds: usize) -> Result<Vec<Figure>> {
    let place = Place::up(wasm, copies).await?;
    let (mut here, mut there) = (Vec::new(), Vec::new());
    // The first two make connections, and find code that was just compiled.
    for round in 0..2 * rounds + 2 {
        place.asleep().await?;
        let (near, times) = if round % 2 == 0 { (true, &mut here) } else { (false, &mut there) };
        for service in place.homes.keys() {
            let took = place.ask(service, near).await?;
            if round >= 2 {
                times.push(took);
            }
        }
    }
    let figure = |what: &str, times: &mut Vec<f64>, at: usize, most: Option<f64>| {
        times.sort_by(f64::total_cmp);
        let value = times[(times.len() * at).div_ceil(100).max(1) - 1];
        let what = format!("from zero → first response, {name}, {what}: p{at} of {}", times.len());
        Figure::median(what, vec![value], "ms", most.map(Target::AtMost))
    };
    Ok(vec![
        figure("on one node", &mut here, 50, None),
        figure("on one node", &mut here, 99, Some(most)),
        figure("on another node", &mut there, 50, None),
        figure("on another node", &mut there, 99, Some(50.0)),
    ])
}

/// A server, two nodes, and the services that sleep on them.
struct Place {
    nodes: BTreeMap<&'static str, Node>,
    /// The node of each service.
    homes: BTreeMap<String, String>,
    client: reqwest::Client,
    data: PathBuf,
    _server: Process,
    _folder: tempfile::TempDir,
}

impl Place {
    async fn up(wasm: &Path, copies: u8) -> Result<Place> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("server");
        let api = format!("127.0.0.1:{}", free_port()?);
        let server = Process::start(Command::new(wctl()?).arg("--data").arg(&data).args(["--api", &api, "server"]))?;
        let names = ["a", "b"];
        let mut place = Place {
            nodes: BTreeMap::new(),
            homes: BTreeMap::new(),
            client: reqwest::Client::new(),
            data,
            _server: server,
            _folder: folder,
        };
        until("the server", || place.verb(&["get", "nodes"]).is_ok()).await?;
        for name in names {
            place.nodes.insert(name, node(place._folder.path(), name, &place.data)?);
        }
        let all = |names: Vec<u8>| names.split(|b| *b == b'\n').count() > 2;
        until("two nodes", || place.verb(&["get", "nodes", "-o", "name"]).is_ok_and(all)).await?;
        let file = app(place._folder.path(), wasm, copies)?;
        place.verb(&["deploy", file.to_str().context("a path")?, "--wait", "--timeout", "10m"])?;
        let pods: Value = serde_json::from_slice(&place.verb(&["get", "pods", "-o", "json"])?)?;
        for pod in pods["items"].as_array().into_iter().flatten() {
            let text = |at: &str| pod.pointer(at).and_then(Value::as_str).map(str::to_owned);
            let service = text("/metadata/labels/wctl.dev~1service").context("a service")?;
            place.homes.insert(service, text("/spec/nodeName").context("a node")?);
        }
        ensure!(place.homes.len() == usize::from(copies), "not every service has a pod");
        // Interpreters serve from quick code first.
        for name in names {
            let code = place._folder.path().join(name).join("node/cache/code");
            let is_baseline = |file: std::fs::DirEntry| file.file_name().to_string_lossy().contains("-baseline.");
            until("optimised code", || std::fs::read_dir(&code).is_ok_and(|files| !files.flatten().any(is_baseline))).await?;
        }
        Ok(place)
    }

    fn verb(&self, args: &[&str]) -> Result<Vec<u8>> {
        let output = Command::new(wctl()?).arg("--data").arg(&self.data).args(args).env_remove("KUBECONFIG").output()?;
        ensure!(output.status.success(), "wctl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }

    async fn asleep(&self) -> Result<()> {
        let all = |json: Vec<u8>| {
            let app: Value = serde_json::from_slice(&json).unwrap_or_default();
            let services = app["status"]["services"].as_object();
            services.is_some_and(|services| services.values().all(|service| service["asleep"] == true))
        };
        until("sleep", || self.verb(&["get", "app", "wake", "-o", "json"]).is_ok_and(all)).await?;
        // What the verb itself did to the machine is over.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        Ok(())
    }

    /// Milliseconds until the whole answer was there.
    async fn ask(&self, service: &str, near: bool) -> Result<f64> {
        let home = &self.homes[service];
        let asked = self.nodes.iter().find(|(name, _)| (**name == home.as_str()) == near).context("a node")?.1;
        let since = Instant::now();
        let answer = self.client.get(&asked.url).header("host", format!("{service}.localhost")).send().await?;
        ensure!(answer.status() == 200, "{service} answered {}", answer.status());
        answer.bytes().await?;
        Ok(since.elapsed().as_secs_f64() * 1e3)
    }
}

/// An app with so many services, whose components differ in a section that means nothing.
fn app(folder: &Path, wasm: &Path, copies: u8) -> Result<PathBuf> {
    let wasm = std::fs::read(wasm)?;
    let mut text = "app: wake\nservices:\n".to_owned();
    for copy in 0..copies {
        let path = folder.join(format!("s{copy}.wasm"));
        std::fs::write(&path, [&wasm[..], &[0, 6, 4], b"wake", &[copy]].concat())?;
        let image = path.display();
        text += &format!("  s{copy}:\n    image: {image}\n    route: s{copy}.localhost\n    scale: {{ min: 0, max: 1, window: 1s }}\n");
    }
    let file = folder.join("wake.yaml");
    std::fs::write(&file, text)?;
    Ok(file)
}
