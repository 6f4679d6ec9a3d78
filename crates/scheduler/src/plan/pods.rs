//! The pods of one ReplicaSet: which count, which are broken, which go first.

use super::draft::Draft;
use super::rollout::Have;
use crate::model::{Name, Pod, ReplicaSet, SetStatus, Unit};
use std::collections::BTreeMap;
use std::time::Duration;

/// A ReplicaSet with its pods sorted out.
pub(super) struct Group<'a> {
    pub set: &'a ReplicaSet,
    /// Pods that are there and stay.
    pub active: Vec<&'a Pod>,
    /// Pods that ended or whose node is lost, and why they are replaced.
    pub gone: Vec<(&'a Pod, String)>,
    /// Pods that go as soon as others have taken their places.
    pub evicted: Vec<&'a Pod>,
    /// Pods on their way out already.
    pub leaving: u32,
    min_ready: Duration,
    now: Duration,
}

impl<'a> Group<'a> {
    pub fn new(draft: &Draft<'a>, set: &'a ReplicaSet, min_ready: Duration) -> Group<'a> {
        let mut group = Group { set, active: Vec::new(), gone: Vec::new(), evicted: Vec::new(), leaving: 0, min_ready, now: draft.now };
        for pod in draft.snapshot.pods_of(&set.meta.uid) {
            match &pod.node {
                _ if pod.meta.deleting => group.leaving += 1,
                _ if pod.ended => group.gone.push((pod, "it ended".to_owned())),
                Some(node) if draft.snapshot.is_lost(node) => group.gone.push((pod, format!("node {node} is lost"))),
                _ if pod.evicted => group.evicted.push(pod),
                _ => group.active.push(pod),
            }
        }
        group
    }

    pub fn have(&self) -> Have {
        let present = self.active.len() + self.gone.len() + self.evicted.len();
        Have { replicas: self.set.replicas, available: self.available(), present: u32_of(present) + self.leaving }
    }

    /// The pods that answer requests, or will.
    fn there(&self) -> impl Iterator<Item = &'a Pod> {
        self.active.iter().chain(&self.evicted).copied()
    }

    pub fn ready(&self) -> u32 {
        u32_of(self.there().filter(|pod| pod.ready.is_some()).count())
    }

    pub fn available(&self) -> u32 {
        u32_of(self.there().filter(|pod| self.is_available(pod)).count())
    }

    pub fn asleep(&self) -> u32 {
        u32_of(self.there().filter(|pod| pod.asleep).count())
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod.ready.is_some_and(|since| since + self.min_ready <= self.now)
    }

    /// Whether one of its pods has been ready for as long as that.
    pub fn is_baked(&self, bake: Duration) -> bool {
        self.active.iter().any(|pod| pod.ready.is_some_and(|since| since + bake <= self.now))
    }

    pub fn was_ready_for(&self, pod: &Pod, long: Duration) -> bool {
        pod.ready.is_some_and(|since| since + long <= self.now)
    }

    /// When a pod that is ready will have been so for `long`.
    pub fn next_ready_for(&self, long: Duration) -> Option<Duration> {
        self.there().filter_map(|pod| pod.ready).map(|since| since + long).filter(|at| *at > self.now).min()
    }

    /// Ends what is gone and what is too many; gives how many are missing. Afterwards `active` is what stays.
    pub fn bring_to(&mut self, draft: &mut Draft<'a>, unit: &Unit, target: u32, on_node: &mut BTreeMap<Name, u32>, why: &str) -> u32 {
        for (pod, why) in std::mem::take(&mut self.gone) {
            draft.end_pod(unit, pod, &why);
            self.leaving += 1;
        }
        self.replace_evicted(draft, unit, target);
        while u32_of(self.active.len()) > target {
            let Some(victim) = self.victim(on_node) else { break };
            let pod = self.active.swap_remove(victim);
            if let Some(count) = pod.node.as_ref().and_then(|node| on_node.get_mut(node)) {
                *count = count.saturating_sub(1);
            }
            draft.end_pod(unit, pod, why);
            self.leaving += 1;
        }
        target.saturating_sub(u32_of(self.active.len()))
    }

    /// Ends the evicted pods that are not needed: those that do not serve, and one for each other that does.
    fn replace_evicted(&mut self, draft: &mut Draft<'a>, unit: &Unit, target: u32) {
        let (serving, idle): (Vec<&Pod>, Vec<&Pod>) = self.evicted.iter().partition(|pod| self.is_available(pod));
        let others = u32_of(self.active.iter().filter(|pod| self.is_available(pod)).count());
        let needed = target.saturating_sub(others) as usize;
        let keep = needed.min(serving.len());
        for pod in serving[keep..].iter().chain(&idle) {
            draft.end_pod(unit, pod, "evicted");
            self.leaving += 1;
        }
        self.evicted = serving[..keep].to_vec();
    }

    /// Not placed, then not ready, then not ready for long enough, then where most of them are together, then the newest.
    fn victim(&self, on_node: &BTreeMap<Name, u32>) -> Option<usize> {
        let rank = |pod: &Pod| {
            let together = pod.node.as_ref().and_then(|node| on_node.get(node)).copied().unwrap_or(0);
            (pod.node.is_none(), pod.ready.is_none(), !self.is_available(pod), together, pod.meta.born, pod.ready, pod.meta.key.clone())
        };
        (0..self.active.len()).max_by_key(|i| rank(self.active[*i]))
    }

    /// What the ReplicaSet says of itself once `created` more pods are there.
    pub fn status(&self, generation: i64, created: u32) -> SetStatus {
        SetStatus {
            observed: generation,
            replicas: u32_of(self.active.len() + self.evicted.len()) + created,
            ready: self.ready(),
            available: self.available(),
        }
    }

    pub fn count_nodes(&self, on_node: &mut BTreeMap<Name, u32>) {
        for node in self.there().filter_map(|pod| pod.node.clone()) {
            *on_node.entry(node).or_default() += 1;
        }
    }
}

pub(super) fn u32_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Why pods are not ready: each reason once, with how many pods it holds for or the pod's name.
pub(super) fn troubles<'a>(pods: impl Iterator<Item = &'a Pod>) -> Vec<String> {
    let mut found: BTreeMap<String, (u32, Name)> = BTreeMap::new();
    for pod in pods.filter(|pod| pod.ready.is_none()) {
        if let Some(reason) = reason(pod) {
            found.entry(reason).or_insert_with(|| (0, pod.meta.key.name.clone())).0 += 1;
        }
    }
    let line = |(reason, (count, name)): (String, (u32, Name))| match count {
        1 => format!("{name}: {reason}"),
        _ => format!("{count} pods: {reason}"),
    };
    found.into_iter().map(line).take(5).collect()
}

fn reason(pod: &Pod) -> Option<String> {
    if let Some(why) = &pod.unplaced {
        return (pod.node.is_none() && !why.is_empty()).then(|| why.to_string());
    }
    let trouble = pod.trouble.as_ref()?;
    Some(if trouble.message.is_empty() {
        trouble.reason.to_string()
    } else {
        format!("{}: {}", trouble.reason, first_line(&trouble.message))
    })
}

/// The wasm backtrace below it is for `describe`.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or("")
}
