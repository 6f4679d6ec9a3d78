//! A plan in the making.

use super::{Action, Plan, Step, Waiting};
use crate::model::{Claim, Deployment, DeploymentStatus, Key, Name, ObjectId, OnFailure, Pod, Snapshot, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Pods of one workload that need a node.
pub(super) struct Creation {
    pub unit: Unit,
    /// The ReplicaSet, or the Job.
    pub set: Key,
    pub claim: Claim,
    pub count: u32,
    /// The numbers of a Job's pods, where they have numbers: as many as there are pods.
    pub indexes: Vec<u32>,
}

/// How a Deployment fares once this plan is carried out, for its App.
pub(super) struct Outcome {
    pub status: DeploymentStatus,
    pub revision: u64,
    pub desired: u32,
    pub complete: bool,
    /// Whether its present template was ready as a whole at some time.
    pub proven: bool,
    /// Whether its deadline passed, or it does worse than the revision before.
    pub late: bool,
    /// How it does worse: a sentence.
    pub worse: Option<String>,
    pub on_failure: OnFailure,
    pub waiting: Vec<String>,
}

pub(super) struct Draft<'a> {
    pub snapshot: &'a Snapshot,
    pub now: Duration,
    pub creations: Vec<Creation>,
    pub outcomes: BTreeMap<Key, Outcome>,
    steps: Vec<Step>,
    waiting: Vec<Waiting>,
    wakes: BTreeMap<Unit, Duration>,
    /// Pods that this plan ends, and which unit said so.
    ending: BTreeMap<Key, Unit>,
    losing: BTreeMap<Key, Unit>,
}

impl<'a> Draft<'a> {
    pub fn new(snapshot: &'a Snapshot, now: Duration) -> Draft<'a> {
        Draft {
            snapshot,
            now,
            creations: Vec::new(),
            outcomes: BTreeMap::new(),
            steps: Vec::new(),
            waiting: Vec::new(),
            wakes: BTreeMap::new(),
            ending: BTreeMap::new(),
            losing: BTreeMap::new(),
        }
    }

    pub fn act(&mut self, unit: &Unit, action: Action) {
        self.steps.push(Step { unit: unit.clone(), action });
    }

    pub fn tell(&mut self, unit: &Unit, about: ObjectId, reason: &'static str, warning: bool, message: String) {
        self.act(unit, Action::Tell { about, reason, message, warning, name: None });
    }

    pub fn wait(&mut self, object: ObjectId, message: String) {
        self.waiting.push(Waiting { object, message });
    }

    /// Has the unit planned again at `at`, or earlier where it asked for that.
    pub fn wake(&mut self, unit: &Unit, at: Duration) {
        let wake = self.wakes.entry(unit.clone()).or_insert(at);
        *wake = at.min(*wake);
    }

    /// Ends a pod; its Services drop it in the same commit.
    pub fn end_pod(&mut self, unit: &Unit, pod: &Pod, why: &str) {
        let key = pod.meta.key.clone();
        if pod.meta.deleting || self.ending.insert(key.clone(), unit.clone()).is_some() {
            return;
        }
        for service in self.snapshot.services_of(&key.namespace, &pod.meta.labels) {
            self.losing.entry(service).or_insert_with(|| unit.clone());
        }
        self.act(unit, Action::DeletePod { pod: key, why: Name::from(why) });
    }

    pub fn is_ending(&self, pod: &Pod) -> bool {
        pod.meta.deleting || self.ending.contains_key(&pod.meta.key)
    }

    pub fn services_losing_pods(&self) -> impl Iterator<Item = Key> + use<> {
        self.losing.keys().cloned().collect::<BTreeSet<_>>().into_iter()
    }

    /// The unit whose commit should carry a Service's endpoints.
    pub fn unit_of_service(&self, service: &Key) -> Unit {
        self.losing.get(service).cloned().unwrap_or_else(|| Unit::Service(service.clone()))
    }

    pub fn into_plan(self) -> Plan {
        let wakes: Vec<(Unit, Duration)> = self.wakes.into_iter().collect();
        let wake_at = wakes.iter().map(|(_, at)| *at).min();
        Plan { actions: self.steps, wake_at, waiting: self.waiting, wakes }
    }
}

/// The object of a Deployment.
pub(super) fn id_of(deployment: &Deployment) -> ObjectId {
    ObjectId { kind: "Deployment", key: deployment.meta.key.clone() }
}
