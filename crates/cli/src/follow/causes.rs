//! What went wrong in a rollout, from the events of its pods: they outlive the pods.

use jiff::Timestamp;
use scheduler::kinds;
use scheduler::names::{ROLLED_BACK, SERVICE};
use serde_json::Value;

use crate::cluster::{Cluster, Pick, name_of};
use crate::target::Part;
use crate::verbs::events::{self, About};

/// The most that are told.
const MOST: usize = 3;

/// Why the pods of an app's failed revision did not do. Nothing where that cannot be found out: it only adds to an error.
pub async fn of_app(cluster: &Cluster, namespace: &str, app: &Value) -> Vec<String> {
    let part = Part { app: name_of(app).to_owned(), service: None };
    let Ok(revisions) = cluster.items(&kinds::CONTROLLER_REVISION, Some(namespace), &part.pick()).await else { return Vec::new() };
    // Those of single services would only confuse the numbers.
    let whole: Vec<Value> = revisions.into_iter().filter(|revision| revision["metadata"]["labels"][SERVICE].is_null()).collect();
    let Some(since) = failed(app, &whole) else { return Vec::new() };
    let Ok(about) = About::part(cluster, &part).await else { return Vec::new() };
    found(cluster, namespace, &about, Some(since)).await
}

/// Why a Deployment that stands alone does not get on.
pub async fn of_deployment(cluster: &Cluster, namespace: &str, deployment: &Value) -> Vec<String> {
    let name = name_of(deployment);
    let own = vec![(kinds::DEPLOYMENT.kind.to_owned(), name.to_owned())];
    found(cluster, namespace, &About::Objects(own, vec![format!("{name}-")]), None).await
}

async fn found(cluster: &Cluster, namespace: &str, about: &About, since: Option<Timestamp>) -> Vec<String> {
    let events = cluster.items(&kinds::EVENT, Some(namespace), &Pick::default()).await.unwrap_or_default();
    told(&events::sorted(events.into_iter().filter(|event| about.covers(event)).collect()), since)
}

/// When the revision was written that did not work: the one before, if the server has gone back since.
fn failed(app: &Value, revisions: &[Value]) -> Option<Timestamp> {
    let generation = app["metadata"]["generation"].as_i64()?;
    let went_back = app["metadata"]["annotations"][ROLLED_BACK].is_string();
    let number = |revision: &Value| revision["revision"].as_i64().unwrap_or(0);
    let newest = revisions.iter().filter(|revision| number(revision) <= generation - i64::from(went_back)).max_by_key(|r| number(r))?;
    newest["metadata"]["creationTimestamp"].as_str()?.parse().ok()
}

/// Warnings since then, the newest last, each sort of them once: many pods fail in one way.
fn told(events: &[Value], since: Option<Timestamp>) -> Vec<String> {
    let since = since.map(|since| since.as_second());
    let late = |event: &Value| events::when(event).and_then(|when| when.parse::<Timestamp>().ok()).map(|when| when.as_second());
    let mut told: Vec<(String, String)> = Vec::new();
    for event in events.iter().rev() {
        // What an App says of itself is told already, and these are what follows from a cause.
        let follows = matches!(event["reason"].as_str(), Some("BackOff" | "NotReadyInTime"));
        let counts = event["type"] == "Warning" && event["involvedObject"]["kind"] != "App" && !follows && late(event) >= since;
        let (first, _) = events::message(event);
        if !counts || first.is_empty() || told.len() == MOST || told.iter().any(|(_, said)| *said == first) {
            continue;
        }
        told.push((events::subject(event), first));
    }
    told.reverse();
    told.into_iter().map(|(subject, first)| format!("{subject}: {first}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, sort: &str, second: u32, message: &str) -> Value {
        json!({"type": sort, "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"), "message": message,
            "involvedObject": {"kind": kind, "name": "m-b-1"}})
    }

    #[test]
    fn warnings_of_this_rollout_are_told_once() {
        let events = [
            event("Pod", "Warning", 1, "from the rollout before"),
            event("Pod", "Normal", 6, "started"),
            event("Pod", "Warning", 7, "GET /nope answered 404"),
            event("Pod", "Warning", 8, "it trapped\n0: a"),
            event("Pod", "Warning", 9, "GET /nope answered 404"),
            event("App", "Warning", 9, "going back to revision 1"),
        ];
        let since = "2026-01-01T00:00:05Z".parse().ok();
        assert_eq!(told(&events, since), ["pod/m-b-1: it trapped", "pod/m-b-1: GET /nope answered 404"]);
    }

    #[test]
    fn the_failed_revision_is_the_one_before_the_way_back() {
        let revisions = [1, 2, 3].map(|n| json!({"revision": n, "metadata": {"creationTimestamp": format!("2026-01-01T00:00:0{n}Z")}}));
        let mut app = json!({"metadata": {"generation": 3}});
        assert_eq!(failed(&app, &revisions).unwrap().to_string(), "2026-01-01T00:00:03Z");
        app["metadata"]["annotations"] = json!({ROLLED_BACK: "m-b was not ready in time"});
        assert_eq!(failed(&app, &revisions).unwrap().to_string(), "2026-01-01T00:00:02Z");
    }
}
