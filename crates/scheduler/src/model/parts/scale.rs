//! How many pods a load wants.

use super::{Condition, Key, Meta, Name};
use std::collections::BTreeMap;
use std::time::Duration;

/// A HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaler {
    /// Name, version, owner.
    pub meta: Meta,
    /// The Deployment whose `replicas` it owns.
    pub target: Key,
    /// The fewest pods.
    pub min: u32,
    /// The most pods.
    pub max: u32,
    /// What it aims at; the one that wants the most pods counts.
    pub aims: Vec<Aim>,
    /// How long the load must have been lower before pods go.
    pub window: Duration,
    /// Whether pods may be added, and taken away.
    pub may: (bool, bool),
    /// As last written.
    pub status: ScalerStatus,
    /// When this leader last saw its status change.
    pub told: Duration,
}

/// What a pod should have on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    /// Of what.
    pub measure: Measure,
    /// How much, in thousandths; of `CpuShare` in per cent of the pod's request.
    pub value: u64,
}

/// What is counted of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Requests that it works on.
    Concurrency,
    /// Requests in a second.
    Requests,
    /// CPU time, in cores.
    Cpu,
    /// CPU time, in per cent of what it requests.
    CpuShare,
}

/// What a node counted of one pod, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Requests that it works on.
    pub concurrency: u64,
    /// Requests in a second.
    pub requests: u64,
    /// Cores.
    pub cpu: u64,
    /// Requests of about the last two minutes, not in thousandths.
    pub asked: u64,
    /// Those of them that it failed, or answered with a status from 500.
    pub failed: u64,
}

/// The loads of a node's busy pods by UID; idle ones are left out.
pub type Loads = BTreeMap<Name, Load>;

/// What a Scaler says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScalerStatus {
    /// The generation that this is about.
    pub observed: i64,
    /// Pods asked for before.
    pub current: u32,
    /// Pods asked for now.
    pub desired: u32,
    /// What each aim's pods have on average, in the aims' own units; none where there is nothing to count.
    pub now: Vec<Option<u64>>,
    /// When it last changed the number of pods, in seconds since 1970.
    pub scaled: Option<i64>,
    /// Whether it could change the number of pods.
    pub able: Condition,
    /// Whether it knows the load.
    pub active: Condition,
    /// Whether `min` or `max` held it back.
    pub limited: Condition,
}

/// How many pods were wanted lately, with when: later ones are smaller. What is older than the window is gone.
pub type Advice = Vec<(Duration, u32)>;
