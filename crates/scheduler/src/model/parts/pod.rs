//! One replica, as its agent tells of it.

use super::{Claim, Meta, Name};
use std::time::Duration;

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
    /// Whether it goes as soon as another has taken its place.
    pub evicted: bool,
    /// After how many seconds without a request it may sleep, as last written.
    pub sleep: Option<u64>,
    /// Whether it sleeps: ready, and nothing of it runs.
    pub asleep: bool,
    /// Whether that end was a success.
    pub succeeded: bool,
    /// Whether its Job's status counts its end already.
    pub counted: bool,
    /// Its number among the pods of its Job, where those have one.
    pub index: Option<u32>,
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
