//! What became of a request: who answered it, or why nobody did.

use std::sync::Arc;

use super::answer::Refusal;
use super::local::{Held, Identity};
use crate::sandbox::Failure;

/// Who gave an answer.
pub enum Answerer {
    /// A pod of this node.
    Here(Held),
    /// A pod of another, whose node counts and holds it.
    There(Arc<Identity>),
}

impl Answerer {
    /// The names of the pod.
    pub fn identity(&self) -> &Arc<Identity> {
        match self {
            Answerer::Here(held) => held.identity(),
            Answerer::There(identity) => identity,
        }
    }

    /// What holds the pod, where it is of this node.
    pub fn held(self) -> Option<Held> {
        match self {
            Answerer::Here(held) => Some(held),
            Answerer::There(_) => None,
        }
    }
}

/// A request that no guest answered.
pub struct Failed {
    /// What the client is told.
    pub refusal: Refusal,
    /// The pod that was asked.
    pub pod: Option<Arc<Identity>>,
    /// More, for the log.
    pub detail: Option<String>,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Failed {
        Failed { refusal, pod: None, detail: None }
    }
}

impl Failed {
    /// What a guest's failure means to the one who asked.
    pub fn of(failure: &Failure, held: &Held) -> Failed {
        let refusal = match failure {
            Failure::Busy(_) | Failure::NoMemory(_) => Refusal::Busy,
            Failure::Trap { .. } => Refusal::Trap,
            Failure::Exit(_) | Failure::NoResponse | Failure::Gone => Refusal::NoAnswer,
            Failure::Deadline(_) | Failure::Starved { .. } => Refusal::Deadline,
            Failure::Refused(_) => Refusal::BadAnswer,
        };
        Failed { refusal, pod: Some(held.identity().clone()), detail: Some(failure.whole()) }
    }

    /// The same, and the instance's health learns of it.
    pub fn count(failure: &Failure, held: &Held) -> Failed {
        held.instance.health.failed(failure);
        // One that is full is not a bad one, nor one whose client went.
        if !matches!(failure, Failure::Busy(_) | Failure::NoMemory(_) | Failure::Gone) {
            held.failed();
        }
        Failed::of(failure, held)
    }
}
