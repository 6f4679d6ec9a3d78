//! A server on a new folder, and kubectl as a process with a home of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use artifact::pack::pack;
use axum::Router;
use bytes::Bytes;
use scheduler::auth::Identity;
use scheduler::server::{Config, Error, Server, listen};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::oneshot;

use crate::agent;
use crate::program::program;

/// How long anything may take that is waited for; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The node of [`Cluster::with_node`].
pub const NODE: &str = "edge-1";

/// A server that runs, and reconciles.
pub struct Cluster {
    /// An image in the cluster's registry, with its tag: `default/web:1`.
    pub image: String,
    /// The API as the admin sees it, without TLS.
    pub admin: Router,
    home: tempfile::TempDir,
    _folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), Error>>,
    agent: Option<tokio::task::JoinHandle<()>>,
}

/// What a run of kubectl left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Whether there is a kubectl to test with.
fn is_there() -> bool {
    let there = std::process::Command::new(program()).args(["version", "--client"]).output().is_ok_and(|done| done.status.success());
    if !there {
        assert!(std::env::var_os("WCTL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "kubectl is required");
        println!("skipped: kubectl is not installed");
    }
    there
}

impl Cluster {
    /// A server without nodes; `None` where there is no kubectl.
    pub async fn start() -> Option<Cluster> {
        if is_there() { Some(Cluster::run(false).await) } else { None }
    }

    /// A server with a node on which every pod runs, as far as the API can tell.
    pub async fn with_node() -> Option<Cluster> {
        if is_there() { Some(Cluster::run(true).await) } else { None }
    }

    async fn run(node: bool) -> Cluster {
        let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let server = Server::open(Config::new(folder.path())).await.unwrap();
        let image = push(&server).await;
        let listener = listen("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        std::fs::write(home.path().join("config"), server.kubeconfig(&url)).unwrap();
        let agent = server.service(Identity::node(NODE));
        let admin = server.service(Identity::admin());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(listener, async move { drop(stopped.await) }));
        let agent = if node { Some(agent::start(agent, NODE).await) } else { None };
        Cluster { image, admin, home, _folder: folder, stop, task, agent }
    }

    /// kubectl's home; its kubeconfig is `config` there.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// A file in kubectl's home.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// kubectl as the admin, with the kubeconfig that the server wrote.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        // Its name is the manager of the fields that it writes.
        #[cfg(unix)]
        command.arg0("kubectl");
        command.args(args).current_dir(self.home.path()).env("HOME", self.home.path()).env("KUBECONFIG", self.home.path().join("config"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs kubectl to its end.
    pub async fn kubectl(&self, args: &[&str]) -> Ran {
        self.kubectl_with(args, "").await
    }

    /// Runs kubectl to its end with something to read on its standard input.
    pub async fn kubectl_with(&self, args: &[&str], input: &str) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may end without having read everything.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let done = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let done = done.unwrap_or_else(|_| panic!("kubectl {args:?} did not end")).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: done.status.code(), out: text(&done.stdout), err: text(&done.stderr) }
    }

    /// `kubectl get … -o json`.
    pub async fn get(&self, args: &[&str]) -> Value {
        let mut all = vec!["get", "-o", "json"];
        all.extend(args);
        serde_json::from_str(&self.kubectl(&all).await.ok()).unwrap()
    }

    /// Runs kubectl again and again until what it prints is as wanted.
    pub async fn until(&self, args: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let ran = self.kubectl(args).await;
            if wanted(&ran.out) {
                return ran.out;
            }
            assert!(started.elapsed() < PATIENCE, "kubectl {args:?} never printed what was wanted: {ran:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A Deployment of the cluster's image, as a manifest.
    pub fn deployment(&self, name: &str, replicas: u32) -> String {
        let image = &self.image;
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  replicas: {replicas}\n  \
             selector: {{ matchLabels: {{ app: {name} }} }}\n  template:\n    metadata: {{ labels: {{ app: {name} }} }}\n    \
             spec: {{ containers: [{{ name: {name}, image: '{image}', ports: [{{ containerPort: 5000 }}] }}] }}\n"
        )
    }

    /// Ends the server.
    pub async fn stop(self) {
        if let Some(agent) = self.agent {
            agent.abort();
        }
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

impl Ran {
    /// What it printed, having succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// What it said, having failed.
    pub fn fails(self) -> String {
        assert_ne!(self.code, Some(0), "{self:?}");
        self.err
    }
}

/// A component in the cluster's registry.
async fn push(server: &Server) -> String {
    let packed = pack(Bytes::from(wat::parse_str("(component)").unwrap())).unwrap();
    let place: artifact::Reference = "default/web:1".parse().unwrap();
    server.images().push(&place, &packed).await.unwrap();
    "default/web:1".to_owned()
}
