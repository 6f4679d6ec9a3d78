//! What a pod's object tells of it when this node first sees it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::pod::{Unreadable, Wanted, sleep, slept, wanted};
use crate::instance::backoff::Backoff;
use crate::instance::phase::Reason;

/// What is read of a Pod once.
pub struct New {
    pub(super) wanted: Result<Arc<Wanted>, Unreadable>,
    pub(super) restarts: u32,
    pub(super) since: Option<Timestamp>,
    pub(super) backoff: Backoff,
    /// How long until its next life.
    pub(super) wait: Duration,
    pub(super) slept: bool,
}

impl New {
    /// Reads it.
    pub fn of(pod: &Pod) -> New {
        let (wanted, restarts) = (wanted(pod).map(Arc::new), restarts_of(pod));
        let limits = wanted.as_ref().map(|wanted| wanted.backoff).unwrap_or_default();
        let ago = ended_ago(pod, Timestamp::now());
        let backoff = Backoff::resumed(restarts, ago, &limits);
        let wait = ago.filter(|_| backs_off(pod)).map_or(Duration::ZERO, |ago| backoff.left(ago, &limits, rand::random()));
        let slept = slept(pod) && sleep(pod).is_some();
        New { wanted, restarts, since: since_of(pod), backoff, wait, slept }
    }
}

fn restarts_of(pod: &Pod) -> u32 {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    status.and_then(|status| u32::try_from(status.restart_count).ok()).unwrap_or(0)
}

fn since_of(pod: &Pod) -> Option<Timestamp> {
    pod.status.as_ref()?.start_time.as_ref().map(|time| time.0)
}

/// Whether it was waiting for its next life, rather than living, when it was last told of.
fn backs_off(pod: &Pod) -> bool {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    let waiting = status.and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    waiting == Some(Reason::Trap.waiting())
}

/// How long ago its last instance ended, if one did.
fn ended_ago(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let ended = status.last_state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?;
    // A clock that was set back makes it now.
    Some(Duration::try_from(now.duration_since(ended.0)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_seen_again_tells_how_long_ago_it_crashed() {
        let pod = |status: Value| serde_json::from_value::<Pod>(json!({"metadata": {"name": "a"}, "status": status})).expect("a pod");
        let now: Timestamp = "2026-01-01T00:00:10Z".parse().expect("a time");
        let crashed = |at: &str| {
            let ended = json!({"exitCode": 134, "finishedAt": at});
            let one =
                json!({"name": "a", "image": "a", "imageID": "", "ready": false, "restartCount": 4, "lastState": {"terminated": ended}});
            ended_ago(&pod(json!({"containerStatuses": [one]})), now)
        };
        assert_eq!(crashed("2026-01-01T00:00:07Z"), Some(Duration::from_secs(3)));
        assert_eq!(crashed("2026-01-01T00:01:07Z"), Some(Duration::ZERO));
        assert_eq!(ended_ago(&pod(json!({})), now), None);
    }

    #[test]
    fn a_pod_that_waited_goes_on_waiting_and_one_that_lived_lives() {
        let wait = |state: Value| {
            let ended = json!({"exitCode": 134, "finishedAt": Timestamp::now().to_string()});
            let one = json!({"name": "a", "image": "a", "imageID": "", "ready": false, "restartCount": 9, "state": state, "lastState": {"terminated": ended}});
            let pod = json!({"metadata": {"name": "a"}, "status": {"containerStatuses": [one]}});
            New::of(&serde_json::from_value(pod).expect("a pod")).wait
        };
        let waits = wait(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "it starts again in 12s: unreachable"}}));
        assert!(waits > Duration::from_secs(9) && waits <= Duration::from_millis(12_800), "{waits:?}");
        assert_eq!(wait(json!({"running": {}})), Duration::ZERO);
        assert_eq!(wait(json!({"waiting": {"reason": "ContainerCreating"}})), Duration::ZERO);
    }
}
