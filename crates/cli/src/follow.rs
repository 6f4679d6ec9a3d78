//! Following a rollout until it is done, and saying why if it is not.

mod causes;

use anyhow::{Result, bail};
use scheduler::kinds;
use scheduler::names::ROLLED_BACK;
use serde_json::Value;

use crate::cluster::{Cluster, Deadline, Pick, Until, name_of};
use crate::print::{self, Progress};
use crate::target::{Part, part_of};
use crate::verbs::status;

/// What came of waiting for an app.
enum End {
    Ready,
    Failed(String),
}

/// Waits until an App's `generation` is ready. An error says why it is not: it failed, was rolled back, or time ran out.
pub async fn app(cluster: &Cluster, namespace: &str, name: &str, generation: i64, deadline: Deadline) -> Result<()> {
    let mut progress = Progress::start(format_args!("{name}: waiting for the scheduler"));
    let mut last = None;
    let end = cluster
        .until(&kinds::APP, namespace, name, deadline, |app| {
            let Some(app) = app else { bail!("app {name} was deleted meanwhile") };
            last = Some(app.clone());
            progress.set(summary(app));
            Ok(judge(app, generation))
        })
        .await;
    drop(progress);
    match end {
        Ok(End::Ready) => Ok(()),
        Ok(End::Failed(why)) => bail!("app {name} {}{}", steady(&why), details(cluster, namespace, name, last.as_ref(), &why).await),
        // What it waited for is the answer that matters, when time runs out.
        Err(error) => bail!("{}{}", print::chain(&error), details(cluster, namespace, name, last.as_ref(), "").await),
    }
}

fn judge(app: &Value, generation: i64) -> Until<End> {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let (now, seen) = (number(&app["metadata"]["generation"]), number(&app["status"]["observedGeneration"]));
    let phase = app["status"]["phase"].as_str().unwrap_or_default();
    let message = || app["status"]["message"].as_str().or(app["metadata"]["annotations"][ROLLED_BACK].as_str()).unwrap_or_default();
    if seen < generation {
        return Until::NotYet;
    }
    // Without its reason the phase is left from before this deploy, and about to change.
    let rolled_back = app["metadata"]["annotations"][ROLLED_BACK].is_string();
    match phase {
        "RolledBack" if rolled_back => Until::Done(End::Failed(because("was rolled back", message()))),
        "RolledBack" => Until::NotYet,
        "Failed" => Until::Done(End::Failed(because("failed", message()))),
        // The server rolls back by writing the old spec as a newer generation, and says so there.
        _ if now > generation => match app["metadata"]["annotations"][ROLLED_BACK].as_str() {
            Some(why) => Until::Done(End::Failed(because("was rolled back", why))),
            None => Until::Done(End::Failed(
                "was changed by someone else meanwhile; run this again if what you asked for shall count".to_owned(),
            )),
        },
        "Ready" => Until::Done(End::Ready),
        _ => Until::NotYet,
    }
}

fn because(what: &str, why: &str) -> String {
    // The server starts its sentence in the same way.
    let why = why.strip_prefix("rolled back: ").unwrap_or(why);
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

/// `shop: user 1/2, inventory 2/2; waiting: no node has 64Mi free`
fn summary(app: &Value) -> String {
    let services = app["status"]["services"].as_object().into_iter().flatten();
    let counts = services
        .map(|(name, service)| format!("{name} {}/{}", service["ready"].as_u64().unwrap_or(0), service["desired"].as_u64().unwrap_or(0)));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let mut waiting = status::reasons(app, &[]);
    // The counts say that already.
    waiting.retain(|reason| !reason.ends_with("pods are ready"));
    let waiting = if waiting.is_empty() { String::new() } else { format!("; {}", steady(&waiting.join("; "))) };
    format!("{}: {}{waiting}", name_of(app), if counts.is_empty() { "starting" } else { &counts })
}

/// Without when a pod starts again, which is another time with each try and old by the time it is read.
fn steady(text: &str) -> String {
    const AGAIN: &str = "it starts again in ";
    let mut parts = text.split(AGAIN);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |steady, part| steady + part.split_once(": ").map_or(part, |(_, what)| what))
}

/// What else is known than `why`: what is waited for, how pods crash. Starts with `; ` if it says anything.
async fn details(cluster: &Cluster, namespace: &str, name: &str, app: Option<&Value>, why: &str) -> String {
    let Some(app) = app else { return String::new() };
    // The pods of a revision that was rolled back may be gone; what the App itself says is enough then.
    let pods = cluster.items(&kinds::POD, Some(namespace), &Part { app: name.to_owned(), service: None }.pick()).await.unwrap_or_default();
    let message = app["status"]["message"].as_str().unwrap_or_default();
    let mut reasons = status::reasons(app, &pods);
    // The App's own message is told already.
    reasons.retain(|reason| reason != message && !said(why, reason));
    for cause in causes::of_app(cluster, namespace, app).await {
        if !said(why, &cause) && !reasons.iter().any(|reason| said(reason, &cause)) {
            reasons.push(cause);
        }
    }
    reasons.truncate(5);
    reasons.iter().map(|reason| format!("; {}", steady(reason))).collect()
}

/// Whether a text has what a reason comes down to in its end, after whom and what it is about.
fn said(text: &str, reason: &str) -> bool {
    text.contains(reason.rsplit(": ").next().unwrap_or(reason))
}

/// Waits until a Deployment has all its replicas, all of the newest revision and ready.
pub async fn deployment(cluster: &Cluster, namespace: &str, name: &str, deadline: Deadline) -> Result<()> {
    let mut progress = Progress::start(format_args!("{name}: waiting for the scheduler"));
    let mut last = None;
    let done = cluster
        .until(&kinds::DEPLOYMENT, namespace, name, deadline, |object| {
            let Some(object) = object else { bail!("deployment {name} was deleted meanwhile") };
            let count = |field: &str| object["status"][field].as_i64().unwrap_or(0);
            let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
            progress.set(format_args!("{}: {}/{wanted} ready", part_of(object), count("readyReplicas")));
            last = Some(object.clone());
            if let Some(why) = given_up(object) {
                bail!("{} failed: {why}", part_of(object));
            }
            let seen = count("observedGeneration") >= object["metadata"]["generation"].as_i64().unwrap_or(0);
            let whole = [count("replicas"), count("updatedReplicas"), count("readyReplicas")].iter().all(|have| *have == wanted);
            Ok(if seen && whole { Until::Done(()) } else { Until::NotYet })
        })
        .await;
    drop(progress);
    match done {
        Ok(()) => Ok(()),
        Err(error) => bail!("{}{}", print::chain(&error), waiting(cluster, namespace, last.as_ref()).await),
    }
}

/// The condition by which Kubernetes says that a rollout takes too long.
fn given_up(deployment: &Value) -> Option<&str> {
    let seen = deployment["status"]["observedGeneration"].as_i64() >= deployment["metadata"]["generation"].as_i64();
    let conditions = deployment["status"]["conditions"].as_array()?;
    let late =
        conditions.iter().find(|c| c["type"] == "Progressing" && c["status"] == "False" && c["reason"] == "ProgressDeadlineExceeded")?;
    seen.then(|| late["message"].as_str().unwrap_or("it was not ready by its deadline"))
}

/// Why a Deployment's image cannot be had, in the scheduler's words.
fn unresolved(deployment: &Value) -> Option<String> {
    let conditions = deployment["status"]["conditions"].as_array()?;
    let refused = conditions.iter().find(|c| c["type"] == "Progressing" && c["reason"] == "ImageUnresolved")?;
    refused["message"].as_str().map(str::to_owned)
}

async fn waiting(cluster: &Cluster, namespace: &str, deployment: Option<&Value>) -> String {
    if let Some(why) = deployment.and_then(unresolved) {
        return format!("; {}", print::harmless(&why));
    }
    let labels = deployment.and_then(|deployment| deployment["spec"]["selector"]["matchLabels"].as_object());
    let Some(labels) = labels else { return String::new() };
    let selector = labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(",");
    let pods = cluster.items(&kinds::POD, Some(namespace), &Pick::labels(selector)).await.unwrap_or_default();
    let mut reasons: Vec<String> = pods.iter().filter_map(|pod| status::trouble(pod).or_else(|| unplaced(pod))).collect();
    reasons.sort();
    reasons.dedup();
    reasons.truncate(3);
    if let Some(deployment) = deployment {
        let causes = causes::of_deployment(cluster, namespace, deployment).await;
        // Old troubles are events too, so the newest is enough.
        if let Some(newest) = causes.last().filter(|cause| !reasons.iter().any(|reason| said(reason, cause))) {
            reasons.push(newest.clone());
        }
    }
    reasons.iter().map(|reason| format!("; {}", print::harmless(reason))).collect()
}

/// Why a pod has no node, if it has none.
pub fn unplaced(pod: &Value) -> Option<String> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let scheduled = conditions.iter().find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")?;
    Some(format!("pod {}: {}", name_of(pod), scheduled["message"].as_str().unwrap_or("it has no node yet")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reason_stays_the_same_while_nothing_changes() {
        let reason =
            |time: &str| steady(&format!("a: CrashLoopBackOff: it starts again in {time}: trap; b: it starts again in {time}: trap"));
        assert_eq!(reason("250ms"), "a: CrashLoopBackOff: trap; b: trap");
        assert_eq!(reason("250ms"), reason("1.207s"));
        assert_eq!(steady("no node has 64Mi free"), "no node has 64Mi free");
    }

    #[test]
    fn an_image_that_cannot_be_had_is_the_reason_of_a_wait() {
        let condition = |reason: &str| json!({"status": {"conditions": [{"type": "Progressing", "status": "True", "reason": reason, "message": "web:1 cannot be resolved"}]}});
        assert_eq!(unresolved(&condition("ImageUnresolved")).as_deref(), Some("web:1 cannot be resolved"));
        assert_eq!(unresolved(&condition("ReplicaSetUpdated")), None);
    }

    fn check(app: Value) -> &'static str {
        match judge(&app, 2) {
            Until::NotYet => "wait",
            Until::Done(End::Ready) => "ready",
            Until::Done(End::Failed(why)) if why.contains("rolled back: it traps") => "rolled back",
            Until::Done(End::Failed(why)) if why.contains("else") => "changed",
            Until::Done(End::Failed(_)) => "failed",
        }
    }

    #[test]
    fn what_is_said_already_is_not_said_again() {
        let why = "m-b was not ready in time (m-b-1: Probe: liveness probe failed 1 times in a row: GET /nope answered 404)";
        assert!(said(why, "pod/m-b-1: the readiness probe failed: GET /nope answered 404"));
        assert!(!said(why, "pod/m-b-1: it trapped"));
        assert_eq!(because("was rolled back", "rolled back: it traps"), "was rolled back: it traps");
    }

    #[test]
    fn an_app_is_judged_by_the_generation_that_was_deployed() {
        let app = |generation: i64, seen: i64, phase: &str| json!({"metadata": {"generation": generation}, "status": {"observedGeneration": seen, "phase": phase}});
        assert_eq!(check(app(2, 1, "Ready")), "wait", "that is the generation before");
        assert_eq!(check(app(2, 2, "Progressing")), "wait");
        assert_eq!(check(app(2, 2, "Ready")), "ready");
        assert_eq!(check(app(2, 2, "Failed")), "failed");
        assert_eq!(check(app(3, 3, "Ready")), "changed");
        assert_eq!(check(app(2, 2, "RolledBack")), "wait", "that was before this deploy");
        let mut back = app(3, 3, "Progressing");
        back["metadata"]["annotations"] = json!({ROLLED_BACK: "it traps"});
        assert_eq!(check(back), "rolled back");
    }
}
