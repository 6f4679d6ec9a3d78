//! How a change of an app replaces its pods, and what happens when it does not work.

use serde::{Deserialize, Serialize};

use super::file::Unknown;
use super::quantity::{Share, Time};

/// How a change replaces pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    /// Pods above `replicas` meanwhile.
    pub surge: Share,
    /// Pods of `replicas` that may be missing meanwhile.
    pub unavailable: Share,
    /// How long a new pod may take to be ready; whole seconds.
    pub deadline: Time,
    /// The share of the pods and of the requests that a new revision gets first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Share>,
    /// How long a ready new revision is watched before the rollout goes on.
    pub bake: Time,
    /// What happens when a revision is not ready in time.
    pub on_failure: OnFailure,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

impl Default for Rollout {
    fn default() -> Self {
        let (surge, unavailable) = (Share::Count(1), Share::Count(0));
        Self {
            surge,
            unavailable,
            deadline: Time::seconds(60),
            canary: None,
            bake: Time::seconds(0),
            on_failure: OnFailure::Rollback,
            unknown: Unknown::new(),
        }
    }
}

/// What happens when a revision is not ready in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The whole app goes back to its last good revision.
    Rollback,
    /// It stays as it is, for a person to look at.
    Pause,
}

impl OnFailure {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            OnFailure::Rollback => "rollback",
            OnFailure::Pause => "pause",
        }
    }
}
