//! Many apps on one node: what they take while idle, whether they slow routing down, how soon they are back after a restart.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::cluster::{self, free_port};
use crate::http;
use crate::process::Process;
use crate::report::{Figure, Target};

/// Idle apps.
const APPS: usize = 10_000;
/// Apps of which each has a component of its own.
const DISTINCT: usize = 1_000;
/// Components that the idle apps share.
const SHARED: usize = 10;
/// Requests for new apps that are on their way at a time.
const AT_ONCE: usize = 8;
/// The longest that all apps may take to be ready.
const LONG: Duration = Duration::from_secs(900);

/// All figures about many apps.
pub async fn figures(rounds: usize) -> Result<Vec<Figure>> {
    let mut figures = idle(rounds).await?;
    figures.extend(distinct().await?);
    Ok(figures)
}

async fn idle(rounds: usize) -> Result<Vec<Figure>> {
    let cluster = Apart::start().await?;
    let images = cluster.push(SHARED)?;
    cluster.make(0..SHARED, &images).await?;
    cluster.ready(SHARED).await?;
    let few = cluster.cpu(rounds)?;
    cluster.make(SHARED..APPS, &images).await?;
    cluster.ready(APPS).await?;
    // The node still tells statuses, and what a list of all pods took goes back.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (node, server) = (cluster.node()?.rss()?, cluster.server.rss()?);
    let many = cluster.cpu(rounds)?;
    let slower = few.iter().zip(&many).map(|(few, many)| many / few).collect();
    let memory = |what: &str, rss: f64, most: f64| {
        let name = format!("RSS of the {what}'s process, {APPS} idle apps over {SHARED} components");
        Figure::median(name, vec![rss], "MB", Some(Target::AtMost(most)))
    };
    Ok(vec![
        memory("node", node, 120.0),
        memory("server", server, 400.0),
        Figure::median(format!("CPU for a request with {SHARED} apps"), few, "µs", None),
        Figure::median(format!("CPU for a request with {APPS} apps"), many, "µs", None),
        Figure::median(format!("CPU for a request, {APPS} apps to {SHARED}"), slower, "", Some(Target::AtMost(1.05))),
    ])
}

async fn distinct() -> Result<Vec<Figure>> {
    let mut cluster = Apart::start().await?;
    let images = cluster.push(DISTINCT)?;
    cluster.make(0..DISTINCT, &images).await?;
    cluster.ready(DISTINCT).await?;
    // Code goes back to its files when nobody has asked for it in half a minute.
    tokio::time::sleep(Duration::from_secs(50)).await;
    let name = format!("RSS of the node's process, {DISTINCT} apps with {DISTINCT} components");
    let memory = Figure::median(name, vec![cluster.node()?.rss()?], "MB", Some(Target::AtMost(350.0)));
    let (back, slowest) = cluster.restart_node().await?;
    Ok(vec![
        memory,
        Figure::median(format!("{DISTINCT} apps serve again after the node's restart"), vec![back], "s", Some(Target::AtMost(20.0))),
        Figure::median("the slowest answer of the API meanwhile", vec![slowest], "ms", None),
    ])
}

/// A server and a node, each in a process of its own.
struct Apart {
    server: Process,
    node: Option<Process>,
    client: kube::Client,
    http: u16,
    folder: tempfile::TempDir,
}

impl Apart {
    async fn start() -> Result<Apart> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("server");
        let mut command = Command::new(cluster::wctl()?);
        command.arg("--data").arg(&data).args(["--api", "127.0.0.1:0", "server"]).env_remove("KUBECONFIG");
        let server = Process::start(&mut command)?;
        let start = Instant::now();
        while !data.join("run.json").exists() {
            ensure!(start.elapsed() < Duration::from_secs(30), "wctl server did not start within 30 s");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let kubeconfig = Kubeconfig::read_from(data.join("kubeconfig"))?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let http = free_port()?;
        std::fs::create_dir(folder.path().join("node"))?;
        let node = Some(start_node(folder.path(), http)?);
        Ok(Apart { server, node, client: kube::Client::try_from(config)?, http, folder })
    }

    /// The component as many times as asked, each with another digest, in the server's registry.
    fn push(&self, count: usize) -> Result<Vec<String>> {
        let hello = std::fs::read(cluster::build("bench/guests/hello2")?)?;
        let mut images = Vec::new();
        for number in 0..count {
            let path = self.folder.path().join(format!("c{number}.wasm"));
            std::fs::write(&path, variant(&hello, number))?;
            let output = Command::new(cluster::wctl()?)
                .args(["--data", &self.data("server"), "push"])
                .arg(&path)
                .args([&format!("default/c{number}:1"), "-o", "json"])
                .env_remove("KUBECONFIG")
                .output()?;
            ensure!(output.status.success(), "wctl push: {}", String::from_utf8_lossy(&output.stderr));
            let pushed: Value = serde_json::from_slice(&output.stdout)?;
            let digest = pushed["digest"].as_str().context("wctl push said no digest")?;
            images.push(format!("default/c{number}@{digest}"));
            std::fs::remove_file(path)?;
        }
        Ok(images)
    }

    fn data(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Makes these apps, whose images take turns.
    async fn make(&self, numbers: std::ops::Range<usize>, images: &[String]) -> Result<()> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("wctl.dev", "v1", "App"));
        let apps: Api<DynamicObject> = Api::default_namespaced_with(self.client.clone(), &kind);
        let made = futures::stream::iter(numbers.map(|number| app(number, &images[number % images.len()])))
            .map(|object| {
                let apps = apps.clone();
                async move { apps.create(&PostParams::default(), &serde_json::from_value(object)?).await.map_err(anyhow::Error::from) }
            })
            .buffer_unordered(AT_ONCE);
        made.try_for_each(|_| async { Ok(()) }).await
    }

    /// Waits until so many pods are ready.
    async fn ready(&self, want: usize) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < LONG {
            if self.count_ready().await? >= want {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bail!("{want} pods were not ready within {LONG:?}")
    }

    async fn count_ready(&self) -> Result<usize> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
        let pods: Api<DynamicObject> = Api::default_namespaced_with(self.client.clone(), &kind);
        let (mut ready, mut params) = (0, ListParams::default().limit(500));
        loop {
            let page = pods.list(&params).await?;
            ready += page.items.iter().filter(|pod| is_ready(&pod.data)).count();
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(ready),
            }
        }
    }

    /// CPU time of the node for a request to the first app, in microseconds, once for each round.
    fn cpu(&self, rounds: usize) -> Result<Vec<f64>> {
        let url = format!("http://127.0.0.1:{}/", self.http);
        (0..rounds).map(|_| Ok(http::wrk(self.node()?, &url, "h0.localhost", 4)?.cpu)).collect()
    }

    /// Ends the node and starts it on the same folder: seconds until every app has answered, and the slowest answer of the API in
    /// milliseconds.
    async fn restart_node(&mut self) -> Result<(f64, f64)> {
        if let Some(node) = self.node.take() {
            node.stop()?;
        }
        let start = Instant::now();
        self.node = Some(start_node(self.folder.path(), self.http)?);
        let serving = tokio::spawn(all_answer(self.http, DISTINCT));
        let mut slowest = Duration::ZERO;
        while !serving.is_finished() {
            let asked = Instant::now();
            self.client.apiserver_version().await?;
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        serving.await??;
        Ok((start.elapsed().as_secs_f64(), slowest.as_secs_f64() * 1e3))
    }

    fn node(&self) -> Result<&Process> {
        self.node.as_ref().context("the node does not run")
    }
}

fn start_node(folder: &Path, http: u16) -> Result<Process> {
    let mut command = Command::new(cluster::wctl()?);
    command.args(["--http", &format!("127.0.0.1:{http}"), "node"]).env_remove("WCTL_DATA");
    // The server's own configuration says where it is and who asks; a folder that is named would come before it.
    Process::start(command.env("HOME", folder.join("node")).env("KUBECONFIG", folder.join("server/kubeconfig")))
}

/// The same component with a custom section of its own, and so with another digest.
fn variant(component: &[u8], number: usize) -> Vec<u8> {
    let text = number.to_string();
    let payload = [&[1, b'n'], text.as_bytes()].concat();
    // Section 0 with a length below 128 is two bytes.
    [component, &[0, payload.len() as u8], &payload].concat()
}

fn app(number: usize, image: &str) -> Value {
    let name = format!("h{number}");
    json!({
        "apiVersion": "wctl.dev/v1", "kind": "App", "metadata": {"name": name},
        "spec": {"services": {&name: {"image": image, "typed": image, "replicas": 1, "route": [{"host": format!("{name}.localhost"), "path": "/"}]}}},
    })
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Asks each app until it answers 200.
async fn all_answer(http: u16, count: usize) -> Result<()> {
    let client = reqwest::Client::new();
    let start = Instant::now();
    let answers = futures::stream::iter(0..count).map(|number| {
        let client = client.clone();
        async move {
            let ask = || client.get(format!("http://127.0.0.1:{http}/")).header("host", format!("h{number}.localhost")).send();
            while !ask().await.is_ok_and(|answer| answer.status() == 200) {
                ensure!(start.elapsed() < LONG, "h{number} did not answer within {LONG:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
    });
    answers.buffer_unordered(AT_ONCE).try_for_each(|()| async { Ok(()) }).await
}
