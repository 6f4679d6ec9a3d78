//! What guests ask of others: a server outside through the node's pooled client, and a service beside them on the same node.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::{self, Cluster};
use crate::http::{REUSE, Taken, native, wrk};
use crate::report::{Figure, Target};

/// WASI's version of a guest that asks, and the least of native's requests/s that it must reach.
const VERSIONS: [(&str, &str, f64); 2] = [("0.2", "ask2", 0.11), ("0.3", "ask3", 0.17)];

/// One guest's figures, a value for each round.
#[derive(Default)]
struct Rounds {
    out: Vec<f64>,
    share: Vec<f64>,
    call: Vec<f64>,
    cost: Vec<f64>,
}

/// Requests/s through a guest that asks native, and the CPU time of a call from one service to another.
pub async fn figures(rounds: usize) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let native = native()?;
    let asked = native.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let hello = cluster::build("bench/guests/hello2")?;
    let kept = format!("sandbox: {{ reuse: {REUSE} }}");
    let mut text = format!("app: calls\nservices:\n  callee: {{ image: {}, route: callee.localhost, {kept} }}\n", hello.display());
    for (_, guest, _) in VERSIONS {
        let wasm = cluster::build(&format!("bench/guests/{guest}"))?;
        let wasm = wasm.display();
        text += &format!(
            "  {guest}-out: {{ image: {wasm}, route: {guest}-out.localhost, env: {{ ASKED: \"{asked}\" }}, uses: {{ connect: [\"http://{asked}\"] }}, {kept} }}\n\
             \x20 {guest}-call: {{ image: {wasm}, route: {guest}-call.localhost, env: {{ ASKED: callee.internal }}, uses: {{ call: [callee] }}, {kept} }}\n"
        );
    }
    let file = folder.path().join("calls.yaml");
    std::fs::write(&file, text)?;
    let cluster = Cluster::start(&folder.path().join("data"), Some(&file))?;
    let hosts = VERSIONS.iter().flat_map(|(_, guest, _)| [format!("{guest}-out"), format!("{guest}-call")]);
    let hosts: Vec<String> = hosts.chain(["callee".to_owned()]).collect();
    for host in &hosts {
        cluster.answers(host).await?;
    }
    let load = |host: &str, path: &str, seconds: u32| -> Result<Taken> {
        let url = format!("{}{path}", cluster.url());
        wrk(&cluster.process, &url, &format!("{host}.localhost"), seconds).with_context(|| format!("loading {host}"))
    };
    for host in &hosts {
        load(host, "/ask", 1)?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut taken: [Rounds; 2] = Default::default();
    let mut callee = Vec::new();
    for _ in 0..rounds {
        let plain = wrk(&native.process, &native.url, "localhost", 4)?;
        let called = load("callee", "/", 4)?;
        callee.push(called.cpu);
        for ((_, guest, _), of) in VERSIONS.iter().zip(&mut taken) {
            let out = load(&format!("{guest}-out"), "/ask", 4)?;
            of.out.push(out.rate);
            of.share.push(out.rate / plain.rate);
            let caller = format!("{guest}-call");
            let more = load(&caller, "/ask", 4)?.cpu - load(&caller, "/", 4)?.cpu;
            of.call.push(more);
            of.cost.push(more / called.cpu);
        }
    }
    let mut figures = vec![Figure::median("a service asked through the gateway: CPU for each request", callee, "µs", None)];
    for ((version, _, least), of) in VERSIONS.into_iter().zip(taken) {
        figures.extend([
            Figure::median(format!("outgoing HTTP from a reused {version} guest"), of.out, "requests/s", None),
            Figure::median("the same, to native", of.share, "", Some(Target::AtLeast(least))),
            Figure::median(format!("a call from a {version} guest to another service: CPU more"), of.call, "µs", None),
            Figure::median("the same, to the service asked through the gateway", of.cost, "", Some(Target::AtMost(1.0))),
        ]);
    }
    Ok(figures)
}
