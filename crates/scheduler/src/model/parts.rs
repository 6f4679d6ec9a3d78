//! One struct for each kind that the plan looks into.

use super::Resources;
use crate::kinds::Kind;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A short shared text.
pub type Name = Arc<str>;
/// Labels, shared by the pods of one template.
pub type Labels = Arc<BTreeMap<String, String>>;

/// Where an object is: its namespace (`""` for kinds without) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

impl Key {
    /// The key of these names.
    pub fn new(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    /// Another object in the same namespace.
    pub fn sibling(&self, name: &str) -> Key {
        Key { namespace: self.namespace.clone(), name: name.into() }
    }
}

impl fmt::Display for Key {
    /// Its name, with the namespace before it unless that is the default one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" | crate::names::DEFAULT_NAMESPACE => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// An object of any kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind as in a manifest.
    pub kind: &'static str,
    /// Where it is.
    pub key: Key,
}

impl ObjectId {
    /// The object of this kind.
    pub fn new(kind: &'static Kind, key: Key) -> ObjectId {
        ObjectId { kind: kind.kind, key }
    }
}

/// The owner that an object names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its kind as in a manifest.
    pub kind: Name,
    /// Its name, in the same namespace or none.
    pub name: Name,
    /// Which one of that name.
    pub uid: Name,
}

/// What every object has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Where it is.
    pub key: Key,
    /// Which one of that name.
    pub uid: Name,
    /// Its resourceVersion.
    pub version: u64,
    /// Counts changes of what is asked for.
    pub generation: i64,
    /// Its labels.
    pub labels: Labels,
    /// Its controller, or its first owner.
    pub owner: Option<Owner>,
    /// Seconds since 1970 when it was made; only ever compared with another object's.
    pub born: i64,
    /// Whether its deletion was asked for.
    pub deleting: bool,
}

/// What an App asks for and how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Name, version, owner.
    pub meta: Meta,
    /// How many services its file names.
    pub services: usize,
    /// Why the present generation is an older one again.
    pub rolled_back: Option<Name>,
    /// As last written.
    pub status: AppStatus,
}

/// How far an App is. Forward only within one generation, but for `Ready`, which a crash takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    /// Nothing was said yet.
    #[default]
    Unknown,
    /// Not all services are ready yet.
    Progressing,
    /// All services are at their revision with all their pods ready.
    Ready,
    /// A service was not ready by its deadline, and there was nothing to go back to.
    Failed,
    /// The revision before is back, and ready.
    RolledBack,
}

impl Phase {
    /// As in a status.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Unknown => "",
            Phase::Progressing => "Progressing",
            Phase::Ready => "Ready",
            Phase::Failed => "Failed",
            Phase::RolledBack => "RolledBack",
        }
    }

    /// From a status.
    pub fn parse(text: &str) -> Phase {
        let all = [Phase::Progressing, Phase::Ready, Phase::Failed, Phase::RolledBack];
        all.into_iter().find(|phase| phase.as_str() == text).unwrap_or_default()
    }
}

/// An App's status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppStatus {
    /// How far it is.
    pub phase: Phase,
    /// The generation that this is about.
    pub observed: i64,
    /// The newest generation that was ready as a whole: where a roll back goes.
    pub good: Option<i64>,
    /// By service.
    pub services: BTreeMap<String, ServiceStatus>,
    /// What it waits for, a sentence each.
    pub waiting: Vec<String>,
    /// The state in one sentence.
    pub message: String,
}

/// The state of one service of an App.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceStatus {
    /// Pods that may get requests.
    pub ready: u32,
    /// Pods asked for.
    pub desired: u32,
    /// Pods of the newest revision.
    pub updated: u32,
    /// The number of its revision.
    pub revision: u64,
}

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
    /// Labels that its node must have.
    pub node_labels: Labels,
    /// The node label whose values it is spread over; empty: over nodes.
    pub spread: Name,
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
    /// What to do when the deadline passes.
    pub on_failure: OnFailure,
    /// Its pods, as typed.
    pub template: Template,
    /// The number of its revision, as last written.
    pub revision: u64,
    /// As last written.
    pub status: DeploymentStatus,
    /// What the Progressing condition says about when; only compared with what it said before.
    pub progress_stamp: Name,
    /// When this leader last saw it make progress.
    pub progressed: Duration,
    /// Most pods that this leader saw ready at once with this template: a pod that flaps makes no progress.
    pub most_ready: u32,
}

/// Whether something holds, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// `True`, `False`, `Unknown`; empty where it was never written.
    pub status: Name,
    /// One word for programs.
    pub reason: Name,
    /// A sentence for people.
    pub message: Name,
}

impl Condition {
    /// A condition with this content.
    pub fn new(status: &str, reason: &str, message: &str) -> Condition {
        Condition { status: status.into(), reason: reason.into(), message: message.into() }
    }

    /// Whether it holds.
    pub fn is_true(&self) -> bool {
        &*self.status == "True"
    }
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

/// Why a pod is not well, in the agent's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// One word: `CrashLoopBackOff`, `ImagePullBackOff`, `Trap` …
    pub reason: Name,
    /// A sentence.
    pub message: Name,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Name, version, owner.
    pub meta: Meta,
    /// The node that it is bound to.
    pub node: Option<Name>,
    /// What it takes of its node.
    pub need: Claim,
    /// Whether it ended for good (Failed or Succeeded).
    pub ended: bool,
    /// Since when this leader knows it as ready.
    pub ready: Option<Duration>,
    /// Its address; empty while unknown.
    pub address: Name,
    /// How often its instance was restarted.
    pub restarts: u32,
    /// Why it is not well.
    pub trouble: Option<Trouble>,
    /// Why it is not placed, as last written.
    pub unplaced: Option<Name>,
}

/// Pods by label under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name, version, owner.
    pub meta: Meta,
    /// Labels of its pods; empty: none.
    pub selector: Labels,
    /// The port of its pods.
    pub port: u16,
}

/// The ready pods of one Service, as last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Name, version, owner.
    pub meta: Meta,
    /// The Service's name; empty where no label says.
    pub service: Name,
    /// The pods' port.
    pub port: u16,
    /// In order of pod name.
    pub endpoints: Vec<Endpoint>,
}

/// A pod that may get requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The pod's name.
    pub pod: Name,
    /// The pod's UID.
    pub uid: Name,
    /// Its node.
    pub node: Name,
    /// Its address.
    pub address: Name,
}

/// Whether a node is ready, as last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeReady {
    /// It says so itself.
    Yes,
    /// It says not.
    No,
    /// It went silent: a leader wrote so.
    Lost,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name, version, labels.
    pub meta: Meta,
    /// What its pods may take together.
    pub capacity: Resources,
    /// Whether new pods are kept away.
    pub cordoned: bool,
    /// As last written.
    pub ready: NodeReady,
}

/// A node's sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its resourceVersion.
    pub version: u64,
    /// When this leader saw it change, or first looked.
    pub seen: Duration,
    /// Whether this leader saw it change at all.
    pub renewed: bool,
}

/// One generation of an App, kept so that it can come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Name, version, owner.
    pub meta: Meta,
    /// The App's generation.
    pub number: i64,
}
