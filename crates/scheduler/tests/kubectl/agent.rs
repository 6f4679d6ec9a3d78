//! The least that makes pods run as far as the API can tell: a node that registers, renews its Lease, says of each of its pods that it
//! runs, lets go those that are deleted, and answers what it is asked.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;

/// What every pod of the node has written.
pub const LOG: &str = "hello from the guest\n";
/// When it looked at what they use.
pub const MEASURED: &str = "2026-01-02T03:04:05Z";

/// Registers the node and runs its pods until the task is aborted.
pub async fn start(api: Router, name: &'static str) -> tokio::task::JoinHandle<()> {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" } },
        "status": status(name),
    });
    let (code, told) = send(&api, "POST", "/api/v1/nodes", Some(node)).await;
    assert_eq!(code, 201, "{told}");
    let lease = json!({ "metadata": { "name": name }, "spec": { "holderIdentity": name, "leaseDurationSeconds": 6 } });
    let (code, told) = send(&api, "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", Some(lease)).await;
    assert_eq!(code, 201, "{told}");
    let asks = tokio::spawn(answer_asks(api.clone(), name));
    tokio::spawn(async move {
        let _asks = AbortOnDrop(asks);
        loop {
            let renewed = json!({ "spec": { "renewTime": format!("{:.6}", jiff::Timestamp::now()) } });
            send(&api, "PATCH", &format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"), Some(renewed)).await;
            run_pods(&api, name).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn status(name: &str) -> Value {
    let now = format!("{:.0}", jiff::Timestamp::now());
    let amounts = json!({ "cpu": "4", "memory": "8Gi", "pods": "1000" });
    json!({
        "capacity": amounts, "allocatable": amounts,
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }, { "type": "Hostname", "address": name }],
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "NodeReady", "message": "the node runs pods", "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }],
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "osImage": "linux", "kernelVersion": "", "machineID": "", "systemUUID": "",
            "bootID": "", "containerRuntimeVersion": "wctl://0.1.0", "kubeletVersion": "v0.1.0", "kubeProxyVersion": "",
        },
    })
}

async fn run_pods(api: &Router, node: &str) {
    let (_, list) = send(api, "GET", &format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"), None).await;
    for pod in list["items"].as_array().into_iter().flatten() {
        let text = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let path = format!("/api/v1/namespaces/{}/pods/{}", text("/metadata/namespace"), text("/metadata/name"));
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            send(api, "DELETE", &format!("{path}?gracePeriodSeconds=0"), None).await;
        } else if pod["status"]["phase"] == "Pending" {
            let now = format!("{:.0}", jiff::Timestamp::now());
            let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now });
            let container = &pod["spec"]["containers"][0];
            let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
            let status = json!({ "status": {
                "phase": "Running", "hostIP": "127.0.0.1", "podIP": "127.0.0.1", "podIPs": [{ "ip": "127.0.0.1" }], "startTime": now,
                "conditions": conditions,
                "containerStatuses": [{
                    "name": container["name"], "image": container["image"], "imageID": container["image"], "containerID": "wctl://1/0",
                    "ready": true, "started": true, "restartCount": 0, "state": { "running": { "startedAt": now } }, "lastState": {},
                }],
            } });
            send(api, "PATCH", &format!("{path}/status"), Some(status)).await;
        }
    }
}

async fn answer_asks(api: Router, node: &'static str) {
    let request = Request::get(format!("/apis/wctl.dev/v1/nodes/{node}/asks")).body(Body::empty()).unwrap();
    let response = api.clone().oneshot(request).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    while let Some(Ok(line)) = stream.next().await {
        let Ok(ask) = serde_json::from_slice::<Value>(&line) else { continue };
        let path = format!("/apis/wctl.dev/v1/nodes/{node}/answers/{}", ask["id"].as_str().unwrap());
        let body = match ask["ask"].as_str() {
            Some("forward") => {
                tokio::spawn(echo(api.clone(), path));
                continue;
            }
            Some("logs") => LOG.to_owned(),
            Some("usage") => usage(&api, node).await.to_string(),
            _ => String::new(),
        };
        let request = Request::post(path).body(Body::from(body)).unwrap();
        assert_eq!(api.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
    }
}

/// A connection to a pod that gives back what it hears.
async fn echo(api: Router, path: String) {
    let (mut say, said) = futures::channel::mpsc::channel::<Result<Bytes, Infallible>>(1);
    let request = Request::post(path).body(Body::from_stream(said)).unwrap();
    let response = api.oneshot(request).await.unwrap();
    let mut heard = response.into_body().into_data_stream();
    while let Some(Ok(piece)) = heard.next().await {
        if say.send(Ok(piece)).await.is_err() {
            return;
        }
    }
}

/// What its pods use, by their Deployment: `web` something, `young` is not measured, all others nothing.
async fn usage(api: &Router, node: &str) -> Value {
    let (_, list) = send(api, "GET", &format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"), None).await;
    let (mut pods, mut young) = (serde_json::Map::new(), Vec::new());
    for meta in list["items"].as_array().into_iter().flatten().map(|pod| &pod["metadata"]) {
        let uid = meta["uid"].as_str().unwrap();
        match meta["labels"]["app"].as_str() {
            Some("web") => drop(pods.insert(uid.to_owned(), json!({ "cpu": 12_000_000, "memory": 3 << 20 }))),
            Some("young") => young.push(uid.to_owned()),
            _ => {}
        }
    }
    json!({ "at": MEASURED, "window": 5004, "cpu": 250_000_000, "memory": 1 << 30, "pods": pods, "young": young })
}

async fn send(api: &Router, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let response = api.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}
