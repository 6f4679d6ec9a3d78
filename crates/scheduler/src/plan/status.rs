//! What a Deployment says of itself, in Kubernetes' words.

use crate::model::{Condition, Deployment, DeploymentStatus};
use std::time::Duration;

/// The Deployment's pods once this plan is carried out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub replicas: u32,
    pub updated: u32,
    pub ready: u32,
    pub available: u32,
    pub asleep: u32,
}

/// What happens to the rollout in this plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn<'a> {
    /// A revision is made, or taken up again.
    pub new_revision: bool,
    /// The template's image is not resolved yet.
    pub unresolved: bool,
    /// Why its registry did not resolve it: a sentence.
    pub refused: Option<&'a str>,
    /// How it does worse than the revision before: a sentence.
    pub worse: Option<&'a str>,
}

pub(super) struct Verdict {
    pub status: DeploymentStatus,
    /// The deadline starts again.
    pub progressed: bool,
    /// When the deadline passes.
    pub due: Option<Duration>,
    pub complete: bool,
}

pub(super) fn judge(deployment: &Deployment, totals: Totals, floor: u32, turn: Turn<'_>, now: Duration) -> Verdict {
    let was = &deployment.status;
    let complete = !turn.unresolved
        && totals.updated == deployment.replicas
        && totals.replicas == deployment.replicas
        && totals.available >= deployment.replicas;
    let more = totals.updated > was.updated || totals.ready > deployment.most_ready;
    let fewer_old = totals.replicas - totals.updated < was.replicas.saturating_sub(was.updated);
    let moved = turn.new_revision || more || fewer_old;
    let reason = |condition: &Condition| condition.reason.to_string();
    let proven = reason(&was.is_progressing) == PROVEN && !turn.new_revision && !turn.unresolved;
    let (progressing, progressed, due) = if complete && deployment.replicas == 0 && !proven {
        (Condition::new("True", STOPPED, "no pods are asked for"), moved, None)
    } else if complete {
        (Condition::new("True", PROVEN, "all pods of the revision are ready"), moved || !proven, None)
    } else if let Some(why) = turn.worse {
        (Condition::new("False", WORSE, why), false, None)
    } else if deployment.paused {
        (Condition::new("Unknown", "DeploymentPaused", "the rollout is paused"), false, None)
    } else if proven {
        // Scaled, or a pod crashed: the revision itself has shown that it works.
        (was.is_progressing.clone(), false, None)
    } else {
        moving(deployment, moved, turn, now)
    };
    let status = DeploymentStatus {
        observed: deployment.meta.generation,
        replicas: totals.replicas,
        updated: totals.updated,
        ready: totals.ready,
        available: totals.available,
        is_available: availability(totals.available, deployment.replicas, floor),
        is_progressing: progressing,
        asleep: totals.asleep > 0 && totals.asleep == totals.replicas,
    };
    Verdict { status, progressed, due, complete }
}

/// The reason of a revision that was ready as a whole.
pub(super) const PROVEN: &str = "NewReplicaSetAvailable";
/// The reason of a revision that does worse than the one before.
pub(super) const WORSE: &str = "CanaryFailed";
/// The reason of a revision that was never asked for a pod: it has shown nothing yet.
pub(super) const STOPPED: &str = "Stopped";
/// The reason of a revision whose image cannot be had.
pub(super) const UNRESOLVED: &str = "ImageUnresolved";
/// The reason of a revision that was not ready in time.
pub(super) const LATE: &str = "ProgressDeadlineExceeded";

fn moving(deployment: &Deployment, moved: bool, turn: Turn<'_>, now: Duration) -> (Condition, bool, Option<Duration>) {
    let was = &deployment.status.is_progressing;
    let started = matches!(&*was.reason, PROVEN | STOPPED | "");
    // What is watched does not move, and is not late for that.
    let patience = deployment.deadline.map(|deadline| deadline + deployment.bake);
    let due = patience.map(|patience| deployment.progressed + patience);
    if !moved && !started && due.is_some_and(|due| due <= now) {
        let seconds = patience.unwrap_or_default().as_secs();
        let why = turn.refused.map(|why| format!(": {why}")).unwrap_or_default();
        let message = format!("the revision is not ready, and nothing moved for {seconds} s{why}");
        return (Condition::new("False", LATE, &message), false, None);
    }
    let failed_before = matches!(&*was.reason, LATE | WORSE) && deployment.status.observed == deployment.meta.generation;
    if failed_before && !moved {
        return (was.clone(), false, None);
    }
    let under_way = matches!(&*was.reason, "NewReplicaSetCreated" | "ReplicaSetUpdated") && was.is_true();
    if under_way && !moved && !turn.unresolved {
        return (was.clone(), false, due);
    }
    let going = match turn {
        Turn { refused: Some(why), .. } => Condition::new("True", UNRESOLVED, why),
        Turn { unresolved: true, .. } => Condition::new("True", "ResolvingImage", "the image's exact digest is being asked for"),
        Turn { new_revision: true, .. } => Condition::new("True", "NewReplicaSetCreated", "a new revision is being rolled out"),
        _ => Condition::new("True", "ReplicaSetUpdated", "a new revision is being rolled out"),
    };
    let stamp = moved || started || failed_before;
    let due = if stamp { patience.map(|patience| now + patience) } else { due };
    (going, stamp, due)
}

fn availability(available: u32, desired: u32, floor: u32) -> Condition {
    let message = format!("{available} of {desired} pods are available");
    match available >= floor {
        true => Condition::new("True", "MinimumReplicasAvailable", &message),
        false => Condition::new("False", "MinimumReplicasUnavailable", &message),
    }
}
