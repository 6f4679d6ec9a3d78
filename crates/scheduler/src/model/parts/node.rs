//! A machine and its sign of life.

use super::{Meta, Name};
use crate::model::Resources;
use std::time::Duration;

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
    /// Where it is reached; empty while unknown.
    pub address: Name,
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
