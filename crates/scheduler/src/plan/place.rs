//! A node for each pod that has none: room first, then spread, then the emptiest.

use super::Action;
use super::draft::{Creation, Draft};
use crate::model::{Claim, Name, Node, NodeReady, ObjectId, Pod, Resources, Unit, memory_text};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// Places the pods that this plan makes; with `waiting` also those that have been waiting for a node, which come first.
pub(super) fn plan(draft: &mut Draft, waiting: bool) {
    let mut rooms = Rooms::default();
    if waiting {
        place_waiting(draft, &mut rooms);
    }
    for creation in std::mem::take(&mut draft.creations) {
        place_new(draft, &mut rooms, &creation);
    }
}

fn place_waiting(draft: &mut Draft, rooms: &mut Rooms) {
    let unit = Unit::Unplaced;
    let mut pods: Vec<&Pod> = Vec::new();
    for pod in draft.snapshot.unplaced() {
        if pod.meta.deleting {
            let why = Name::from("it was never placed");
            draft.act(&unit, Action::FinishPod { pod: pod.meta.key.clone(), why });
        } else if !draft.is_ending(pod) {
            pods.push(pod);
        }
    }
    pods.sort_by(|a, b| (a.meta.born, &a.meta.key).cmp(&(b.meta.born, &b.meta.key)));
    for pod in pods {
        let counts = count_siblings(draft, pod);
        let mut choice = rooms.choice(draft, &pod.need, counts);
        let key = pod.meta.key.clone();
        match rooms.take(&mut choice, &pod.need) {
            Some(node) => draft.act(&unit, Action::BindPod { pod: key, node }),
            None => {
                let why = rooms.explain(draft, &pod.need);
                draft.wait(ObjectId { kind: "Pod", key: key.clone() }, why.to_string());
                if pod.unplaced.as_ref() != Some(&why) {
                    draft.act(&unit, Action::ExplainPod { pod: key, why });
                }
            }
        }
    }
}

fn place_new(draft: &mut Draft, rooms: &mut Rooms, creation: &Creation) {
    let counts = count_workload(draft, &creation.unit);
    let mut choice = rooms.choice(draft, &creation.claim, counts);
    let mut short = None;
    for _ in 0..creation.count {
        let place = rooms.take(&mut choice, &creation.claim).ok_or_else(|| rooms.explain(draft, &creation.claim));
        if let Err(why) = &place {
            short = Some(why.clone());
        }
        draft.act(&creation.unit, Action::CreatePod { set: creation.set.clone(), place });
    }
    if let Some(why) = short {
        let about = match &creation.unit {
            Unit::Deployment(key) => ObjectId { kind: "Deployment", key: key.clone() },
            _ => ObjectId { kind: "ReplicaSet", key: creation.set.clone() },
        };
        draft.wait(about.clone(), why.to_string());
        draft.tell(&creation.unit, about, "Unschedulable", true, why.to_string());
    }
}

type Counts = BTreeMap<Name, u32>;

/// Where the pods of the same Deployment or ReplicaSet are, those not on their way out.
fn count_workload(draft: &Draft, unit: &Unit) -> Counts {
    let snapshot = draft.snapshot;
    let sets: Vec<_> = match unit {
        Unit::Deployment(key) => snapshot.deployments.get(key).map(|d| snapshot.sets_of(&d.meta.uid).collect()).unwrap_or_default(),
        Unit::Set(key) => snapshot.sets.get(key).map(|set| vec![&**set]).unwrap_or_default(),
        _ => Vec::new(),
    };
    count(draft, sets.into_iter().flat_map(|set| snapshot.pods_of(&set.meta.uid)))
}

fn count_siblings(draft: &Draft, pod: &Pod) -> Counts {
    let owner = pod.meta.owner.as_ref();
    count(draft, owner.into_iter().flat_map(|owner| draft.snapshot.pods_of(&owner.uid)))
}

fn count<'p>(draft: &Draft, pods: impl Iterator<Item = &'p Pod>) -> Counts {
    let mut counts = Counts::new();
    for pod in pods.filter(|pod| !draft.is_ending(pod)) {
        if let Some(node) = &pod.node {
            *counts.entry(node.clone()).or_default() += 1;
        }
    }
    counts
}

/// What this plan has given away so far.
#[derive(Default)]
struct Rooms {
    taken: HashMap<Name, Resources>,
    /// Claims that found no room, with the answer that they got.
    refused: Vec<(Claim, Name)>,
}

/// Fewest of the workload in the domain, fewest on the node, least full, name.
type Score = (u32, u32, u64, Name);

/// The nodes that a workload may use, best first.
struct Choice {
    heap: BinaryHeap<Reverse<(Score, usize)>>,
    nodes: Vec<Candidate>,
    domains: BTreeMap<String, u32>,
}

struct Candidate {
    name: Name,
    domain: Option<String>,
    capacity: Resources,
    free: Resources,
    count: u32,
}

impl Rooms {
    fn choice(&self, draft: &Draft, claim: &Claim, counts: Counts) -> Choice {
        let mut choice = Choice { heap: BinaryHeap::new(), nodes: Vec::new(), domains: BTreeMap::new() };
        if self.refused.iter().any(|(refused, _)| refused == claim) {
            return choice;
        }
        for (name, node) in draft.snapshot.nodes.iter() {
            let count = counts.get(name).copied().unwrap_or(0);
            let domain = domain(node, &claim.spread);
            if let Some(domain) = &domain {
                *choice.domains.entry(domain.clone()).or_default() += count;
            }
            if refusal(node, claim).is_none() {
                let free = self.free(draft, node);
                choice.nodes.push(Candidate { name: name.clone(), domain, capacity: node.capacity, free, count });
            }
        }
        for at in 0..choice.nodes.len() {
            choice.offer(at, claim);
        }
        choice
    }

    fn free(&self, draft: &Draft, node: &Node) -> Resources {
        let name = &node.meta.key.name;
        let taken = self.taken.get(name).copied().unwrap_or_default();
        node.capacity.less(draft.snapshot.used(name) + taken)
    }

    fn take(&mut self, choice: &mut Choice, claim: &Claim) -> Option<Name> {
        let name = choice.best(claim)?;
        *self.taken.entry(name.clone()).or_default() += claim.resources;
        Some(name)
    }

    /// `no node has 64Mi free (edge-1: 12Mi free of 2Gi)`: three nodes at most, those with the most room first.
    fn explain(&mut self, draft: &Draft, claim: &Claim) -> Name {
        if let Some((_, why)) = self.refused.iter().find(|(refused, _)| refused == claim) {
            return why.clone();
        }
        let why = Name::from(self.explain_anew(draft, claim));
        self.refused.push((claim.clone(), why.clone()));
        why
    }

    fn explain_anew(&self, draft: &Draft, claim: &Claim) -> String {
        let nodes = &draft.snapshot.nodes;
        if nodes.is_empty() {
            return "no node has joined yet".to_owned();
        }
        let mut lines: Vec<(bool, Reverse<u64>, String)> = Vec::new();
        for (name, node) in nodes.iter() {
            let free = self.free(draft, node);
            let refusal = refusal(node, claim);
            let line = refusal.clone().unwrap_or_else(|| shortage(free, node.capacity, claim.resources));
            lines.push((refusal.is_some(), Reverse(free.memory), format!("{name}: {line}")));
        }
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

impl Choice {
    fn best(&mut self, claim: &Claim) -> Option<Name> {
        while let Some(Reverse((score, at))) = self.heap.pop() {
            // A pod placed meanwhile made another node of its domain worth less.
            let now = self.score(at);
            if score < now {
                self.heap.push(Reverse((now, at)));
                continue;
            }
            let candidate = &mut self.nodes[at];
            candidate.free = candidate.free.less(claim.resources);
            candidate.count += 1;
            if let Some(domain) = &candidate.domain {
                *self.domains.entry(domain.clone()).or_default() += 1;
            }
            let name = candidate.name.clone();
            self.offer(at, claim);
            return Some(name);
        }
        None
    }

    fn offer(&mut self, at: usize, claim: &Claim) {
        if self.nodes[at].free.fits(claim.resources) {
            self.heap.push(Reverse((self.score(at), at)));
        }
    }

    fn score(&self, at: usize) -> Score {
        let node = &self.nodes[at];
        let domain = node.domain.as_ref().and_then(|domain| self.domains.get(domain)).copied().unwrap_or(0);
        let full = |free: u64, of: u64| if of == 0 { 0 } else { 1000 - 1000 * free.min(of) / of };
        let fullness = full(node.free.memory, node.capacity.memory).max(full(node.free.cpu, node.capacity.cpu));
        (domain, node.count, fullness, node.name.clone())
    }
}

/// The value of the label that pods are spread over; a node without it is a domain of its own kind.
fn domain(node: &Node, spread: &str) -> Option<String> {
    if spread.is_empty() {
        return None;
    }
    let matching = node.meta.labels.iter().find(|(name, _)| name.as_str() == spread || name.rsplit('/').next() == Some(spread));
    Some(matching.map(|(_, value)| value.clone()).unwrap_or_default())
}

/// Why a node takes no pod of this claim, however small.
fn refusal(node: &Node, claim: &Claim) -> Option<String> {
    match node.ready {
        _ if node.meta.deleting => return Some("is being deleted".to_owned()),
        NodeReady::Lost => return Some("lost".to_owned()),
        NodeReady::No => return Some("not ready".to_owned()),
        NodeReady::Yes if node.cordoned => return Some("cordoned".to_owned()),
        NodeReady::Yes => {}
    }
    let missing = claim.node_labels.iter().find(|(name, value)| node.meta.labels.get(*name) != Some(*value))?;
    Some(format!("has no label {}={}", missing.0, missing.1))
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
