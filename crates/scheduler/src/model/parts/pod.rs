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
