//! The server that is measured: `figures serve FOLDER ADDRESS PODS`, until its input ends.

use std::path::Path;
use std::time::Duration;

use artifact::pack::pack;
use axum::Router;
use axum::body::Body;
use http::Request;
use scheduler::auth::Identity;
use scheduler::objects::{Object, Objects, Write};
use scheduler::server::{Config, Server, listen};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tower::ServiceExt;

use super::Failed;

/// How the program calls itself.
pub const WORD: &str = "serve";
/// Namespaces that the pods are spread over, a hundred pods each.
pub const HUNDRED: usize = 100;
/// The node of all pods.
const NODE: &str = "far";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// Writes of one commit.
const AT_ONCE: usize = 60;

/// Serves until standard input ends, or until it is killed.
pub async fn run(arguments: &[String]) -> Result<(), Failed> {
    let [folder, address, pods] = arguments else { return Err("serve takes a folder, an address and a number of pods".into()) };
    let folder = Path::new(folder);
    let server = Server::open(Config::new(folder.join("data"))).await?;
    let listener = listen(address)?;
    let url = format!("https://{}", listener.local_addr()?);
    let pods = pods.parse()?;
    seed(server.objects(), pods).await?;
    let packed = pack(wat::parse_str("(component)")?.into())?;
    server.images().push(&"default/web:1".parse()?, &packed).await?;
    std::fs::write(folder.join("kubeconfig"), server.kubeconfig(&url))?;
    if pods > 0 {
        tokio::spawn(be_there(server.service(Identity::node(NODE))));
    }
    let hello = json!({ "url": url, "token": server.admin_token(), "ca": server.ca_pem() });
    println!("{hello}");
    let until_told = async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    Ok(server.run(listener, until_told).await?)
}

/// The node on which the pods are: it registers, renews its Lease, and leaves its pods alone.
async fn be_there(api: Router) {
    let amounts = json!({ "cpu": "64", "memory": "256Gi", "pods": "20000" });
    let ready = json!({ "type": "Ready", "status": "True" });
    let status = json!({ "capacity": amounts, "allocatable": amounts, "conditions": [ready] });
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE }, "status": status });
    send(&api, "POST", "/api/v1/nodes", node).await;
    let lease = json!({ "metadata": { "name": NODE }, "spec": { "holderIdentity": NODE, "leaseDurationSeconds": 6 } });
    send(&api, "POST", LEASES, lease).await;
    loop {
        let renewed = json!({ "spec": { "renewTime": format!("{:.6}", jiff::Timestamp::now()) } });
        send(&api, "PATCH", &format!("{LEASES}/{NODE}"), renewed).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn send(api: &Router, method: &str, path: &str, body: Value) {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", kind).body(Body::from(body.to_string()));
    // What is there already, after a restart, is as good as new.
    if let Ok(request) = request {
        let _ = api.clone().oneshot(request).await;
    }
}

/// Namespace and name of a pod.
pub fn place(number: usize) -> (String, String) {
    (format!("many-{:03}", number / HUNDRED), format!("web-{number:05}"))
}

async fn seed(objects: &Objects, pods: usize) -> Result<(), Failed> {
    let there = objects.get(&scheduler::kinds::NAMESPACE, "", &place(0).0).await?;
    if pods == 0 || there.is_some() {
        return Ok(());
    }
    let namespace = |number| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": place(number).0 }, "status": { "phase": "Active" } });
    let namespaces = (0..pods).step_by(HUNDRED).map(namespace);
    let all: Vec<Value> = namespaces.chain((0..pods).map(pod)).collect();
    for some in all.chunks(AT_ONCE) {
        let write = |value: &Value| {
            let mut object = Object(value.clone());
            // As the API would have stored it.
            if object.kind() == "Pod" {
                scheduler::api::defaults::fill(&scheduler::kinds::POD, &mut object.0);
            }
            object.stamp_new(&uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
            Write::Create(object)
        };
        objects.commit(some.iter().map(write).collect()).await?;
    }
    Ok(())
}

/// A pod as one looks that runs, on a node that nobody asks.
pub fn pod(number: usize) -> Value {
    let image = format!("registry.example/web@sha256:{}", "a".repeat(64));
    let ready = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(ready);
    let (namespace, name) = place(number);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": "web" } },
        "spec": { "nodeName": NODE, "containers": [{ "name": "web", "image": image, "ports": [{ "containerPort": 80 }] }] },
        "status": { "phase": "Running", "podIP": "10.0.0.1", "conditions": conditions, "containerStatuses": [{
            "name": "web", "image": image, "imageID": image, "ready": true, "started": true, "restartCount": 0,
            "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } }, "lastState": {},
        }] },
    })
}
