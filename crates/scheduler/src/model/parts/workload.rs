//! Deployments and their revisions: so many pods of one template.

use super::{Condition, Labels, Meta, Name};
use crate::model::Resources;
use std::time::Duration;

/// A number of pods, or a share of those asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many in a hundred.
    Percent(u32),
}

impl Share {
    /// Of `of` pods; a part of a pod counts as one, or not at all.
    pub fn of(self, of: u32, round_up: bool) -> u32 {
        match self {
            Share::Count(count) => count,
            Share::Percent(percent) => {
                let hundredths = u64::from(of) * u64::from(percent);
                let whole = if round_up { hundredths.div_ceil(100) } else { hundredths / 100 };
                u32::try_from(whole).unwrap_or(u32::MAX)
            }
        }
    }
}

/// What to do with a revision that is not ready in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Go back to the last good revision of the App.
    RollBack,
    /// Stay, and say so.
    Stay,
}

/// Of a pod template, what the plan must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Canonical JSON of the whole template.
    pub text: Name,
    /// The labels of its pods.
    pub labels: Labels,
    /// Image of its container, as typed or exact.
    pub image: Name,
    /// What each pod takes of a node.
    pub need: Claim,
}

/// What a pod takes of a node, and which nodes it may be on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// Its requests.
    pub resources: Resources,
    /// Ports of the node that it listens on.
    pub ports: Vec<u16>,
    /// Labels that its node must have.
    pub node_labels: Labels,
    /// The node labels whose values it is spread over, the first before the others; nodes come last in any case.
    pub spread: Vec<Name>,
}

/// What a Deployment asks for and how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Name, version, owner.
    pub meta: Meta,
    /// Pods asked for.
    pub replicas: u32,
    /// Whether the rollout is paused.
    pub paused: bool,
    /// Whether all old pods go before the first new one comes.
    pub recreate: bool,
    /// How many pods more than asked for there may be.
    pub surge: Share,
    /// How many pods fewer than asked for may be ready.
    pub unavailable: Share,
    /// How long a rollout may make no progress; `None`: for ever.
    pub deadline: Option<Duration>,
    /// How many old ReplicaSets are kept.
    pub history: usize,
    /// How long a pod must be ready before it counts.
    pub min_ready: Duration,
    /// How long the first pods of a revision are watched before the rollout goes on.
    pub bake: Duration,
    /// The share of the pods and of the requests, in per cent, that a new revision gets until it has baked.
    pub canary: Option<u32>,
    /// What to do when the deadline passes.
    pub on_failure: OnFailure,
    /// Its pods, as typed.
    pub template: Template,
    /// The number of its revision, as last written.
    pub revision: u64,
    /// Why it was changed, as its author says.
    pub cause: Name,
    /// As last written.
    pub status: DeploymentStatus,
    /// What the Progressing condition says about when; only compared with what it said before.
    pub progress_stamp: Name,
    /// When this leader last saw it make progress.
    pub progressed: Duration,
    /// Most pods that this leader saw ready at once with this template: a pod that flaps makes no progress.
    pub most_ready: u32,
}

/// A Deployment's status in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeploymentStatus {
    /// The generation that this is about.
    pub observed: i64,
    /// Pods that are there and stay.
    pub replicas: u32,
    /// Of these, of the newest revision.
    pub updated: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Of these, ready for long enough.
    pub available: u32,
    /// Whether enough pods are available.
    pub is_available: Condition,
    /// Whether the rollout goes on.
    pub is_progressing: Condition,
    /// Whether all of its pods sleep.
    pub asleep: bool,
}

/// A revision of a Deployment: so many pods of one exact template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSet {
    /// Name, version, owner.
    pub meta: Meta,
    /// Pods asked for.
    pub replicas: u32,
    /// The number of the revision.
    pub revision: u64,
    /// Why it came to be, as its author says.
    pub cause: Name,
    /// The Deployment's template as typed, canonical JSON; empty for a ReplicaSet made by hand.
    pub typed: Name,
    /// Its pods, exact.
    pub template: Template,
    /// How long a pod must be ready before it counts.
    pub min_ready: Duration,
    /// As last written.
    pub status: SetStatus,
}

/// A ReplicaSet's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetStatus {
    /// The generation that this is about.
    pub observed: i64,
    /// Pods that are there and stay.
    pub replicas: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Of these, ready for long enough.
    pub available: u32,
}
