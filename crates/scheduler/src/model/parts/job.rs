//! Work that ends: Jobs, and CronJobs that make them.

use super::{Condition, Meta, Name, Template};
use std::collections::BTreeSet;
use std::time::Duration;

/// What a Job asks for and how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Name, version, owner.
    pub meta: Meta,
    /// Pods that may run at once.
    pub parallelism: u32,
    /// Pods that must succeed; `None`: one, after which no more are made.
    pub completions: Option<u32>,
    /// Whether each pod has a number of its own, from 0 on.
    pub indexed: bool,
    /// Failures after which it is given up.
    pub retries: u32,
    /// How long it may take; `None`: for ever.
    pub deadline: Option<Duration>,
    /// How long it is kept once it is over; `None`: for ever.
    pub keep: Option<Duration>,
    /// Whether it waits, without pods.
    pub suspended: bool,
    /// The first and the longest wait between a failure and the next pod.
    pub backoff: (Duration, Duration),
    /// Its pods, exact.
    pub template: Template,
    /// As last written.
    pub status: JobStatus,
    /// When its end was written, in seconds since 1970.
    pub end_stamp: Option<i64>,
    /// When it began, on this leader's clock.
    pub began: Option<Duration>,
    /// When it was over, on this leader's clock.
    pub over: Option<Duration>,
    /// When this leader last saw one of its pods fail.
    pub failed: Option<Duration>,
}

/// A Job's status in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobStatus {
    /// Pods that run or wait.
    pub active: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Pods on their way out.
    pub leaving: u32,
    /// Pods that succeeded, those that are gone too.
    pub succeeded: u32,
    /// Pods that failed, those that are gone too.
    pub failed: u32,
    /// The numbers of those that succeeded, where pods have numbers.
    pub indexes: BTreeSet<u32>,
    /// When it began, in seconds since 1970.
    pub started: Option<i64>,
    /// When it succeeded, in seconds since 1970.
    pub completed: Option<i64>,
    /// How it will end, once its last pod is gone: `SuccessCriteriaMet` or `FailureTarget`.
    pub target: Option<(Ending, Condition)>,
    /// How it ended: `Complete` or `Failed`.
    pub end: Option<(Ending, Condition)>,
    /// Whether it waits, where that was ever said.
    pub suspended: Option<bool>,
}

/// How a Job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As many pods succeeded as were asked for.
    Complete,
    /// It was given up.
    Failed,
}

impl Job {
    /// Whether it is over.
    pub fn ended(&self) -> Option<Ending> {
        self.status.end.as_ref().map(|(ending, _)| *ending)
    }
}

/// What a CronJob asks for and how it fares. Its times are wall time, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronJob {
    /// Name, version, owner.
    pub meta: Meta,
    /// Its cron line.
    pub schedule: Name,
    /// An IANA time zone; `None`: UTC.
    pub zone: Option<Name>,
    /// How late, in seconds, a tick may still run; `None`: however late.
    pub latest: Option<i64>,
    /// What a tick does that finds an earlier one at work.
    pub overlap: Overlap,
    /// Whether its ticks pass unused.
    pub suspended: bool,
    /// Successful and failed Jobs that are kept.
    pub history: (usize, usize),
    /// As last written.
    pub status: CronStatus,
}

/// What a tick does that finds an earlier one at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It runs beside it.
    Allow,
    /// It waits for it, and is left out if its time is over then.
    Forbid,
    /// It takes its place.
    Replace,
}

/// A CronJob's status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CronStatus {
    /// The Jobs at work, by name and UID.
    pub active: BTreeSet<(Name, Name)>,
    /// The last tick that ran.
    pub last: Option<i64>,
    /// When one last succeeded.
    pub succeeded: Option<i64>,
}
