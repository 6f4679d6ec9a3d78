//! `wctl up` in a data folder of its own, and the guests that run on it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::Process;

/// Where the built guests are.
pub struct Guests {
    /// examples/hello.
    pub hello: PathBuf,
    /// examples/crashy.
    pub crashy: PathBuf,
}

/// Builds the guests that the figures need, with `wctl build`.
pub fn build_guests() -> Result<Guests> {
    Ok(Guests { hello: build("examples/hello")?, crashy: build("examples/crashy")? })
}

/// Builds the component in a folder of the checkout, and says where it is.
pub fn build(folder: &str) -> Result<PathBuf> {
    let output = Command::new(wctl()?).arg("build").arg(repository().join(folder)).args(["-o", "json"]).output()?;
    ensure!(output.status.success(), "wctl build {folder}: {}", String::from_utf8_lossy(&output.stderr));
    let built: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let wasm = built.pointer("/services/0/file").and_then(serde_json::Value::as_str);
    wasm.map(PathBuf::from).with_context(|| format!("wctl build {folder} did not say where the component is: {built}"))
}

/// The top of the checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The wctl that was built beside this benchmark.
pub fn wctl() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("wctl");
    ensure!(path.exists(), "{} is missing: run `cargo build --release` first", path.display());
    Ok(path)
}

/// An app.yaml in `folder` for a built component.
pub fn manifest(folder: &Path, name: &str, wasm: &Path, replicas: usize, more: &str) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.yaml"));
    let text = format!("app: {name}\nimage: {}\nreplicas: {replicas}\nroute: {name}.localhost\n{more}", wasm.display());
    std::fs::write(&path, text)?;
    Ok(path)
}

/// An interpreter takes its time to be compiled.
const STARTS: Duration = Duration::from_secs(120);

/// A running `wctl up`.
pub struct Cluster {
    /// Its process.
    pub process: Process,
    data: PathBuf,
    http: u16,
}

impl Cluster {
    /// Starts it on free ports, with an app or without.
    pub fn start(data: &Path, app: Option<&Path>) -> Result<Cluster> {
        let http = free_port()?;
        let mut command = Command::new(wctl()?);
        command.arg("--data").arg(data).args(["--api", "127.0.0.1:0", "--http", &format!("127.0.0.1:{http}"), "up"]).args(app);
        Ok(Cluster { process: Process::start(&mut command)?, data: data.to_owned(), http })
    }

    /// Waits until its API answers.
    pub async fn ready(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if self.data.join("run.json").exists() && self.wctl(&["get", "nodes"]).is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("wctl up did not answer within 30 s")
    }

    /// Runs a verb against it and waits for the end.
    pub fn wctl(&self, args: &[&str]) -> Result<Output> {
        let output = Command::new(wctl()?).arg("--data").arg(&self.data).args(args).env_remove("KUBECONFIG").output()?;
        ensure!(output.status.success(), "wctl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    /// How long a verb took, in milliseconds.
    pub fn time(&self, args: &[&str]) -> Result<f64> {
        let start = Instant::now();
        self.wctl(args)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// `http://127.0.0.1:PORT` of its gateway.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Asks for `/` of an app until it answers 200.
    pub async fn answers(&self, app: &str) -> Result<()> {
        let client = reqwest::Client::new();
        let start = Instant::now();
        while start.elapsed() < STARTS {
            let answer = client.get(self.url()).header("host", format!("{app}.localhost")).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bail!("{app} did not answer within {STARTS:?}")
    }

    /// Waits until no code of the baseline compiler serves any more.
    pub async fn optimised(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < STARTS {
            let files = std::fs::read_dir(self.data.join("node/cache/code"))?.flatten();
            if !files.into_iter().any(|file| file.file_name().to_string_lossy().contains("-baseline.")) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the optimised code was not there within {STARTS:?}")
    }

    /// Stops it and waits for the end.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("finding a free port")?.local_addr()?.port())
}
