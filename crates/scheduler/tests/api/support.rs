//! A server on a new folder and a client of its router.

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Request, StatusCode, header};
use scheduler::auth::Identity;
use scheduler::server::{Config, Server};
use serde_json::{Value, json};
use tower::ServiceExt;

pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const APPS: &str = "/apis/wctl.dev/v1/namespaces/default/apps";

/// A server that answers in process; nothing reconciles.
pub struct Cluster {
    pub server: Server,
    _folder: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub code: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

/// A client that is somebody.
#[derive(Clone)]
pub struct Client(Router);

impl Cluster {
    pub async fn start() -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::open(Config::new(folder.path())).await.unwrap();
        Cluster { server, _folder: folder }
    }

    pub fn admin(&self) -> Client {
        self.client(Identity::admin())
    }

    pub fn client(&self, who: Identity) -> Client {
        Client(self.server.service(who))
    }
}

impl Client {
    pub fn of(router: Router) -> Client {
        Client(router)
    }

    pub async fn send(&self, method: &str, path: &str, kind: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !kind.is_empty() {
            let name = if body.is_some() { header::CONTENT_TYPE } else { header::ACCEPT };
            request = request.header(name, kind);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.whole(request.body(body).unwrap()).await
    }

    async fn whole(&self, request: Request<Body>) -> Answer {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Answer { code: head.status, headers: head.headers, body }
    }

    /// A request whose body is just this text.
    pub async fn raw(&self, method: &str, path: &str, kind: &str, body: &str) -> Answer {
        self.bytes(method, path, kind, body.to_owned().into_bytes()).await
    }

    /// A request whose body is just these bytes.
    pub async fn bytes(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> Answer {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
        self.whole(request.body(Body::from(body)).unwrap()).await
    }

    /// A list as a table.
    pub async fn table(&self, path: &str) -> Answer {
        let request = Request::get(path).header(header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io");
        self.whole(request.body(Body::empty()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, "application/json", Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, "application/json", Some(body)).await
    }

    pub async fn merge(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, "application/merge-patch+json", Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", None).await
    }

    /// The lines of a watch.
    pub async fn watch(&self, path: &str) -> Events {
        let response = self.0.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Events { stream: response.into_body().into_data_stream().boxed(), rest: Vec::new() }
    }
}

impl Client {
    /// What a node is asked.
    pub async fn asks(&self, path: &str) -> Events {
        self.watch(path).await
    }
}

/// The events of a watch.
pub struct Events {
    stream: futures::stream::BoxStream<'static, Result<Bytes, axum::Error>>,
    rest: Vec<u8>,
}

impl Events {
    /// The next event: its type and its object.
    pub async fn next(&mut self) -> (String, Value) {
        let within = std::time::Duration::from_secs(20);
        tokio::time::timeout(within, self.line()).await.expect("an event in time").expect("an event")
    }

    /// `None` at the end of the watch.
    pub async fn line(&mut self) -> Option<(String, Value)> {
        let event = self.json().await?;
        Some((event["type"].as_str().unwrap().to_owned(), event["object"].clone()))
    }

    /// The next question to a node.
    pub async fn ask(&mut self) -> Value {
        self.json().await.expect("a question")
    }

    async fn json(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line != b"\n" {
                    return Some(serde_json::from_slice(&line).unwrap());
                }
            } else {
                self.rest.extend_from_slice(&self.stream.next().await?.unwrap());
            }
        }
    }

    /// The next event as `ADDED name`.
    pub async fn told(&mut self) -> String {
        let (kind, object) = self.next().await;
        format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or("-"))
    }
}

impl Answer {
    /// The object, which must have been answered with success.
    pub fn ok(self) -> Value {
        assert!(self.code.is_success(), "{}: {}", self.code, self.body);
        self.body
    }

    /// The `Status` of a refusal, which must look like Kubernetes'.
    pub fn refused(self, code: u16, reason: &str) -> Value {
        assert_eq!((self.code.as_u16(), self.body["reason"].as_str()), (code, Some(reason)), "{}", self.body);
        assert_eq!((&self.body["kind"], &self.body["status"], &self.body["code"]), (&json!("Status"), &json!("Failure"), &json!(code)));
        assert!(self.body["message"].as_str().is_some_and(|m| !m.is_empty()));
        self.body
    }

    /// The fields that a 422 or 403 names.
    pub fn fields(&self) -> Vec<String> {
        let causes = self.body["details"]["causes"].as_array().cloned().unwrap_or_default();
        causes.iter().map(|c| c["field"].as_str().unwrap().to_owned()).collect()
    }

    pub fn warnings(&self) -> Vec<String> {
        self.headers.get_all("warning").iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }
}

pub fn config_map(name: &str, labels: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": labels }, "data": { "a": "1" } })
}

pub fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": { "containers": [{ "name": "web", "image": "web:1" }] } },
        },
    })
}

pub fn image(name: &str) -> String {
    format!("{name}@sha256:{}", "a".repeat(64))
}

pub fn app(name: &str, services: Value) -> Value {
    json!({ "apiVersion": "wctl.dev/v1", "kind": "App", "metadata": { "name": name }, "spec": { "services": services } })
}
