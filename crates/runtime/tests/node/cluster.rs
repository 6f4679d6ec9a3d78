//! A server and one node in this process, and what tests ask of them.

use std::net::SocketAddr;
use std::time::Duration;

use artifact::Reference;
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use runtime::gateway::listen::Limits;
use runtime::node::{Capacity, Config, Handle, Node};
use scheduler::auth::Identity;
use scheduler::server::{self, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::guests;

/// A node with room for everything.
fn config(name: &str, data: std::path::PathBuf) -> Config {
    Config {
        capacity: Capacity { memory: Some(8 << 30), cpu: Some(64_000), pods: None },
        grace: Duration::from_secs(10),
        engines: runtime::engine::Config { small: 300, large: 8, running: 300, ..Default::default() },
        ..Config::new(name, data)
    }
}

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Cluster {
    pub client: Client,
    pub http: SocketAddr,
    pub handle: Handle,
    pub image: String,
    stop_node: CancellationToken,
    stop_server: CancellationToken,
    node: Option<JoinHandle<Result<(), runtime::node::Error>>>,
    server: Option<JoinHandle<Result<(), server::Error>>>,
    joining: Joining,
    data: tempfile::TempDir,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

/// What it takes to join as the next node.
struct Joining {
    clients: Vec<(String, Client)>,
    images: artifact::registry::Client,
}

/// One more node of a [`Cluster`]; it goes with it.
pub struct Joined {
    pub http: SocketAddr,
    pub between: SocketAddr,
    pub handle: Handle,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), runtime::node::Error>>>,
}

impl Joined {
    /// Tells it to stop; done when it has.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            within("the node's end", task).await.expect("no panic").expect("no error");
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

// Each cluster is a whole machine that compiles its guest: side by side they would wait for each other's processor time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

impl Cluster {
    pub async fn start() -> Cluster {
        Cluster::with(Limits::default()).await
    }

    /// One whose gateway is so patient with its clients.
    pub async fn with(clients: Limits) -> Cluster {
        let turn = TURN.lock().await;
        let data = tempfile::tempdir().expect("a folder");
        let server = Server::open(server::Config::new(data.path())).await.expect("a server");
        let client = Client::new(server.service(Identity::admin()), "default");
        let images = server.images().clone();
        let packed = artifact::pack::pack(guests::wasm("hostile")).expect("packed");
        let reference: Reference = "hostile:1".parse().expect("a reference");
        let digest = images.push(&reference, &packed).await.expect("pushed");
        let config = Config { clients, ..config("edge-1", data.path().join("node")) };
        let client_of = |name: &str| Client::new(server.service(Identity::node(name)), "default");
        let clients = ["edge-2", "edge-3"].map(|name| (name.to_owned(), client_of(name))).into();
        let joining = Joining { clients, images: images.clone() };
        let mut node = Node::open(config, client_of("edge-1"), images).await.expect("a node");
        node.between(server::listen("127.0.0.1:0").expect("a port"));
        let (handle, stop_node, stop_server) = (node.handle(), CancellationToken::new(), CancellationToken::new());
        let listener = server::listen("127.0.0.1:0").expect("a port");
        let server = tokio::spawn(server.run(listener, stop_server.clone().cancelled_owned()));
        let listener = server::listen("127.0.0.1:0").expect("a port");
        let http = listener.local_addr().expect("an address");
        let node = tokio::spawn(node.run(listener, stop_node.clone().cancelled_owned()));
        let image = format!("hostile@{digest}");
        Cluster { client, http, handle, image, stop_node, stop_server, node: Some(node), server: Some(server), joining, data, _turn: turn }
    }

    /// The next node: edge-2, then edge-3.
    pub async fn join(&mut self) -> Joined {
        let (name, client) = self.joining.clients.remove(0);
        let config = config(&name, self.data.path().join(&name));
        let mut node = Node::open(config, client, self.joining.images.clone()).await.expect("a node");
        let (between, listener) = (server::listen("127.0.0.1:0").expect("a port"), server::listen("127.0.0.1:0").expect("a port"));
        let (at, http) = (between.local_addr().expect("an address"), listener.local_addr().expect("an address"));
        node.between(between);
        let (handle, stop) = (node.handle(), CancellationToken::new());
        let task = Some(tokio::spawn(node.run(listener, stop.clone().cancelled_owned())));
        Joined { http, between: at, handle, stop, task }
    }

    /// A pod of the hostile guest on a node, for a service of an app.
    pub async fn pod_on(&self, node: &str, app: &str, service: &str, annotations: Value) {
        self.registered(node).await;
        let labels = json!({"wctl.dev/app": app, "wctl.dev/service": service});
        let run = json!({"name": service, "image": self.image, "resources": {"limits": {"memory": "64Mi"}}});
        let meta = json!({"name": format!("{app}-{service}-{node}"), "labels": labels, "annotations": annotations});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": node, "containers": [run]}});
        self.apply("api/v1", "pods", pod).await;
    }

    /// Done when the node is in the API: a pod of a node that is not there is ended.
    async fn registered(&self, node: &str) {
        let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(self.client.clone());
        let look = async {
            while nodes.get_opt(node).await.expect("an answer").is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(&format!("the registration of {node}"), look).await;
    }

    /// The Service of an app's service, and its route `APP-SERVICE.localhost`.
    pub async fn route_to(&self, app: &str, service: &str) {
        let (name, labels) = (format!("{app}-{service}"), json!({"wctl.dev/app": app, "wctl.dev/service": service}));
        let (meta, ports) = (json!({"name": name, "labels": labels}), json!([{"port": 80}]));
        let spec = json!({"selector": labels, "ports": ports});
        self.apply("api/v1", "services", json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})).await;
        let backend = json!({"service": {"name": name, "port": {"number": 80}}});
        let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
        let rule = json!({"host": format!("{name}.localhost"), "http": {"paths": [path]}});
        let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": {"rules": [rule]}});
        self.apply("apis/networking.k8s.io/v1", "ingresses", ingress).await;
    }

    /// A Deployment of the hostile guest with its Service and its route `NAME.localhost`.
    pub async fn deploy(&self, name: &str, replicas: u32, annotations: Value, container: Value) {
        let labels = json!({"wctl.dev/app": name, "wctl.dev/service": name});
        let mut run = json!({"name": name, "image": self.image, "resources": {"limits": {"memory": "64Mi"}}});
        run.as_object_mut().expect("an object").extend(container.as_object().expect("an object").clone());
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        self.apply(
            "apis/apps/v1",
            "deployments",
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
                "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "strategy": strategy,
                         "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": {"containers": [run]}}},
            }),
        )
        .await;
        self.apply(
            "api/v1",
            "services",
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
                "spec": {"selector": labels, "ports": [{"port": 80}]},
            }),
        )
        .await;
        let backend = json!({"service": {"name": name, "port": {"number": 80}}});
        self.apply("apis/networking.k8s.io/v1", "ingresses", json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name, "labels": labels},
            "spec": {"rules": [{"host": format!("{name}.localhost"), "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
        }))
        .await;
    }

    /// An autoscaler of a Deployment whose fewest pods are 0.
    pub async fn may_sleep(&self, name: &str, seconds: u32) {
        let metric =
            json!({"type": "Pods", "pods": {"metric": {"name": "concurrency"}, "target": {"type": "AverageValue", "averageValue": "40"}}});
        let behavior = json!({"scaleDown": {"stabilizationWindowSeconds": seconds}});
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
        let spec = json!({"scaleTargetRef": target, "minReplicas": 0, "maxReplicas": 3, "metrics": [metric], "behavior": behavior});
        let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name}, "spec": spec});
        self.apply("apis/autoscaling/v2", "horizontalpodautoscalers", scaler).await;
    }

    pub async fn apply(&self, group: &str, plural: &str, object: Value) {
        self.apply_in("default", group, plural, object).await;
    }

    /// Makes an object in a namespace.
    pub async fn apply_in(&self, namespace: &str, group: &str, plural: &str, object: Value) {
        let url = format!("/{group}/namespaces/{namespace}/{plural}");
        let request =
            Request::post(url).header("content-type", "application/json").body(object.to_string().into_bytes()).expect("a request");
        self.client.request::<Value>(request).await.unwrap_or_else(|error| panic!("{plural}: {error}"));
    }

    /// Makes a namespace.
    pub async fn namespace(&self, name: &str) {
        let body = json!({"metadata": {"name": name}}).to_string().into_bytes();
        let request = Request::post("/api/v1/namespaces").header("content-type", "application/json").body(body).expect("a request");
        self.client.request::<Value>(request).await.expect("a namespace");
    }

    /// Removes an object of the core group.
    pub async fn delete(&self, plural: &str, name: &str) {
        let request = Request::delete(format!("/api/v1/namespaces/default/{plural}/{name}")).body(Vec::new()).expect("a request");
        self.client.request::<Value>(request).await.expect("deleted");
    }

    /// What all pods of the first node have logged.
    pub fn logs(&self) -> String {
        fn read(folder: &std::path::Path, all: &mut String) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    read(&entry.path(), all)
                } else {
                    all.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default()))
                }
            }
        }
        let mut all = String::new();
        read(&self.node_folder().join("logs"), &mut all);
        all
    }

    /// Patches a Deployment's pod template.
    pub async fn change(&self, name: &str, template: Value) {
        let api = Api::<k8s_openapi::api::apps::v1::Deployment>::default_namespaced(self.client.clone());
        let patch = Patch::Merge(json!({"spec": {"template": template}}));
        api.patch(name, &PatchParams::default(), &patch).await.expect("patched");
    }

    /// The node's own folder.
    pub fn node_folder(&self) -> std::path::PathBuf {
        self.data.path().join("node")
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    /// Done when the gateway has so many ready endpoints of a Service.
    pub async fn ready(&self, service: &str, want: usize) {
        Cluster::ready_at(&self.handle, service, want).await;
    }

    /// The same at any node's gateway.
    pub async fn ready_at(handle: &Handle, service: &str, want: usize) {
        let mut events = handle.endpoint_events();
        let wait = async {
            while handle.ready("default", service) != want {
                // Lagging is as good as an event.
                let _ = events.recv().await;
            }
        };
        within(&format!("{want} ready endpoints of {service}"), wait).await;
    }

    /// The first pod of an app for which `find` finds something.
    pub async fn seen<T>(&self, app: &str, find: impl Fn(&Pod) -> Option<T>) -> T {
        let labels = format!("wctl.dev/app={app}");
        let look = async {
            loop {
                let list = self.pods().list(&ListParams::default().labels(&labels)).await.expect("pods");
                if let Some(found) = list.items.iter().find_map(&find) {
                    return found;
                }
                let version = list.metadata.resource_version.unwrap_or_default();
                let mut changes = self.pods().watch(&WatchParams::default().labels(&labels), &version).await.expect("a watch").boxed();
                while let Some(Ok(change)) = changes.next().await {
                    if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = change
                        && let Some(found) = find(&pod)
                    {
                        return found;
                    }
                }
            }
        };
        within("a pod's status", look).await
    }

    /// The sentences of Events with this reason, once there is one.
    pub async fn told(&self, reason: &str) -> String {
        let events = Api::<Event>::default_namespaced(self.client.clone());
        let look = async {
            loop {
                let all = events.list(&ListParams::default()).await.expect("events");
                let told: Vec<_> =
                    all.items.iter().filter(|e| e.reason.as_deref() == Some(reason)).filter_map(|e| e.message.clone()).collect();
                if !told.is_empty() {
                    return told.join("\n");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(&format!("an event {reason}"), look).await
    }

    /// One GET over HTTP/1.1, whole.
    pub async fn get(&self, app: &str, path: &str) -> (StatusCode, String) {
        let response = within("an answer", self.open(app, path, false)).await;
        let status = response.status();
        let body = within("a body", response.into_body().collect()).await.expect("a whole body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// One GET, its head.
    pub async fn open(&self, app: &str, path: &str, http2: bool) -> Response<Incoming> {
        Cluster::open_at(self.http, app, path, http2).await
    }

    /// The same at any gateway.
    pub async fn open_at(address: SocketAddr, app: &str, path: &str, http2: bool) -> Response<Incoming> {
        let io = TokioIo::new(TcpStream::connect(address).await.expect("a connection"));
        let host = format!("{app}.localhost");
        if http2 {
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
            tokio::spawn(connection);
            let request = Request::get(format!("http://{host}{path}")).body(Empty::<Bytes>::new()).expect("a request");
            return sender.send_request(request).await.expect("an answer");
        }
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        let request = Request::get(path).header("host", host).body(Empty::<Bytes>::new()).expect("a request");
        sender.send_request(request).await.expect("an answer")
    }

    /// A counter or gauge of the node, by its whole name with labels.
    pub fn metric(&self, name: &str) -> u64 {
        Cluster::metric_at(&self.handle, name)
    }

    /// The same of any node.
    pub fn metric_at(handle: &Handle, name: &str) -> u64 {
        let text = handle.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// Done when no sandbox lives but those that are kept for later.
    pub async fn at_rest(&self) {
        let rest = async {
            while self.metric("wctl_sandboxes") > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await
            }
        };
        within("the end of all sandboxes", rest).await;
    }

    /// Sends bytes and gives all that comes back until the connection closes.
    pub async fn raw(&self, bytes: &str) -> String {
        let talk = async {
            let mut stream = TcpStream::connect(self.http).await.expect("a connection");
            stream.write_all(bytes.as_bytes()).await.expect("sent");
            let mut all = Vec::new();
            // A reset counts as an end too.
            let _ = stream.read_to_end(&mut all).await;
            String::from_utf8_lossy(&all).into_owned()
        };
        within("a raw exchange", talk).await
    }

    /// Tells the node to stop; done when it has.
    pub async fn stop_node(&mut self) {
        self.stop_node.cancel();
        if let Some(node) = self.node.take() {
            within("the node's end", node).await.expect("no panic").expect("no error");
        }
    }

    pub async fn stop(mut self) {
        self.stop_node().await;
        self.stop_server.cancel();
        if let Some(server) = self.server.take() {
            within("the server's end", server).await.expect("no panic").expect("no error");
        }
    }

    /// Sets a value of the namespace's secrets.
    pub async fn set_secret(&self, key: &str, value: &str) {
        let api = Api::<k8s_openapi::api::core::v1::Secret>::default_namespaced(self.client.clone());
        let secret = json!({"metadata": {"name": "wctl-secrets"}, "stringData": {key: value}});
        api.create(&PostParams::default(), &serde_json::from_value(secret).expect("a secret")).await.expect("a secret");
    }
}

/// The pod's first container's state as JSON.
pub fn state(pod: &Pod) -> Value {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first().cloned());
    serde_json::to_value(status).unwrap_or_default()
}

pub fn name(pod: &Pod) -> String {
    pod.name_any()
}
