//! What the server asks of this node (logs, requests, metrics, connections, pruning): read from one long answer of the API, answered each by a request of the node's own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use artifact::Digest;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;

use super::forward;
use crate::blobs::Blobs;
use crate::gateway::Gateway;
use crate::gateway::access;
use crate::gateway::listen::Front;
use crate::instance::Source;
use crate::keyvalue::Buckets;
use crate::logs::{Logs, Query};
use crate::ports::Ports;
use crate::room::{self, Budget};
use crate::usage::Usage;

/// One line of the asks.
#[derive(Debug, Deserialize)]
struct Ask {
    id: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
enum What {
    Logs(WantedLogs),
    Access(access::Query),
    Metrics,
    /// What the node and its pods use.
    Usage,
    /// A connection to a port of a pod.
    Forward(forward::Wanted),
    /// Removes what an App has kept on this node.
    Forget {
        namespace: String,
        app: String,
    },
    Prune {
        /// Digests of artifacts that revisions need.
        keep: Vec<Digest>,
        #[serde(rename = "dryRun")]
        dry_run: bool,
    },
    /// Of a newer server.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct WantedLogs {
    namespace: String,
    pod: String,
    uid: String,
    follow: bool,
    tail: Option<usize>,
    previous: bool,
    timestamps: bool,
    since_seconds: Option<i64>,
    since_time: Option<Timestamp>,
}

/// Answers asks.
#[derive(Clone)]
pub struct Asks {
    /// The node's name.
    pub node: String,
    /// The API.
    pub client: Client,
    /// The node's logs.
    pub logs: Logs,
    /// The node's gateway, for its metrics and its access log.
    pub gateway: Arc<Gateway>,
    /// Where the access log is.
    pub requests: PathBuf,
    /// Where its code comes from, which keeps more than it runs.
    pub source: Arc<dyn Source>,
    /// How many sandboxes may run at a time.
    pub running: u64,
    /// What apps keep.
    pub buckets: Arc<Buckets>,
    /// What apps keep.
    pub blobs: Arc<Blobs>,
    /// What is used.
    pub usage: Usage,
    /// What answers the connections that are made for others.
    pub front: Arc<Front>,
    /// Ports that guests listen on.
    pub ports: Arc<Ports>,
}

impl Asks {
    /// Follows the asks until it is dropped; a server that is away is asked again.
    pub async fn run(self) {
        let mut patience = Duration::ZERO;
        loop {
            match self.follow().await {
                Ok(0) => patience = (patience * 2).clamp(Duration::from_millis(100), Duration::from_secs(5)),
                Ok(_) => patience = Duration::from_millis(100),
                Err(error) => {
                    tracing::debug!(%error, "cannot hear what the server asks");
                    patience = (patience * 2).clamp(Duration::from_millis(100), Duration::from_secs(5));
                }
            }
            tokio::time::sleep(patience).await;
        }
    }

    /// How many lines came until the stream ended.
    async fn follow(&self) -> Result<usize, kube::Error> {
        let request =
            Request::get(format!("/apis/wctl.dev/v1/nodes/{}/asks", self.node)).body(Vec::new()).map_err(kube::Error::HttpError)?;
        let mut lines = self.client.request_stream(request).await?.lines();
        let mut count = 0;
        while let Some(line) = lines.try_next().await.map_err(kube::Error::ReadEvents)? {
            count += 1;
            match serde_json::from_str::<Ask>(&line) {
                Ok(ask) => drop(tokio::spawn(self.clone().answer(ask))),
                // Empty lines keep the connection open.
                Err(_) if line.trim().is_empty() => {}
                Err(error) => tracing::warn!(%error, "the server asks what cannot be read"),
            }
        }
        Ok(count)
    }

    async fn answer(self, ask: Ask) {
        let what = match ask.what {
            What::Forward(wanted) => return self.forward(&ask.id, wanted).await,
            what => what,
        };
        match self.stream(what).await {
            Ok(chunks) => self.send(self.answers(&ask.id), chunks).await,
            Err(sentence) => self.refuse(&ask.id, &sentence).await,
        }
    }

    /// Where the answer to an ask goes.
    pub(super) fn answers(&self, id: &str) -> String {
        format!("/apis/wctl.dev/v1/nodes/{}/answers/{id}", self.node)
    }

    /// Answers why there is no answer.
    pub(super) async fn refuse(&self, id: &str, sentence: &str) {
        let path = format!("{}?code=400&error={}", self.answers(id), quoted(sentence));
        self.send(path, futures::stream::empty().boxed()).await;
    }

    async fn send(&self, path: String, chunks: BoxStream<'static, Bytes>) {
        let sent = async {
            let body = carry(chunks).await?;
            let request = Request::post(path).header(http::header::CONTENT_TYPE, "text/plain; charset=utf-8").body(body);
            self.client.send(request.map_err(kube::Error::HttpError)?).await
        };
        match sent.await {
            Ok(response) if response.status().is_success() => {}
            // The one who asked has gone; that is how following ends.
            Ok(response) => tracing::debug!(status = %response.status(), "an answer was not wanted"),
            Err(error) => tracing::debug!(%error, "cannot answer the server"),
        }
    }

    async fn stream(&self, what: What) -> Result<BoxStream<'static, Bytes>, String> {
        match what {
            What::Logs(wanted) => self.read(wanted).await,
            What::Access(query) => Ok(self.gateway.access.read(self.requests.clone(), query).boxed()),
            What::Metrics => Ok(one(self.metrics())),
            What::Usage => self.usage.tell(&self.gateway.locals).map(one),
            What::Prune { keep, dry_run } => {
                let pruned = self.source.prune(keep, dry_run).await?;
                let layers: serde_json::Map<_, _> =
                    pruned.layers.iter().map(|(layer, bytes)| (layer.to_string(), (*bytes).into())).collect();
                Ok(one(serde_json::Value::Object(layers).to_string()))
            }
            What::Forget { namespace, app } => self.forget(namespace, app).await.map(|()| one("{}".to_owned())),
            What::Forward(_) | What::Unknown => Err("this node is older than the server and does not know what it asks".into()),
        }
    }

    async fn forget(&self, namespace: String, app: String) -> Result<(), String> {
        if self.gateway.locals.has(&namespace, &app) {
            return Err(format!("pods of app {app} are still here"));
        }
        self.buckets.forget(&namespace, &app).await.map_err(|error| error.to_string())?;
        let blobs = self.blobs.clone();
        let forgotten = tokio::task::spawn_blocking(move || blobs.forget(&namespace, &app)).await;
        forgotten.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    fn metrics(&self) -> String {
        let mut budgets = room::of_process();
        budgets.push(Budget { name: "running sandboxes", used: self.gateway.metrics.sandboxes(), limit: self.running });
        self.gateway.metrics.render() + &room::render(&budgets)
    }

    async fn read(&self, wanted: WantedLogs) -> Result<BoxStream<'static, Bytes>, String> {
        // A pod that lives here may yet print its first line.
        let log = match self.gateway.locals.get(&wanted.uid) {
            Some(_) => Some(self.logs.pod(&wanted.namespace, &wanted.pod, &wanted.uid)),
            None => self.logs.find(&wanted.namespace, &wanted.pod, &wanted.uid),
        };
        let Some(log) = log else {
            // Asked by name alone all nodes are, and one of them may have it.
            if wanted.uid.is_empty() {
                return Err(format!("no log of pod {} is kept here", wanted.pod));
            }
            // A pod that has not started has printed nothing.
            return Ok(futures::stream::empty().boxed());
        };
        if wanted.previous && !log.has_previous().await {
            return Err(format!("pod {} had no instance before this one, or it printed nothing", wanted.pod));
        }
        let ago = wanted.since_seconds.and_then(|seconds| Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).ok());
        let query = Query {
            follow: wanted.follow,
            tail: wanted.tail,
            since: wanted.since_time.or(ago),
            previous: wanted.previous,
            timestamps: wanted.timestamps,
        };
        Ok(log.read(query).boxed())
    }
}

/// A sentence as part of a URL's query.
fn quoted(sentence: &str) -> String {
    let byte = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    sentence.bytes().map(byte).collect()
}

fn one(text: String) -> BoxStream<'static, Bytes> {
    futures::stream::once(async { Bytes::from(text) }).boxed()
}

/// A stream as a request body. The client's body type is only made around streams when they come as an answer, so this one does.
pub(super) async fn carry(chunks: BoxStream<'static, Bytes>) -> Result<Body, kube::Error> {
    let body = StreamBody::new(chunks.map(|chunk| Ok::<_, std::convert::Infallible>(Frame::data(chunk))));
    let mut body = Some(body);
    let service = tower::service_fn(move |_: Request<Body>| {
        let body = body.take();
        async move { body.map(Response::new).ok_or("a body is carried once") }
    });
    Ok(Client::new(service, "default").send(Request::new(Body::empty())).await?.into_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_are_read_and_unknown_ones_do_no_harm() {
        let ask: Ask = serde_json::from_str(
            r#"{"id":"1","ask":"logs","namespace":"default","pod":"web-1","uid":"u","follow":true,"tail":100,"previous":false,"timestamps":true}"#,
        )
        .expect("logs");
        let What::Logs(wanted) = ask.what else { panic!("not logs") };
        assert_eq!((wanted.pod.as_str(), wanted.tail, wanted.follow, wanted.timestamps), ("web-1", Some(100), true, true));
        let ask: Ask = serde_json::from_str(r#"{"id":"2","ask":"dance","with":"whom"}"#).expect("unknown");
        assert!(matches!(ask.what, What::Unknown));
    }

    #[tokio::test]
    async fn a_stream_is_carried_chunk_by_chunk() {
        let chunks = futures::stream::iter([Bytes::from_static(b"a"), Bytes::from_static(b"b")]).boxed();
        let body = carry(chunks).await.expect("a body");
        assert_eq!(body.collect_bytes().await.expect("bytes"), "ab");
    }
}
