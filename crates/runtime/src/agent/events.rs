//! Events about pods, and about what nodes do for Services and Ingresses: what happened, in a sentence; the same thing again only counts up.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::gateway::local::Identity;

/// Whether somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// As it should be.
    Normal,
    /// As it should not be.
    Warning,
}

/// What an Event is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Subject {
    /// A pod.
    pub fn pod(identity: &Identity) -> Subject {
        let (namespace, name, uid) = (identity.namespace.clone(), identity.pod.clone(), identity.uid.clone());
        Subject { api_version: "v1", kind: "Pod", namespace, name, uid }
    }
}

/// One thing that happened to something.
#[derive(Debug, Clone)]
pub struct Happening {
    /// To what.
    pub about: Subject,
    /// Whether somebody should look.
    pub weight: Weight,
    /// One word: `Started`, `Trap`, `BackOff` …
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// Takes happenings; never waits. More than can be sent are dropped, since they tell what status tells too.
#[derive(Clone)]
pub struct Events(mpsc::Sender<Happening>);

/// Happenings that may wait.
const WAITING: usize = 1024;
/// For so long the same happening is counted into one Event.
const SAME: Duration = Duration::from_secs(600);
/// Events that are remembered for counting.
const REMEMBERED: usize = 4096;

impl Events {
    /// A sender, and the task that brings Events to the API.
    pub fn new(client: Client, node: String) -> (Events, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Events(sender), run(client, node, receiver))
    }

    /// Tells of something.
    pub fn tell(&self, happening: Happening) {
        // Full: the API is away or slow, and what matters is in the status.
        let _ = self.0.try_send(happening);
    }
}

struct Known {
    name: String,
    count: u32,
    at: Instant,
}

async fn run(client: Client, node: String, mut happenings: mpsc::Receiver<Happening>) {
    let mut known: HashMap<(String, &'static str, String), Known> = HashMap::new();
    while let Some(happening) = happenings.recv().await {
        // What differs only in its numbers (a wait, a count) is the same thing again.
        let same: String = happening.message.lines().next().unwrap_or_default().chars().filter(|c| !c.is_ascii_digit()).collect();
        let key = (happening.about.uid.clone(), happening.reason, same);
        let api = Api::<Event>::namespaced(client.clone(), &happening.about.namespace);
        if let Some(known) = known.get_mut(&key).filter(|known| known.at.elapsed() < SAME) {
            known.count += 1;
            known.at = Instant::now();
            let again = json!({"count": known.count, "message": happening.message, "lastTimestamp": now()});
            if api.patch(&known.name, &PatchParams::default(), &Patch::Merge(&again)).await.is_ok() {
                continue;
            }
        }
        if known.len() >= REMEMBERED {
            known.retain(|_, known| known.at.elapsed() < SAME / 10);
        }
        let name = format!("{}.{:016x}", happening.about.name, rand::random::<u64>());
        let Ok(event) = serde_json::from_value(event(&happening, &name, &node)) else { continue };
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => drop(known.insert(key, Known { name, count: 1, at: Instant::now() })),
            Err(error) => tracing::debug!(%error, reason = happening.reason, "cannot tell an event"),
        }
    }
}

fn event(happening: &Happening, name: &str, node: &str) -> Value {
    let about = &happening.about;
    json!({
        "metadata": {"name": name, "namespace": about.namespace},
        "involvedObject": {"apiVersion": about.api_version, "kind": about.kind, "namespace": about.namespace, "name": about.name, "uid": about.uid},
        "reason": happening.reason,
        "message": happening.message,
        "type": match happening.weight { Weight::Normal => "Normal", Weight::Warning => "Warning" },
        "source": {"component": "wctl-node", "host": node},
        "reportingComponent": "wctl-node",
        "reportingInstance": node,
        "firstTimestamp": now(),
        "lastTimestamp": now(),
        "count": 1,
    })
}

fn now() -> String {
    // Kubernetes' clients parse whole seconds here.
    format!("{:.0}", Timestamp::now())
}
