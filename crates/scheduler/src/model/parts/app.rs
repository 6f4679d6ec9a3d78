//! An App, its generations and its state.

use super::{Meta, Name, ObjectId};
use std::collections::BTreeMap;

/// What an App asks for and how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Name, version, owner.
    pub meta: Meta,
    /// How many services its file names.
    pub services: usize,
    /// The objects that it stands for, of which each is to be there and its own.
    pub parts: Vec<ObjectId>,
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
    /// Whether all its pods sleep until a request comes.
    pub asleep: bool,
}

/// One generation of an App, kept so that it can come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Name, version, owner.
    pub meta: Meta,
    /// The App's generation.
    pub number: i64,
    /// The same number for generations that differ in nothing but how many pods there are.
    pub rollout: u64,
}
