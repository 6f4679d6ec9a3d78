//! A node for each pod that has none: room first, then spread, then the emptiest.

use super::Action;
use super::draft::{Creation, Draft};
use crate::model::{Claim, Name, Node, NodeReady, ObjectId, Pod, Resources, Snapshot, Unit, memory_text};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Places the pods that this plan makes; with `waiting` also those that have been waiting for a node, which come first.
pub(super) fn plan(draft: &mut Draft, waiting: bool) {
    let pods = if waiting { waiting_pods(draft) } else { Vec::new() };
    let creations = std::mem::take(&mut draft.creations);
    if pods.is_empty() && creations.is_empty() {
        return;
    }
    let mut rooms = Rooms::new(draft.snapshot);
    for pod in pods {
        place_waiting(draft, &mut rooms, pod);
    }
    for creation in creations {
        place_new(draft, &mut rooms, &creation);
    }
}

/// The oldest first; those on their way out end here, since no agent ever had them.
fn waiting_pods<'a>(draft: &mut Draft<'a>) -> Vec<&'a Pod> {
    let mut pods: Vec<&Pod> = Vec::new();
    for pod in draft.snapshot.unplaced() {
        if pod.meta.deleting {
            let why = Name::from("it was never placed");
            draft.act(&Unit::Unplaced, Action::FinishPod { pod: pod.meta.key.clone(), why });
        } else if !draft.is_ending(pod) {
            pods.push(pod);
        }
    }
    pods.sort_by(|a, b| (a.meta.born, &a.meta.key).cmp(&(b.meta.born, &b.meta.key)));
    pods
}

fn place_waiting(draft: &mut Draft, rooms: &mut Rooms, pod: &Pod) {
    let owner = pod.meta.owner.as_ref();
    let mut spread = count(draft, &pod.need, owner.into_iter().flat_map(|owner| draft.snapshot.pods_of(&owner.uid)));
    let key = pod.meta.key.clone();
    match rooms.take(&pod.need, &mut spread) {
        Ok(node) => draft.act(&Unit::Unplaced, Action::BindPod { pod: key, node }),
        Err(why) => {
            draft.wait(ObjectId { kind: "Pod", key: key.clone() }, why.to_string());
            if pod.unplaced.as_ref() != Some(&why) {
                draft.act(&Unit::Unplaced, Action::ExplainPod { pod: key, why });
            }
        }
    }
}

fn place_new(draft: &mut Draft, rooms: &mut Rooms, creation: &Creation) {
    let mut spread = count_workload(draft, creation);
    let mut short = None;
    for nth in 0..creation.count as usize {
        let place = rooms.take(&creation.claim, &mut spread);
        short = place.as_ref().err().cloned().or(short);
        let (owner, index) = (creation.set.clone(), creation.indexes.get(nth).copied());
        draft.act(
            &creation.unit,
            match creation.unit {
                Unit::Job(_) => Action::CreateJobPod { job: owner, index, place },
                _ => Action::CreatePod { set: owner, place },
            },
        );
    }
    if let Some(why) = short {
        let about = match &creation.unit {
            Unit::Deployment(key) => ObjectId { kind: "Deployment", key: key.clone() },
            Unit::Job(key) => ObjectId { kind: "Job", key: key.clone() },
            _ => ObjectId { kind: "ReplicaSet", key: creation.set.clone() },
        };
        draft.wait(about.clone(), why.to_string());
        draft.tell(&creation.unit, about, "Unschedulable", true, why.to_string());
    }
}

/// Where the pods of the same Deployment or ReplicaSet are.
fn count_workload(draft: &Draft, creation: &Creation) -> Spread {
    let snapshot = draft.snapshot;
    if let Unit::Job(key) = &creation.unit {
        let pods = snapshot.jobs.get(key).into_iter().flat_map(|job| snapshot.pods_of(&job.meta.uid));
        return count(draft, &creation.claim, pods.filter(|pod| !pod.ended));
    }
    let sets: Vec<_> = match &creation.unit {
        Unit::Deployment(key) => snapshot.deployments.get(key).map(|d| snapshot.sets_of(&d.meta.uid).collect()).unwrap_or_default(),
        Unit::Set(key) => snapshot.sets.get(key).map(|set| vec![&**set]).unwrap_or_default(),
        _ => Vec::new(),
    };
    count(draft, &creation.claim, sets.into_iter().flat_map(|set| snapshot.pods_of(&set.meta.uid)))
}

/// Pods on their way out do not count.
fn count<'p>(draft: &Draft, claim: &Claim, pods: impl Iterator<Item = &'p Pod>) -> Spread {
    let mut spread = Spread::default();
    for pod in pods.filter(|pod| !draft.is_ending(pod)) {
        if let Some(node) = pod.node.as_ref().and_then(|node| draft.snapshot.nodes.get(node)) {
            spread.add(node, claim);
        }
    }
    spread
}

/// The nodes that take pods, and what is left of them as this plan gives it away.
struct Rooms<'a> {
    rooms: Vec<Room<'a>>,
    /// The emptiest first; of equals the first by name.
    order: BTreeSet<(u64, usize)>,
    /// Claims that found no room, with the answer that they got.
    refused: Vec<(Claim, Name)>,
}

struct Room<'a> {
    node: &'a Node,
    free: Resources,
    /// The ports that pods have here, and whose they are.
    ports: BTreeMap<u16, String>,
}

impl Room<'_> {
    /// In thousandths, the scarcer of memory and CPU.
    fn fullness(&self) -> u64 {
        let full = |free: u64, of: u64| (1000 * free.min(of)).checked_div(of).map_or(0, |share| 1000 - share);
        let capacity = self.node.capacity;
        full(self.free.memory, capacity.memory).max(full(self.free.cpu, capacity.cpu))
    }
}

impl<'a> Rooms<'a> {
    fn new(snapshot: &'a Snapshot) -> Rooms<'a> {
        let room = |(name, node): (&Name, &'a Arc<Node>)| Room {
            node,
            free: node.capacity.less(snapshot.used(name)),
            ports: snapshot.ports_on(name).map(|(port, pod)| (port, pod.to_string())).collect(),
        };
        let rooms: Vec<Room> = snapshot.nodes.iter().map(room).collect();
        let open = rooms.iter().enumerate().filter(|(_, room)| closed(room.node).is_none());
        let order = open.map(|(at, room)| (room.fullness(), at)).collect();
        Rooms { rooms, order, refused: Vec::new() }
    }

    /// A node for one pod, or why there is none.
    fn take(&mut self, claim: &Claim, spread: &mut Spread) -> Result<Name, Name> {
        if let Some((_, why)) = self.refused.iter().find(|(refused, _)| refused == claim) {
            return Err(why.clone());
        }
        let Some((fullness, at)) = self.best(claim, spread) else {
            let why = Name::from(self.explain(claim));
            self.refused.push((claim.clone(), why.clone()));
            return Err(why);
        };
        self.order.remove(&(fullness, at));
        let room = &mut self.rooms[at];
        room.free = room.free.less(claim.resources);
        room.ports.extend(claim.ports.iter().map(|port| (*port, "a pod that is placed now".to_owned())));
        let entry = (room.fullness(), at);
        spread.add(room.node, claim);
        let name = room.node.meta.key.name.clone();
        self.order.insert(entry);
        Ok(name)
    }

    /// Of the nodes with room the one with the fewest of the workload, the emptiest of these; an unused one ends the search.
    fn best(&self, claim: &Claim, spread: &Spread) -> Option<(u64, usize)> {
        let mut best = None;
        for entry in &self.order {
            let room = &self.rooms[entry.1];
            if !room.free.fits(claim.resources) || unfit(room, claim).is_some() {
                continue;
            }
            let score = spread.score(room.node, claim);
            let unused = score.iter().all(|count| *count == 0);
            if best.as_ref().is_none_or(|(known, _)| score < *known) {
                best = Some((score, *entry));
            }
            if unused {
                break;
            }
        }
        best.map(|(_, entry)| entry)
    }

    /// `no node has 64Mi free (edge-1: 12Mi free of 2Gi)`: three nodes at most, those with the most room first.
    fn explain(&self, claim: &Claim) -> String {
        if self.rooms.is_empty() {
            return "no node has joined yet".to_owned();
        }
        let line = |room: &Room| {
            let refusal = closed(room.node).map(str::to_owned).or_else(|| unfit(room, claim));
            let says = refusal.clone().unwrap_or_else(|| shortage(room.free, room.node.capacity, claim.resources));
            (refusal.is_some(), Reverse(room.free.memory), format!("{}: {says}", room.node.meta.key.name))
        };
        let mut lines: Vec<_> = self.rooms.iter().map(line).collect();
        lines.sort();
        let head = match lines.first() {
            Some((false, ..)) => format!("no node has {} free", amount(claim.resources)),
            _ => "no node may take it".to_owned(),
        };
        let shown: Vec<String> = lines.iter().take(3).map(|(.., line)| line.clone()).collect();
        let more = if lines.len() > 3 { format!(", and {} more", lines.len() - 3) } else { String::new() };
        format!("{head} ({}{more})", shown.join(", "))
    }
}

/// How a workload is spread so far.
#[derive(Default)]
struct Spread {
    on_node: BTreeMap<Name, u32>,
    /// For each label that it is spread over, the pods where the label has a value.
    in_domain: Vec<BTreeMap<String, u32>>,
}

impl Spread {
    fn add(&mut self, node: &Node, claim: &Claim) {
        *self.on_node.entry(node.meta.key.name.clone()).or_default() += 1;
        self.in_domain.resize_with(claim.spread.len(), BTreeMap::new);
        for (label, count) in claim.spread.iter().zip(&mut self.in_domain) {
            *count.entry(domain(node, label).to_owned()).or_default() += 1;
        }
    }

    /// Pods in the node's domain of each label, then on the node.
    fn score(&self, node: &Node, claim: &Claim) -> Vec<u32> {
        let there = |(at, label): (usize, &Name)| self.in_domain.get(at).and_then(|count| count.get(domain(node, label)).copied());
        let domains = claim.spread.iter().enumerate().map(|one| there(one).unwrap_or(0));
        domains.chain([self.on_node.get(&node.meta.key.name).copied().unwrap_or(0)]).collect()
    }
}

/// The value of a label that pods are spread over; the nodes without it are a domain of their own.
fn domain<'n>(node: &'n Node, label: &str) -> &'n str {
    let matching = node.meta.labels.iter().find(|(name, _)| name.as_str() == label || name.rsplit('/').next() == Some(label));
    matching.map_or("", |(_, value)| value)
}

/// Why a node takes no new pods at all.
fn closed(node: &Node) -> Option<&'static str> {
    match node.ready {
        _ if node.meta.deleting => Some("is being deleted"),
        NodeReady::Lost => Some("lost"),
        NodeReady::No => Some("not ready"),
        NodeReady::Yes if node.cordoned => Some("cordoned"),
        NodeReady::Yes => None,
    }
}

/// Why a node takes no pod of this claim, however empty it is.
fn unfit(room: &Room, claim: &Claim) -> Option<String> {
    let lacks = |(name, value): &(&String, &String)| room.node.meta.labels.get(*name) != Some(*value);
    if let Some((name, value)) = claim.node_labels.iter().find(lacks) {
        return Some(format!("has no label {name}={value}"));
    }
    let (port, pod) = claim.ports.iter().find_map(|port| Some((port, room.ports.get(port)?)))?;
    Some(format!("port {port}/tcp belongs to {pod}"))
}

fn shortage(free: Resources, capacity: Resources, need: Resources) -> String {
    let mut short = Vec::new();
    if need.memory > free.memory {
        short.push(format!("{} free of {}", memory_text(free.memory), memory_text(capacity.memory)));
    }
    if need.cpu > free.cpu {
        short.push(format!("{}m cpu free of {}m", free.cpu, capacity.cpu));
    }
    short.join(" and ")
}

fn amount(need: Resources) -> String {
    match (need.memory, need.cpu) {
        (memory, 0) => memory_text(memory),
        (0, cpu) => format!("{cpu}m cpu"),
        (memory, cpu) => format!("{} and {cpu}m cpu", memory_text(memory)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    #[test]
    fn amounts_read_well() {
        assert_eq!(amount(Resources { memory: 64 << 20, cpu: 0 }), "64Mi");
        assert_eq!(amount(Resources { memory: 64 << 20, cpu: 10 }), "64Mi and 10m cpu");
    }

    #[test]
    fn keys_name_their_namespace_unless_it_is_the_default() {
        assert_eq!(Key::new("default", "a").to_string(), "a");
        assert_eq!(Key::new("other", "a").to_string(), "other/a");
    }
}
