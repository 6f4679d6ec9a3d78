//! The other nodes as this one's gateway reaches them: their addresses, the connections to them, and how their pods fare.

mod link;
mod remote;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, ResourceExt};
use parking_lot::{Mutex, RwLock};
use scheduler::balance::Budget;
use scheduler::pki::NodeIdentity;
use scheduler::routes::Endpoint;
use tokio::sync::watch as latest;

use crate::kept::Kept;
pub use link::{CONNECTION_WINDOW, HEAD, Link, STREAM_WINDOW, Unreachable};
pub use remote::{Entered, Passing, Remote};
pub use tls::{Tls, node as peer};

/// What is known of the other nodes. Cheap to share.
pub struct Peers {
    links: RwLock<HashMap<Arc<str>, Arc<Link>>>,
    remotes: Mutex<HashMap<Arc<str>, std::sync::Weak<Remote>>>,
    tls: latest::Sender<Option<Arc<Tls>>>,
    /// Whether all nodes of the cluster are among the links.
    whole: latest::Sender<bool>,
    budget: Mutex<Budget>,
    start: Instant,
}

impl Default for Peers {
    fn default() -> Peers {
        Peers {
            links: RwLock::default(),
            remotes: Mutex::default(),
            tls: latest::Sender::new(None),
            whole: latest::Sender::new(false),
            budget: Mutex::default(),
            start: Instant::now(),
        }
    }
}

impl Peers {
    /// This node's identity from now on. Connections that are open stay.
    ///
    /// # Errors
    /// When key and certificate do not belong together.
    pub fn identify(&self, identity: &NodeIdentity) -> Result<(), rustls::Error> {
        self.tls.send_replace(Some(Arc::new(Tls::new(identity)?)));
        Ok(())
    }

    /// This node's identity, once it has one.
    pub fn tls(&self) -> latest::Receiver<Option<Arc<Tls>>> {
        self.tls.subscribe()
    }

    /// Time as [`scheduler::balance::Standing`] counts it.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A request is sent to another node for the first time.
    pub fn earn(&self) {
        self.budget.lock().earn();
    }

    /// Whether a request may be sent again.
    pub fn spend(&self) -> bool {
        self.budget.lock().spend()
    }

    /// Whether this is a node of the cluster, as far as is known: before all are known everyone may be whom the CA's signature says.
    pub fn knows(&self, node: &str) -> bool {
        !*self.whole.borrow() || self.links.read().get(node).is_some_and(|link| link.is_listed())
    }

    /// The nodes that cannot be reached now, and why, by name.
    pub fn unreachable(&self) -> Vec<(String, String)> {
        let links = self.links.read();
        let mut all: Vec<_> = links.values().filter_map(|link| Some((link.node.to_string(), link.trouble()?))).collect();
        all.sort();
        all
    }

    /// The pod of another node behind an endpoint, the same for as long as somebody has it.
    pub fn remote(self: &Arc<Self>, endpoint: &Endpoint) -> Arc<Remote> {
        let mut remotes = self.remotes.lock();
        if let Some(found) = remotes.get(&endpoint.pod).and_then(std::sync::Weak::upgrade) {
            return found;
        }
        if remotes.len() > 64 && remotes.len().is_power_of_two() {
            remotes.retain(|_, remote| remote.strong_count() > 0);
        }
        let remote = Arc::new(Remote::new(endpoint.pod.clone(), self.link(&endpoint.node), self.clone()));
        remotes.insert(endpoint.pod.clone(), Arc::downgrade(&remote));
        remote
    }

    fn link(&self, node: &Arc<str>) -> Arc<Link> {
        if let Some(found) = self.links.read().get(node) {
            return found.clone();
        }
        self.links.write().entry(node.clone()).or_insert_with(|| Link::new(node.clone(), self.tls())).clone()
    }

    /// Follows the Nodes until it is dropped: where each answers, and which there are.
    pub async fn follow(self: Arc<Self>, client: Client, kept: Arc<Kept>) {
        let mut events = std::pin::pin!(kept.watch(Api::<NodeObject>::all(client), Config::default()));
        let mut listed = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(node) => {
                    listed.push(node.name_any());
                    self.learn(&node);
                }
                Event::InitDone => {
                    let links = self.links.read();
                    links.values().filter(|link| !listed.iter().any(|name| **name == *link.node)).for_each(|link| link.is_gone());
                    drop(links);
                    self.whole.send_replace(true);
                }
                Event::Apply(node) => self.learn(&node),
                Event::Delete(node) => self.link(&node.name_any().into()).is_gone(),
            }
        }
    }

    fn learn(&self, node: &NodeObject) {
        self.link(&node.name_any().into()).is_at(address(node));
    }
}

/// Where a node answers other nodes: its internal address and the port of its endpoint.
fn address(node: &NodeObject) -> Option<SocketAddr> {
    let status = node.status.as_ref()?;
    let port = status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref()?.port;
    let internal = status.addresses.iter().flatten().find(|address| address.type_ == "InternalIP")?;
    Some(SocketAddr::new(internal.address.parse().ok()?, u16::try_from(port).ok().filter(|port| *port > 0)?))
}
