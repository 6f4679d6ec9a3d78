//! Whether a node is lost, and the end of pods that nobody runs any more.

use super::Action;
use super::draft::Draft;
use crate::model::{Name, Node, NodeReady, ObjectId, Pod, Unit};
use std::time::Duration;

/// A node whose Lease did not change for so long is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(6);

pub(super) fn plan(draft: &mut Draft, name: &Name) {
    let unit = Unit::Node(name.clone());
    let snapshot = draft.snapshot;
    match snapshot.nodes.get(name) {
        Some(node) => watch(draft, &unit, node),
        None => draft.wait(id(name), format!("node {name} is gone")),
    }
    if snapshot.is_lost(name) {
        for pod in snapshot.pods_on(name) {
            clear(draft, &unit, name, pod);
        }
    }
}

fn id(name: &Name) -> ObjectId {
    ObjectId { kind: "Node", key: crate::model::Key { namespace: "".into(), name: name.clone() } }
}

fn watch(draft: &mut Draft, unit: &Unit, node: &Node) {
    let name = &node.meta.key.name;
    let Some(lease) = draft.snapshot.leases.get(name).copied() else { return };
    let lost_at = lease.seen + LOST_AFTER;
    let silent = lost_at <= draft.now;
    match node.ready {
        NodeReady::Lost if lease.renewed && !silent => {
            mark(draft, unit, node, NodeReady::Yes, lease.version, format!("node {name} reports again"));
        }
        NodeReady::Lost => draft.wait(id(name), format!("node {name} is lost")),
        _ if silent => {
            let why = format!("node {name} has not reported for {} s", LOST_AFTER.as_secs());
            mark(draft, unit, node, NodeReady::Lost, lease.version, why);
        }
        _ => draft.wake(unit, lost_at),
    }
}

fn mark(draft: &mut Draft, unit: &Unit, node: &Node, ready: NodeReady, lease: u64, why: String) {
    let name = node.meta.key.name.clone();
    draft.act(unit, Action::MarkNode { node: name.clone(), ready, lease, why: why.as_str().into() });
    let (reason, warning) = if ready == NodeReady::Lost { ("NodeLost", true) } else { ("NodeBack", false) };
    draft.tell(unit, id(&name), reason, warning, why);
}

/// A pod of a ReplicaSet is ended by whoever replaces it; one without an owner has nobody else.
fn clear(draft: &mut Draft, unit: &Unit, node: &Name, pod: &Pod) {
    if pod.meta.deleting {
        let why = Name::from(format!("node {node} is lost"));
        draft.act(unit, Action::FinishPod { pod: pod.meta.key.clone(), why });
    } else if pod.meta.owner.is_none() {
        draft.end_pod(unit, pod, &format!("node {node} is lost"));
    }
}
