//! What to do next about one pod: a function of what is assigned, what runs and the time.

use std::time::Duration;

use crate::instance::phase::Phase;

/// What the API says about a pod of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// Told to go, with this long for requests in flight.
    pub deleted: Option<Duration>,
    /// Its status says that it ended for good (a finished job, an evicted pod).
    pub finished: bool,
}

/// What the node has of a pod. Times are the node's own, since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Of its newest instance.
    pub phase: Phase,
    /// After `Ended`: when the next instance may start.
    pub again_at: Duration,
    /// Whether the API was asked to delete the pod, and when that may be asked again.
    pub asked_at: Option<Duration>,
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make the pod's next instance.
    Start,
    /// Take the instance out of routing, let it finish within the grace, end it.
    Drain(Duration),
    /// Tell the API that nothing of the pod is left, so that it deletes it.
    Delete,
    /// Drop what the node knows of the pod.
    Forget,
    /// Nothing now; look again then.
    Wait(Duration),
}

/// Time after which an unanswered deletion is asked for again.
pub const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Grace of a pod that vanished from the API without a word (deleted by force).
pub const VANISHED_GRACE: Duration = Duration::from_secs(5);

/// The next step for one pod; `None` when nothing is to be done until something changes.
pub fn step(assigned: Option<&Assigned>, running: Option<&Running>, now: Duration) -> Option<Step> {
    match (assigned, running) {
        (None, None) => None,
        (None, Some(running)) if running.phase == Phase::Ended => Some(Step::Forget),
        (None, Some(running)) => drain(running, VANISHED_GRACE),
        (Some(assigned), running) => match (assigned.deleted, running) {
            (Some(_), None) => Some(Step::Delete),
            (Some(_), Some(running)) if running.phase == Phase::Ended => match running.asked_at {
                Some(asked) if now < asked + ASK_AGAIN => Some(Step::Wait(asked + ASK_AGAIN)),
                _ => Some(Step::Delete),
            },
            (Some(grace), Some(running)) => drain(running, grace),
            (None, None) if assigned.finished => None,
            (None, None) => Some(Step::Start),
            (None, Some(running)) if running.phase != Phase::Ended || assigned.finished => None,
            (None, Some(running)) if now < running.again_at => Some(Step::Wait(running.again_at)),
            (None, Some(_)) => Some(Step::Start),
        },
    }
}

fn drain(running: &Running, grace: Duration) -> Option<Step> {
    // A drain in progress has its own deadline; a second order must not extend it.
    (running.phase < Phase::Draining).then_some(Step::Drain(grace))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line: `now | assigned | running` → the step. Assigned: `-`, `yes`, `deleted 5s`, `finished`.
    /// Running: `-`, a phase, `ended again 3s`, `ended asked 3s`.
    fn check(story: &str) {
        for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (left, want) = line.split_once("=>").expect("a line has an arrow");
            let parts: Vec<_> = left.split('|').map(str::trim).collect();
            let got = step(assigned(parts[1]).as_ref(), running(parts[2]).as_ref(), secs(parts[0]));
            assert_eq!(text(got), want.trim(), "{line}");
        }
    }

    fn secs(text: &str) -> Duration {
        Duration::from_secs(text.trim_end_matches('s').parse().expect("seconds"))
    }

    fn assigned(text: &str) -> Option<Assigned> {
        let words: Vec<_> = text.split(' ').collect();
        match words[..] {
            ["-"] => None,
            ["yes"] => Some(Assigned { deleted: None, finished: false }),
            ["finished"] => Some(Assigned { deleted: None, finished: true }),
            ["deleted", grace] => Some(Assigned { deleted: Some(secs(grace)), finished: false }),
            _ => panic!("assigned: {text}"),
        }
    }

    fn running(text: &str) -> Option<Running> {
        let words: Vec<_> = text.split(' ').collect();
        let at = |phase| Some(Running { phase, again_at: Duration::ZERO, asked_at: None });
        match words[..] {
            ["-"] => None,
            ["preparing"] => at(Phase::Preparing),
            ["running"] => at(Phase::Running),
            ["draining"] => at(Phase::Draining),
            ["ended"] => at(Phase::Ended),
            ["ended", "again", when] => Some(Running { phase: Phase::Ended, again_at: secs(when), asked_at: None }),
            ["ended", "asked", when] => Some(Running { phase: Phase::Ended, again_at: Duration::ZERO, asked_at: Some(secs(when)) }),
            _ => panic!("running: {text}"),
        }
    }

    fn text(step: Option<Step>) -> String {
        match step {
            None => "nothing".into(),
            Some(Step::Start) => "start".into(),
            Some(Step::Drain(grace)) => format!("drain {}s", grace.as_secs()),
            Some(Step::Delete) => "delete".into(),
            Some(Step::Forget) => "forget".into(),
            Some(Step::Wait(until)) => format!("wait {}s", until.as_secs()),
        }
    }

    #[test]
    fn a_pod_lives_and_goes() {
        check(
            "0s | yes        | -               => start
             1s | yes        | preparing       => nothing
             2s | yes        | running         => nothing
             3s | deleted 5s | running         => drain 5s
             3s | deleted 5s | draining        => nothing
             4s | deleted 5s | ended           => delete
             5s | deleted 5s | ended asked 4s  => wait 6s
             6s | deleted 5s | ended asked 4s  => delete
             6s | -          | ended           => forget
             7s | -          | -               => nothing",
        );
    }

    #[test]
    fn a_crashed_pod_waits_for_its_time() {
        check(
            "1s | yes | ended again 3s => wait 3s
             3s | yes | ended again 3s => start
             1s | deleted 5s | ended again 3s => delete",
        );
    }

    #[test]
    fn a_pod_that_never_started_here_is_deleted_at_once_and_a_finished_one_never_starts() {
        check(
            "0s | deleted 30s | - => delete
             0s | finished | - => nothing
             9s | finished | ended => nothing",
        );
    }

    #[test]
    fn a_pod_that_vanished_is_drained_then_forgotten() {
        check(
            "1s | - | preparing => drain 5s
             1s | - | running => drain 5s
             2s | - | draining => nothing
             3s | - | ended => forget",
        );
    }

    #[test]
    fn a_second_deletion_does_not_extend_the_first() {
        check("9s | deleted 60s | draining => nothing");
    }
}
