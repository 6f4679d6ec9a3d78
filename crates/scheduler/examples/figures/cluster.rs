//! A server in a process of its own, and those who talk to it.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Certificate, Client, RequestBuilder};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Failed, program, serve};

/// The server, and what its clients need.
pub struct Cluster {
    folder: tempfile::TempDir,
    child: Child,
    pods: usize,
    /// Where it listens.
    pub url: String,
    token: String,
    ca: Certificate,
}

impl Cluster {
    /// A new server that knows so many pods.
    pub async fn start(pods: usize) -> Result<Cluster, Failed> {
        let folder = tempfile::tempdir()?;
        let (child, hello) = spawn(&folder, "127.0.0.1:0", pods).await?;
        let text = |field: &str| hello[field].as_str().unwrap_or_default().to_owned();
        let ca = Certificate::from_pem(text("ca").as_bytes())?;
        Ok(Cluster { folder, child, pods, url: text("url"), token: text("token"), ca })
    }

    /// Kills the server as a crash would, and starts it again at the same address.
    pub async fn restart(&mut self) -> Result<(), Failed> {
        self.child.kill().await?;
        let address = self.url.trim_start_matches("https://").to_owned();
        (self.child, _) = spawn(&self.folder, &address, self.pods).await?;
        Ok(())
    }

    /// A client with connections of its own.
    pub fn client(&self) -> Result<Client, Failed> {
        Ok(Client::builder().tls_certs_only([self.ca.clone()]).build()?)
    }

    /// The admin's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The request, as the admin.
    pub fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(&self.token)
    }

    /// kubectl as the admin, with a home of its own.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let home = self.folder.path();
        let mut command = Command::new(program::program());
        command.args(arguments).env("HOME", home).env("KUBECONFIG", home.join("kubeconfig")).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Which kubectl that is.
    pub async fn kubectl_version(&self) -> Result<String, Failed> {
        let done = self.kubectl(&["version", "-o", "json"]).output().await?;
        let told: Value = serde_json::from_slice(&done.stdout)?;
        Ok(told["clientVersion"]["gitVersion"].as_str().unwrap_or_default().to_owned())
    }

    /// A file in kubectl's home.
    pub fn file(&self, name: &str, text: &str) -> Result<String, Failed> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Megabytes of memory that the server holds.
    pub fn memory(&self) -> Result<f64, Failed> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kibibytes * 1024.0 / 1e6)
    }

    /// CPU time that the server has used.
    pub fn cpu(&self) -> Result<Duration, Failed> {
        cpu_of(&self.pid().to_string())
    }

    fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}

/// CPU time of a process, `self` for this one, in steps of 10 ms.
pub fn cpu_of(pid: &str) -> Result<Duration, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    Ok(Duration::from_millis(10 * (ticks(11) + ticks(12))))
}

async fn spawn(folder: &tempfile::TempDir, address: &str, pods: usize) -> Result<(Child, Value), Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([serve::WORD, &folder.path().display().to_string(), address, &pods.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let hello = lines.next_line().await?.ok_or("the server did not start")?;
    Ok((child, serde_json::from_str(&hello)?))
}
