//! Tells the API that this node is there: its Node object, and a Lease that is renewed each second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use scheduler::names;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::info::{arch, info, os};
use super::load::Meter;
use super::machine::Machine;
use crate::gateway::Gateway;
use crate::gateway::peers::Peers;

/// Where the Leases of nodes are kept.
pub const LEASES: &str = "kube-node-lease";
/// How often the Lease is renewed.
const RENEW: Duration = Duration::from_secs(1);
/// How often pods are looked at in that time.
const LOOKS: u32 = 4;

/// Nodes that one sentence names.
const NAMED: usize = 10;

/// What the API learns of a node.
#[derive(Clone)]
pub struct Registration {
    /// Its name.
    pub name: String,
    /// Labels beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// What pods may use.
    pub machine: Machine,
    /// Its address.
    pub address: IpAddr,
    /// Its port for other nodes, if it has one.
    pub port: Option<u16>,
    /// The other nodes as this one reaches them.
    pub peers: Arc<Peers>,
}

impl Registration {
    /// Registers the node, trying until the API takes it, then renews its Lease until it is dropped.
    pub async fn run(self, client: Client, gateway: Arc<Gateway>) {
        let mut patience = Duration::from_millis(50);
        while let Err(error) = self.register(&client).await {
            tracing::debug!(%error, node = self.name, "cannot register the node yet");
            sleep(patience).await;
            patience = (patience * 2).min(Duration::from_secs(5));
        }
        self.renew(&client, &gateway).await;
    }

    async fn register(&self, client: &Client) -> Result<(), kube::Error> {
        let nodes = Api::<Node>::all(client.clone());
        let labels = json!({"metadata": {"labels": self.labels()}});
        match nodes.patch(&self.name, &PatchParams::default(), &Patch::Merge(&labels)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let node = json!({"metadata": {"name": self.name, "labels": self.labels()}, "spec": {}});
                nodes.create(&PostParams::default(), &serde_json::from_value(node).map_err(kube::Error::SerdeError)?).await?;
            }
            Err(error) => return Err(error),
        }
        self.put_ready(client).await?;
        self.make_lease(client).await
    }

    async fn put_ready(&self, client: &Client) -> Result<(), kube::Error> {
        self.put_status(client, true, "NodeReady", "the node runs pods").await
    }

    /// Says that the node stops, as far as the API still listens.
    pub async fn leave(&self, client: &Client) {
        let said = self.put_status(client, false, "NodeStopping", "the node was told to stop");
        // At the end of a process that holds the server too there may be nobody to tell.
        let _ = tokio::time::timeout(Duration::from_millis(500), said).await;
    }

    async fn put_status(&self, client: &Client, ready: bool, reason: &str, message: &str) -> Result<(), kube::Error> {
        let patch = json!({"status": self.status(ready, reason, message)});
        Api::<Node>::all(client.clone()).patch_status(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
    }

    async fn make_lease(&self, client: &Client) -> Result<(), kube::Error> {
        let leases = Api::<Lease>::namespaced(client.clone(), LEASES);
        let lease = json!({
            "metadata": {"name": self.name},
            "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 6, "acquireTime": now(), "renewTime": now()},
        });
        match leases.create(&PostParams::default(), &serde_json::from_value(lease).map_err(kube::Error::SerdeError)?).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop),
        }
    }

    async fn renew(&self, client: &Client, gateway: &Gateway) {
        let mut meter = Meter::default();
        let leases = Api::<Lease>::namespaced(client.clone(), LEASES);
        let mut tick = interval(RENEW / LOOKS);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Vec::new();
        loop {
            tick.tick().await;
            meter.look(&gateway.locals);
            if !meter.is_due(LOOKS) {
                continue;
            }
            let unreachable: Vec<String> = self.peers.unreachable().into_iter().map(|(node, _)| node).collect();
            if unreachable != told && matches!(tokio::time::timeout(RENEW, self.put_ready(client)).await, Ok(Ok(()))) {
                told = unreachable;
            }
            let mut renewed = json!({"spec": {"holderIdentity": self.name, "renewTime": now()}});
            // What is idle, and was, is not worth a word.
            if let Some(loads) = meter.tell(&gateway.locals) {
                renewed["metadata"]["annotations"] = json!({ names::LOAD: loads });
            }
            let renewed = Patch::Merge(renewed);
            let params = PatchParams::default();
            let renewing = leases.patch(&self.name, &params, &renewed);
            let renewed = tokio::time::timeout(RENEW * 3, renewing).await;
            if !matches!(renewed, Ok(Ok(_))) {
                meter.lost();
            }
            match renewed {
                Ok(Ok(_)) => {}
                // Somebody deleted the node, or its Lease: it is here all the same.
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => drop(self.register(client).await),
                Ok(Err(error)) => tracing::debug!(%error, "cannot renew the node's lease"),
                Err(_) => tracing::debug!("the server does not answer"),
            }
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let known = [("kubernetes.io/hostname", self.name.as_str()), ("kubernetes.io/os", os()), ("kubernetes.io/arch", arch())];
        let mut labels = self.labels.clone();
        labels.extend(known.map(|(name, value)| (name.to_owned(), value.to_owned())));
        labels
    }

    fn status(&self, ready: bool, reason: &str, message: &str) -> Value {
        let Machine { memory, cpu, pods } = self.machine;
        let amounts = json!({"cpu": format!("{cpu}m"), "memory": format!("{}Ki", memory / 1024), "pods": pods.to_string()});
        let now = now();
        let endpoint = self.port.map_or(Value::Null, |port| json!({"kubeletEndpoint": {"Port": port}}));
        json!({
            "daemonEndpoints": endpoint,
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [{"type": "InternalIP", "address": self.address.to_string()}, {"type": "Hostname", "address": self.name}],
            "conditions": [condition("Ready", ready, reason, message, &now), reaching(&self.peers.unreachable(), &now)],
            "nodeInfo": info(),
        })
    }
}

fn condition(kind: &str, holds: bool, reason: &str, message: &str, now: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now, "lastTransitionTime": now})
}

/// Whether the pods of all nodes are asked, or only those of the nodes that this one can reach.
fn reaching(unreachable: &[(String, String)], now: &str) -> Value {
    if unreachable.is_empty() {
        return condition("PeersReachable", true, "PeersReachable", "the pods of all nodes that are asked can be reached", now);
    }
    let named: Vec<_> = unreachable.iter().take(NAMED).map(|(node, why)| format!("cannot reach {node} ({why})")).collect();
    let more = unreachable.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let message = format!("{}{more}; requests that come here go to pods of other nodes", named.join(", "));
    condition("PeersReachable", false, "PeersUnreachable", &message, now)
}

fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}
