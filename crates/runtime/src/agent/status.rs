//! A pod's status as this node sees it, in the API's words.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use scheduler::names;
use serde_json::{Value, json};

use super::pod::Wanted;
use crate::instance::phase::{End, Phase, Reason};

/// All that status tells of a pod.
#[derive(Debug, Clone)]
pub struct View {
    /// Of the newest instance.
    pub phase: Phase,
    /// Whether requests should come.
    pub ready: bool,
    /// Why not, if a probe said so.
    pub unready: Option<String>,
    /// Ends of instances so far.
    pub restarts: u32,
    /// When the pod came to this node.
    pub since: Timestamp,
    /// When the newest instance began to run.
    pub started: Option<Timestamp>,
    /// When readiness last changed.
    pub turned: Timestamp,
    /// How the newest instance ended, or why it could not start.
    pub end: Option<End>,
    /// How long until the next one is made.
    pub wait: Duration,
    /// The last instance that ran: how it ended, when it began and when it ended.
    pub last: Option<(End, Option<Timestamp>, Timestamp)>,
    /// Whether the pod is over for good, and well.
    pub done: Option<bool>,
    /// Whether it sleeps: it is ready, and nothing of it runs.
    pub asleep: bool,
}

/// Longest message in a status; a backtrace's tail is worth less than a small object.
const MAX_MESSAGE: usize = 8 << 10;

/// The status of a pod on the node with this address.
pub fn status(wanted: &Wanted, view: &View, address: IpAddr) -> Value {
    let phase = match view.done {
        Some(true) => "Succeeded",
        Some(false) => "Failed",
        None if view.started.is_some() || view.last.is_some() => "Running",
        None => "Pending",
    };
    let reason = if view.ready { Value::Null } else { json!("ContainersNotReady") };
    let message = if view.ready { Value::Null } else { json!(not_ready(view)) };
    let condition = |kind: &str, holds: bool, at: Timestamp, reason: &Value, message: &Value| json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": time(at), "reason": reason, "message": message});
    let null = Value::Null;
    let mut status = json!({
        "phase": phase,
        "hostIP": address.to_string(),
        "podIP": address.to_string(),
        "podIPs": [{"ip": address.to_string()}],
        "hostIPs": [{"ip": address.to_string()}],
        "startTime": time(view.since),
        "conditions": [
            condition("Initialized", true, view.since, &null, &null),
            condition("Ready", view.ready, view.turned, &reason, &message),
            condition("ContainersReady", view.ready, view.turned, &reason, &message),
            condition("PodScheduled", true, view.since, &null, &null),
        ],
        "containerStatuses": [container(wanted, view)],
    });
    if let Some(conditions) = status["conditions"].as_array_mut().filter(|_| view.asleep) {
        conditions.push(json!({"type": names::ASLEEP, "status": "True", "reason": "Idle", "message": names::SLEEPS}));
    }
    status
}

fn container(wanted: &Wanted, view: &View) -> Value {
    let running = matches!(view.phase, Phase::Running | Phase::Draining);
    json!({
        "name": wanted.container,
        "image": wanted.image,
        "imageID": wanted.image,
        "containerID": format!("wctl://{}/{}", wanted.identity.uid, view.restarts),
        "ready": view.ready,
        "started": running,
        "restartCount": view.restarts,
        "state": state(view, running),
        "lastState": view.last.as_ref().map_or_else(|| json!({}), |(end, began, ended)| terminated(end, *began, *ended)),
    })
}

fn state(view: &View, running: bool) -> Value {
    if view.asleep {
        return json!({"waiting": {"reason": "Asleep", "message": names::SLEEPS}});
    }
    if running {
        return json!({"running": {"startedAt": time(view.started.unwrap_or(view.since))}});
    }
    match (&view.end, view.phase, view.done) {
        (Some(end), Phase::Ended, Some(_)) => {
            let (began, ended) = view.last.as_ref().map_or((None, view.turned), |(_, began, ended)| (*began, *ended));
            terminated(end, began, ended)
        }
        (Some(end), Phase::Ended, None) if end.reason == Reason::Stopped => {
            let (began, ended) = view.last.as_ref().map_or((None, view.turned), |(_, began, ended)| (*began, *ended));
            terminated(end, began, ended)
        }
        (Some(end), Phase::Ended, None) => {
            let again = if view.wait.is_zero() {
                "it starts again at once".to_owned()
            } else {
                format!("it starts again in {:?}", rounded(view.wait))
            };
            // The whole message, with its backtrace, is the last state's.
            let first = end.message.lines().next().unwrap_or_default();
            json!({"waiting": {"reason": end.reason.waiting(), "message": cut(&format!("{again}: {first}"))}})
        }
        _ => json!({"waiting": {"reason": "ContainerCreating"}}),
    }
}

fn terminated(end: &End, began: Option<Timestamp>, ended: Timestamp) -> Value {
    json!({"terminated": {
        "reason": end.reason.name(), "exitCode": end.reason.exit_code(), "message": cut(&end.message),
        "startedAt": began.map(time), "finishedAt": time(ended),
    }})
}

fn not_ready(view: &View) -> String {
    match (&view.unready, &view.end) {
        (Some(why), _) => cut(why).to_owned(),
        (None, Some(end)) => cut(end.message.lines().next().unwrap_or_default()).to_owned(),
        (None, None) if view.phase == Phase::Running => "its probe has not succeeded yet".to_owned(),
        (None, None) => format!("it is {}", view.phase),
    }
}

fn rounded(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_MESSAGE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(phase: Phase) -> View {
        let now = Timestamp::UNIX_EPOCH;
        View {
            phase,
            ready: false,
            unready: None,
            restarts: 0,
            since: now,
            started: None,
            turned: now,
            end: None,
            wait: Duration::ZERO,
            last: None,
            done: None,
            asleep: false,
        }
    }

    fn status_of(view: &View) -> Value {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "default", "uid": "u1"}, "spec": {"containers": [{"name": "web", "image": "r/web@sha256:00"}]},
        }));
        status(&super::super::pod::wanted(&pod.expect("a pod")).expect("readable"), view, IpAddr::from([127, 0, 0, 1]))
    }

    #[test]
    fn a_new_pod_is_pending_and_being_made() {
        let status = status_of(&view(Phase::Preparing));
        assert_eq!(status["phase"], "Pending");
        assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
        assert_eq!(status["conditions"][1]["status"], "False");
    }

    #[test]
    fn a_crash_shows_the_trap_now_and_as_the_last_state() {
        let end = End { reason: Reason::Trap, message: "5 traps in a row, the last: unreachable\n0: crash".into() };
        let now = Timestamp::UNIX_EPOCH;
        let crashed = View {
            restarts: 3,
            end: Some(end.clone()),
            wait: Duration::from_millis(400),
            last: Some((end, Some(now), now)),
            ..view(Phase::Ended)
        };
        let status = status_of(&crashed);
        let container = &status["containerStatuses"][0];
        assert_eq!(status["phase"], "Running");
        assert_eq!(container["restartCount"], 3);
        assert_eq!(container["state"]["waiting"]["reason"], "CrashLoopBackOff");
        assert!(container["state"]["waiting"]["message"].as_str().expect("text").starts_with("it starts again in 400ms: 5 traps"));
        assert_eq!(container["lastState"]["terminated"]["reason"], "Trap");
        assert_eq!(container["lastState"]["terminated"]["exitCode"], 134);
        assert!(container["lastState"]["terminated"]["message"].as_str().expect("text").contains("0: crash"));
    }

    #[test]
    fn m14_a_missing_secret_shows_as_a_config_error() {
        let end = End { reason: Reason::Config, message: "secret API_KEY is not set".into() };
        let status = status_of(&View { end: Some(end), wait: Duration::from_secs(1), ..view(Phase::Ended) });
        let waiting = &status["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(status["phase"], "Pending");
        assert_eq!(waiting["reason"], "CreateContainerConfigError");
        assert!(waiting["message"].as_str().expect("text").contains("secret API_KEY is not set"));
    }

    #[test]
    fn a_message_is_cut_at_a_character() {
        assert_eq!(cut(&"ü".repeat(MAX_MESSAGE)).len(), MAX_MESSAGE);
        assert_eq!(cut(&format!("a{}", "ü".repeat(MAX_MESSAGE))).len(), MAX_MESSAGE - 1);
    }
}
