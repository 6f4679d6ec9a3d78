//! `…/pods/POD/portforward`: connections to ports of a pod, which the pod's node makes and the server passes on.
//!
//! [`socket`] moves the bytes of one client, [`spdy`] and [`channels`] are the two ways in which clients put several connections into them.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::kinds::POD;
use crate::names;
use crate::objects::Object;

use super::path::Query;
use super::status::{Refusal, Result};
use super::{Api, Call, read};

mod channels;
mod socket;
mod spdy;

/// Clients that forward ports at a time, and connections of all of them together.
const CLIENTS: usize = 256;
const CONNECTIONS: usize = 1024;
/// Connections of one client at a time.
const OF_ONE: usize = 128;
/// Pieces of a connection that wait, in each direction.
const PIECES: usize = 4;
/// The longest piece.
const PIECE: usize = 32 << 10;
/// How long a pod may take none of what it is sent before its connection is given up, since the others wait behind it.
const STALL: Duration = Duration::from_secs(30);
/// How often it is looked whether the pod is still there.
const LOOK: Duration = Duration::from_secs(2);
/// How long a client may take to begin after its upgrade was granted.
const BEGINS: Duration = Duration::from_secs(10);

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
const SPDY: &str = "SPDY/3.1";
const PORT_FORWARD: &str = "portforward.k8s.io";
const STREAM_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What limits all forwards of a server.
pub(super) struct Forwards {
    clients: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Default for Forwards {
    fn default() -> Forwards {
        Forwards { clients: Arc::new(Semaphore::new(CLIENTS)), connections: Arc::new(Semaphore::new(CONNECTIONS)) }
    }
}

/// How a client speaks.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// SPDY in the messages of a WebSocket, as kubectl does. The key of the handshake.
    Tunnel(String),
    /// Two channels for each of these ports in the messages of a WebSocket, as most libraries do.
    Channels(String, Vec<u16>),
    /// SPDY alone, as older clients do.
    Bare,
}

/// Grants the upgrade; what follows goes on without the request.
pub(super) async fn answer(call: Call) -> Result<Response> {
    let Call { api, target, query, headers, upgrade, .. } = call;
    let way = Way::of(&headers, &query)?;
    let upgrade = upgrade.ok_or_else(|| Refusal::bad_request("a connection that is shared cannot be upgraded: ask over HTTP/1.1"))?;
    let pod = Pod::of(&read::object(&api, &target).await?)?;
    let many = |_| Refusal::unavailable(format!("{CLIENTS} clients forward ports already, which is all that this server takes"));
    let permit = api.0.forwards.clients.clone().try_acquire_owned().map_err(many)?;
    let granted = way.granted();
    let dialer = Dialer { api, pod: Arc::new(pod) };
    tokio::spawn(follow(dialer, way, upgrade, permit));
    Ok(granted)
}

async fn follow(dialer: Dialer, way: Way, upgrade: OnUpgrade, _permit: OwnedSemaphorePermit) {
    let stop = dialer.api.0.stop.clone();
    let (pod, watched) = (dialer.pod.clone(), dialer.clone());
    let serve = async move {
        match tokio::time::timeout(BEGINS, upgrade).await {
            Ok(Ok(upgraded)) => way.serve(dialer, upgraded).await,
            _ => tracing::debug!("a client wanted to forward ports and went away"),
        }
    };
    tokio::select! {
        () = serve => {}
        () = watched.gone() => tracing::debug!(pod = pod.name, "the pod of a forward has gone"),
        () = stop.cancelled() => {}
    }
}

impl Way {
    fn of(headers: &HeaderMap, query: &Query) -> Result<Way> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let upgrade = text(header::UPGRADE);
        let offered = |name: HeaderName| -> Vec<&str> {
            let all = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            all.flat_map(|value| value.split(',')).map(str::trim).collect()
        };
        if upgrade.eq_ignore_ascii_case("websocket") {
            let key = text(header::SEC_WEBSOCKET_KEY);
            if key.is_empty() || text(header::SEC_WEBSOCKET_VERSION) != "13" {
                return Err(Refusal::bad_request("the WebSocket handshake needs version 13 and a key"));
            }
            let protocols = offered(header::SEC_WEBSOCKET_PROTOCOL);
            if protocols.contains(&TUNNEL) {
                return Ok(Way::Tunnel(key.to_owned()));
            }
            if protocols.contains(&CHANNELS) {
                return Ok(Way::Channels(key.to_owned(), ports(query)?));
            }
            return Err(Refusal::bad_request(format!("a WebSocket for port-forward speaks {TUNNEL} or {CHANNELS}")));
        }
        if upgrade.eq_ignore_ascii_case(SPDY) {
            let versions = offered(STREAM_VERSION);
            if versions.is_empty() || versions.contains(&PORT_FORWARD) {
                return Ok(Way::Bare);
            }
            return Err(Refusal::bad_request(format!("port-forward over {SPDY} speaks {PORT_FORWARD}")));
        }
        Err(Refusal::bad_request(format!(
            "port-forward needs an upgrade of the connection: to a WebSocket that speaks {TUNNEL} or {CHANNELS}, or to {SPDY}"
        )))
    }

    /// The answer that switches protocols.
    fn granted(&self) -> Response {
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        let (key, protocol) = match self {
            Way::Tunnel(key) => (key, TUNNEL),
            Way::Channels(key, _) => (key, CHANNELS),
            Way::Bare => {
                headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
                headers.insert(STREAM_VERSION, HeaderValue::from_static(PORT_FORWARD));
                return response;
            }
        };
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }

    async fn serve(self, dialer: Dialer, upgraded: Upgraded) {
        match self {
            Way::Tunnel(_) => spdy::serve(dialer, socket::messages(upgraded).await).await,
            Way::Channels(_, ports) => channels::serve(dialer, ports, socket::messages(upgraded).await).await,
            Way::Bare => spdy::serve(dialer, socket::bytes(upgraded)).await,
        }
    }
}

/// `?ports=80,443`.
fn ports(query: &Query) -> Result<Vec<u16>> {
    let wrong = || Refusal::bad_request("the parameter ports must name the pod's ports: ports=80 or ports=80,443");
    let read: Option<Vec<u16>> = query.get("ports").unwrap_or_default().split(',').map(|port| port.trim().parse().ok()).collect();
    read.filter(|ports| !ports.contains(&0) && ports.len() <= OF_ONE).ok_or_else(wrong)
}

/// What a forward has to know of its pod.
#[derive(Debug)]
struct Pod {
    namespace: String,
    name: String,
    uid: String,
    node: String,
    /// Ports that its guest listens on by itself.
    listens: Vec<u16>,
    /// Ports at which it is asked over HTTP; any where it names none.
    answers: Vec<u16>,
}

impl Pod {
    fn of(pod: &Object) -> Result<Pod> {
        let text = |at: &str| pod.0.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (node, phase) = (text("/spec/nodeName"), text("/status/phase"));
        if node.is_empty() || phase != "Running" {
            let phase = if phase.is_empty() { "Pending".to_owned() } else { phase };
            return Err(Refusal::bad_request(format!("pod {} is not running: it is {phase}", pod.name())));
        }
        let listens = pod.0["metadata"]["annotations"][names::LISTEN].as_str().unwrap_or_default();
        let listens: Vec<u16> = listens.split(',').filter_map(|port| port.trim().strip_suffix("/tcp")?.parse().ok()).collect();
        let declared = pod.spec()["containers"][0]["ports"].as_array().into_iter().flatten();
        let declared = declared.filter_map(|port| u16::try_from(port["containerPort"].as_u64()?).ok());
        let answers = declared.filter(|port| !listens.contains(port)).collect();
        let (namespace, name, uid) = (pod.namespace().to_owned(), pod.name().to_owned(), pod.uid().to_owned());
        Ok(Pod { namespace, name, uid, node, listens, answers })
    }

    /// Whether a port is one that the guest listens on by itself, or else one of HTTP.
    fn listens(&self, port: u16) -> std::result::Result<bool, String> {
        if self.listens.contains(&port) {
            return Ok(true);
        }
        if self.answers.is_empty() && self.listens.is_empty() || self.answers.contains(&port) {
            return Ok(false);
        }
        let http = self.answers.iter().map(|port| format!("{port} (HTTP)"));
        let all: Vec<String> = http.chain(self.listens.iter().map(|port| format!("{port}/tcp"))).collect();
        Err(format!("pod {} has no port {port}; it has {}", self.name, all.join(", ")))
    }
}

/// Makes connections to one pod.
#[derive(Clone)]
struct Dialer {
    api: Api,
    pod: Arc<Pod>,
}

/// What a pod sends on a connection.
struct Dialled {
    pieces: mpsc::Receiver<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Dialer {
    /// A connection to a port, which is sent what comes from `to_pod` until that ends; or why there is none, in a sentence.
    async fn dial(&self, port: u16, to_pod: mpsc::Receiver<Bytes>) -> std::result::Result<Dialled, String> {
        let pod = &self.pod;
        let tcp = pod.listens(port)?;
        let many = |_| format!("{CONNECTIONS} connections are forwarded already, which is all that this server takes");
        let permit = self.api.0.forwards.connections.clone().try_acquire_owned().map_err(many)?;
        let ask = json!({ "ask": "forward", "uid": pod.uid, "pod": pod.name, "port": port, "tcp": tcp });
        let pieces = self.api.0.links.dial(&pod.node, ask, to_pod).await.map_err(|refusal| refusal.message)?;
        Ok(Dialled { pieces, _permit: permit })
    }

    /// Done when the pod is not there any more, or runs no more.
    async fn gone(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let found = self.api.0.objects.get(&POD, &self.pod.namespace, &self.pod.name).await;
            // A store that is away says nothing about the pod.
            let Ok(found) = found else { continue };
            let ended = |pod: &Object| matches!(pod.0["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            if found.is_none_or(|pod| pod.uid() != self.pod.uid || ended(&pod)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(pairs: &[(&'static str, &'static str)], uri: &str) -> Result<Way> {
        let header = |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        Way::of(&pairs.iter().map(header).collect(), &Query::of(&uri.parse().unwrap())?)
    }

    #[test]
    fn a_client_says_how_it_speaks() {
        let socket = [("upgrade", "websocket"), ("sec-websocket-key", "k"), ("sec-websocket-version", "13")];
        let with = |protocol: &'static str| [&socket[..], &[("sec-websocket-protocol", protocol)]].concat();
        assert_eq!(way(&with("x, SPDY/3.1+portforward.k8s.io"), "/").unwrap(), Way::Tunnel("k".into()));
        let channels = with("v5.channel.k8s.io, v4.channel.k8s.io");
        assert_eq!(way(&channels, "/?ports=80%2C443").unwrap(), Way::Channels("k".into(), vec![80, 443]));
        for wrong in ["/", "/?ports=0", "/?ports=80%2Cx", "/?ports=70000"] {
            assert_eq!(way(&channels, wrong).unwrap_err().code, 400, "{wrong}");
        }
        assert_eq!(way(&[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "portforward.k8s.io")], "/").unwrap(), Way::Bare);
        for wrong in [&socket[..], &with("chat"), &with(TUNNEL)[1..], &[("upgrade", "h2c")], &[]] {
            assert_eq!(way(wrong, "/").unwrap_err().code, 400);
        }
    }

    fn pod(ports: Value, listens: &str) -> Object {
        Object(json!({
            "metadata": { "name": "web-1", "namespace": "shop", "uid": "u", "annotations": { "wctl.dev/listen": listens } },
            "spec": { "nodeName": "edge-1", "containers": [{ "name": "web", "ports": ports }] }, "status": { "phase": "Running" },
        }))
    }

    #[test]
    fn a_port_is_the_guests_own_or_one_of_http_or_none() {
        let both = Pod::of(&pod(json!([{ "containerPort": 8080 }, { "containerPort": 5000 }]), "5000/tcp, 5001/tcp")).unwrap();
        assert_eq!((both.listens(8080), both.listens(5000), both.listens(5001)), (Ok(false), Ok(true), Ok(true)));
        assert_eq!(both.listens(80).unwrap_err(), "pod web-1 has no port 80; it has 8080 (HTTP), 5000/tcp, 5001/tcp");
        // Kubernetes does not ask for ports to be named either.
        let silent = Pod::of(&pod(Value::Null, "")).unwrap();
        assert_eq!(silent.listens(1234), Ok(false));
        let mut waiting = pod(Value::Null, "");
        waiting.0["status"]["phase"] = json!("Pending");
        assert_eq!(Pod::of(&waiting).unwrap_err().message, "pod web-1 is not running: it is Pending");
    }
}
