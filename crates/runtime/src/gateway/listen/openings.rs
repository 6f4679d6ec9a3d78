//! Ports of this node on which Services answer: opened when a Service comes, closed when it goes. One that cannot be had is told, and tried
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use scheduler::routes::{self, Key, Lead, Opening};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Front;
use super::bytes::Bytes;
use crate::agent::events::{Events, Happening, Subject, Weight};
use crate::gateway::Door;

/// How often a port that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// The ports that are open.
pub struct Openings {
    front: Arc<Front>,
    bytes: Arc<Bytes>,
    at: IpAddr,
    events: Events,
    node: String,
    open: BTreeMap<u16, Open>,
    /// What was told already, until it holds no more.
    told: BTreeSet<(u16, Key, String)>,
}

/// One port.
struct Open {
    service: Key,
    /// Whether connections are passed on, and not requests.
    bare: bool,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Openings {
    /// None is open. They are opened on the interface `at`, where the front door is.
    pub fn new(front: Arc<Front>, at: IpAddr, events: Events, node: String) -> Openings {
        let bytes = Bytes::new(front.gateway.openings(), node.clone(), front.limits.connections);
        Openings { front, bytes, at, events, node, open: BTreeMap::new(), told: BTreeSet::new() }
    }

    /// Opens and closes until `stop`.
    pub async fn keep(mut self, stop: CancellationToken) {
        let mut changes = self.front.gateway.openings();
        loop {
            let wanted = changes.borrow_and_update().clone();
            self.close_all_but(&wanted).await;
            let failed = self.open_all(&wanted, &stop).await;
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(AGAIN), if failed => {}
            }
        }
    }

    async fn close_all_but(&mut self, wanted: &routes::Openings) {
        let stays = |port: &u16, open: &Open| wanted.open.get(port).is_some_and(|opening| is_same(open, opening));
        let gone: Vec<u16> = self.open.iter().filter(|(port, open)| !stays(port, open)).map(|(port, _)| *port).collect();
        for port in gone {
            let Some(open) = self.open.remove(&port) else { continue };
            open.stop.cancel();
            // It ends with its listener; a panic is told where it happens.
            let _ = open.serving.await;
            self.front.finish(port);
        }
    }

    /// Whether some could not be opened.
    async fn open_all(&mut self, wanted: &routes::Openings, stop: &CancellationToken) -> bool {
        let mut told = BTreeSet::new();
        let mut failed = false;
        for (port, opening) in &wanted.open {
            if self.open.contains_key(port) {
                continue;
            }
            match TcpListener::bind((self.at, *port)).await {
                Ok(listener) => self.serve(*port, listener, opening, stop.child_token()),
                Err(error) => {
                    failed = true;
                    told.insert((*port, opening.service.clone(), self.unusable(*port, opening, &error)));
                }
            }
        }
        for lost in &wanted.lost {
            let message = format!(
                "port {} of node {} belongs to the older Service {}, so this one does not answer there; give it another port",
                lost.port, self.node, lost.holder
            );
            if !self.told.contains(&(lost.port, lost.service.clone(), message.clone())) {
                self.tell(&lost.service, &lost.uid, &message);
            }
            told.insert((lost.port, lost.service.clone(), message));
        }
        self.told = told;
        failed
    }

    /// Tells it once.
    fn unusable(&self, port: u16, opening: &Opening, error: &io::Error) -> String {
        let message = format!(
            "port {port} of node {} cannot be listened on: {error}; it is tried again, and the Service's other ports answer",
            self.node
        );
        if !self.told.contains(&(port, opening.service.clone(), message.clone())) {
            self.tell(&opening.service, &opening.uid, &message);
        }
        message
    }

    fn tell(&self, service: &Key, uid: &str, message: &str) {
        tracing::warn!(%service, message, "a port of a Service");
        let (namespace, name) = (service.namespace().to_owned(), service.name().to_owned());
        let about = Subject { api_version: "v1", kind: "Service", namespace, name, uid: uid.to_owned() };
        self.events.tell(Happening { about, weight: Weight::Warning, reason: "PortUnavailable", message: message.to_owned() });
    }

    fn serve(&mut self, port: u16, listener: TcpListener, opening: &Opening, stop: CancellationToken) {
        let (service, bare) = (opening.service.clone(), matches!(opening.lead, Lead::Bytes(_)));
        let serving = if bare {
            tokio::spawn(self.bytes.clone().serve(port, listener, stop.clone()))
        } else {
            tokio::spawn(self.front.clone().serve(listener, Door::Service(port, service.clone()), stop.clone()))
        };
        tracing::info!(%service, at = %SocketAddr::new(self.at, port), "a Service answers");
        self.open.insert(port, Open { service, bare, stop, serving });
    }
}

fn is_same(open: &Open, opening: &Opening) -> bool {
    open.service == opening.service && open.bare == matches!(opening.lead, Lead::Bytes(_))
}
