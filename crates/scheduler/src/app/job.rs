//! What runs to its end: once, or whenever its time comes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::file::Unknown;
use super::object_name;
use super::quantity::Time;
use crate::model::canonical;

/// How a service runs to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// When it runs; none: once, at the deploy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// How often it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// How long one run may take; whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// What a run does that finds another at work.
    #[serde(skip_serializing_if = "Overlap::is_usual")]
    pub overlap: Overlap,
    /// How many runs are kept once they are over, of those that succeeded and of those that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<u32>,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

/// What a run does that finds another at work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It runs beside it.
    #[default]
    Allow,
    /// It waits for it.
    Forbid,
    /// It takes its place.
    Replace,
}

impl Overlap {
    fn is_usual(&self) -> bool {
        *self == Overlap::Allow
    }

    /// As in a CronJob.
    pub fn policy(self) -> &'static str {
        match self {
            Overlap::Allow => "Allow",
            Overlap::Forbid => "Forbid",
            Overlap::Replace => "Replace",
        }
    }
}

/// The name of the Job of a service that runs once, in an App with this spec. It changes with what the service asks for, and so a
/// changed service runs again, and an unchanged one does not.
pub fn job_name(app: &str, service: &str, spec: &Value) -> String {
    let asked = json!({ "env": spec["env"], "service": spec["services"][service] });
    let digest = Sha256::digest(canonical(&asked));
    let tail: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{tail}", object_name(app, service))
}
