//! A large cluster of nodes that run nothing: a real server in a process of its own, and what its nodes say to it over HTTPS. Prints how
//! long a deploy takes and what the server needs: `fleet [NODES] [PODS] [DEPLOYS]`, by default 1000 30000 100.

#![allow(clippy::disallowed_methods, reason = "only the pure core may not ask the clock or draw lots")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use scheduler::server::{Config, Server, listen};
use serde_json::{Value, json};
use tokio::sync::watch;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Pods of each Deployment that fills the cluster.
const EACH: usize = 20;
/// What a deploy's 99th percentile and the server's memory must be.
const MUST: (Duration, u64) = (Duration::from_secs(1), 700);

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("serve") {
        return serve(&arguments.next().unwrap_or_default()).await;
    }
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let nodes = first.map_or(Ok(1000), |text| text.parse::<usize>())?;
    let (pods, deploys) = (number(30_000)?, number(100)?);
    let folder = std::env::temp_dir().join(format!("fleet-{}", std::process::id()));
    let mut child =
        Command::new(std::env::current_exe()?).arg("serve").arg(&folder).stdout(Stdio::piped()).stdin(Stdio::piped()).spawn()?;
    let told = measured(&mut child, nodes, pods, deploys).await;
    // It may have ended by itself.
    let _ = child.kill();
    child.wait()?;
    std::fs::remove_dir_all(&folder)?;
    told
}

async fn measured(child: &mut std::process::Child, nodes: usize, pods: usize, deploys: usize) -> Result<(), Failed> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let server: Reached = serde_json::from_str::<Value>(&line).map(|told| Reached::of(&told))?;
    let process = child.id();
    let (server, running) = (Arc::new(server), Arc::new(AtomicUsize::new(0)));
    for node in 0..nodes {
        tokio::spawn(run_node(server.clone(), format!("edge-{node}"), running.clone()));
        // A cluster does not start at one moment either.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let ready = server.clone().follow_deployments();
    let since = Instant::now();
    for app in 0..pods / EACH {
        server.deploy(&format!("fill-{app}"), EACH).await?;
    }
    while running.load(Ordering::Relaxed) < pods {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if since.elapsed() > Duration::from_secs(900) {
            return Err(format!("only {} of {pods} pods run after {:?}", running.load(Ordering::Relaxed), since.elapsed()).into());
        }
    }
    println!("{pods} pods on {nodes} nodes: running after {:.1} s", since.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle = cpu(process)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("server at rest: {:.0} % of a core, {} MiB", (cpu(process)? - idle) * 10.0, memory(process)?);
    let mut took = Vec::new();
    for turn in 0..deploys {
        let (name, since) = (format!("new-{turn}"), Instant::now());
        server.deploy(&name, 3).await?;
        let mut ready = ready.clone();
        tokio::time::timeout(Duration::from_secs(60), ready.wait_for(|all| all.get(&name) == Some(&3))).await??;
        took.push(since.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    took.sort();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    println!(
        "deploy of 3 replicas until all are ready: median {:.0?}, p99 {:.0?} (must be <= {:?}); server's memory {} MiB (must be <= {})",
        at(50),
        at(99),
        MUST.0,
        memory(process)?,
        MUST.1
    );
    Ok(())
}

/// The server's own process: says where it is, and runs until it is killed.
async fn serve(folder: &str) -> Result<(), Failed> {
    let server = Server::open(Config::new(folder)).await?;
    let packed = artifact::pack::pack(Bytes::from(wat::parse_str("(component)")?))?;
    let digest = server.images().push(&"web:1".parse()?, &packed).await?;
    let listener = listen("127.0.0.1:0")?;
    let url = format!("https://{}", listener.local_addr()?);
    let image = format!("web@{digest}");
    println!("{}", json!({"url": url, "ca": server.ca_pem(), "token": server.admin_token(), "image": image}));
    server.run(listener, std::future::pending()).await?;
    Ok(())
}

struct Reached {
    url: String,
    ca: String,
    token: String,
    image: String,
    client: reqwest::Client,
}

impl Reached {
    fn of(told: &Value) -> Reached {
        // The first client of a process installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
        let ca = text("ca");
        let client = client(&ca);
        Reached { url: text("url"), ca, token: text("token"), image: text("image"), client }
    }

    async fn deploy(&self, name: &str, replicas: usize) -> Result<(), Failed> {
        let labels = json!({"app": name});
        let container = json!({"name": "web", "image": self.image, "resources": {"requests": {"memory": "16Mi", "cpu": "10m"}}});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}});
        let spec = json!({"replicas": replicas, "selector": {"matchLabels": labels}, "template": template});
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec});
        self.send("POST", &self.client, "/apis/apps/v1/namespaces/default/deployments", &web).await?;
        let spec = json!({"selector": labels, "ports": [{"port": 80}]});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
        self.send("POST", &self.client, "/api/v1/namespaces/default/services", &service).await
    }

    async fn send(&self, method: &str, client: &reqwest::Client, path: &str, body: &Value) -> Result<(), Failed> {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = client.request(method.parse()?, format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = request.header("content-type", kind).body(body.to_string()).send().await?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(format!("{method} {path}: {} {}", answer.status(), answer.text().await?).into()),
        }
    }

    /// Each change of what a watch selects, until the server ends it.
    async fn watch(&self, client: &reqwest::Client, path: &str, mut told: impl FnMut(Value)) -> Result<(), Failed> {
        let answer = client.get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await?.error_for_status()?;
        let (mut pieces, mut rest) = (answer.bytes_stream(), Vec::new());
        while let Some(piece) = pieces.next().await {
            rest.extend_from_slice(&piece?);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                told(serde_json::from_slice(&line)?);
            }
        }
        Ok(())
    }

    /// How many ready pods each Deployment has.
    fn follow_deployments(self: Arc<Self>) -> watch::Receiver<HashMap<String, u64>> {
        let (ready, follower) = watch::channel(HashMap::new());
        tokio::spawn(async move {
            let path = "/apis/apps/v1/namespaces/default/deployments?watch=true&timeoutSeconds=3600";
            let ended = self.watch(&self.client, path, |event| {
                let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let count = event["object"]["status"]["readyReplicas"].as_u64().unwrap_or(0);
                ready.send_modify(|all| {
                    all.insert(name, count);
                });
            });
            if let Err(error) = ended.await {
                eprintln!("the watch of Deployments: {error}");
            }
        });
        follower
    }
}

fn client(ca: &str) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("the server's own certificate");
    reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client")
}

/// A node as the server sees it: registers, renews its Lease each second, watches what gateways watch, and says of each of its pods that
/// it runs.
async fn run_node(server: Arc<Reached>, name: String, running: Arc<AtomicUsize>) {
    let client = client(&server.ca);
    let amounts = json!({"cpu": "8", "memory": "16Gi", "pods": "1000"});
    let conditions = json!([{"type": "Ready", "status": "True", "reason": "NodeReady", "message": "runs pods"}]);
    let status = json!({"capacity": amounts, "allocatable": amounts, "conditions": conditions});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = json!({"metadata": {"name": name}, "spec": {"holderIdentity": name, "leaseDurationSeconds": 6}});
    server.send("POST", &client, "/api/v1/nodes", &node).await.unwrap_or_else(|error| panic!("{error}"));
    server.send("POST", &client, leases, &lease).await.unwrap_or_else(|error| panic!("{error}"));
    for kind in ["api/v1/nodes", "api/v1/services", "apis/networking.k8s.io/v1/ingresses", "apis/discovery.k8s.io/v1/endpointslices"] {
        let (server, client) = (server.clone(), client.clone());
        tokio::spawn(async move {
            let path = format!("{}/{kind}?watch=true&timeoutSeconds=3600", server.url);
            let answer = client.get(path).bearer_auth(&server.token).send().await;
            let mut pieces = answer.expect("a watch").bytes_stream();
            // Read and forgotten: a real node keeps of it what it routes by.
            while let Some(Ok(_)) = pieces.next().await {}
        });
    }
    let (told, mut pods) = tokio::sync::mpsc::unbounded_channel();
    let (watcher, watching, own) = (server.clone(), client.clone(), name.clone());
    tokio::spawn(async move {
        let path = format!("/api/v1/pods?watch=true&timeoutSeconds=3600&fieldSelector=spec.nodeName%3D{own}");
        let ended = watcher.watch(&watching, &path, |event| drop(told.send(event))).await;
        if let Err(error) = ended {
            eprintln!("{own}: {error}");
        }
    });
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            _ = tick.tick() => {
                let renewed = json!({"spec": {"renewTime": format!("{:.6}", jiff::Timestamp::now())}});
                server.send("PATCH", &client, &format!("{leases}/{name}"), &renewed).await
            }
            Some(event) = pods.recv() => starts(&server, &client, &event["object"], &running).await,
        };
        if let Err(error) = done {
            eprintln!("{name}: {error}");
        }
    }
}

async fn starts(server: &Reached, client: &reqwest::Client, pod: &Value, running: &AtomicUsize) -> Result<(), Failed> {
    if pod["status"]["phase"] != "Pending" {
        return Ok(());
    }
    let now = format!("{:.0}", jiff::Timestamp::now());
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let container = &pod["spec"]["containers"][0];
    let state = json!({
        "name": container["name"], "image": container["image"], "imageID": container["image"], "ready": true, "started": true,
        "restartCount": 0, "state": {"running": {"startedAt": now}}, "lastState": {},
    });
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    let status =
        json!({"phase": "Running", "podIP": "127.0.0.1", "startTime": now, "conditions": conditions, "containerStatuses": [state]});
    let path = format!("/api/v1/namespaces/default/pods/{}/status", pod["metadata"]["name"].as_str().unwrap_or_default());
    server.send("PATCH", client, &path, &json!({"status": status})).await?;
    running.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// MiB that a process holds.
fn memory(process: u32) -> Result<u64, Failed> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

/// Seconds of processor time that a process used.
fn cpu(process: u32) -> Result<f64, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}
