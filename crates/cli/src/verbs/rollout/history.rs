//! `wctl rollout history`: the rollouts of an app, what each changed, and which failed.

use anyhow::Result;
use jiff::Timestamp;
use scheduler::app::same_rollout;
use scheduler::names::{FAILED, RESTARTED_AT, ROLLED_BACK};
use serde_json::{Value, json};

use super::{find, number, revision_spec, revisions, whole_app};
use crate::args::{Format, Globals};
use crate::cluster::{Cluster, name_of};
use crate::print::{self, Table};
use crate::target::Part;
use crate::time;

/// Lists them, or shows all of the revision with a number.
pub async fn run(globals: &Globals, part: &Part, revision: Option<i64>, format: Format) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let app = whole_app(&cluster, part).await?;
    let revisions = revisions(&cluster, part).await?;
    if let Some(number) = revision {
        let spec = &find(&revisions, number, &part.app)?["data"];
        return print::value(spec, if format == Format::Table { Format::Yaml } else { format });
    }
    match format {
        Format::Json | Format::Yaml => {
            print::value(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": revisions}), format)?;
        }
        Format::Name => revisions.iter().for_each(|revision| print::line(format_args!("controllerrevision.apps/{}", name_of(revision)))),
        _ => {
            let deployments = part.deployments(&cluster).await?;
            table(&revisions, &app, &deployments, part, format).print();
        }
    }
    Ok(())
}

/// Revisions that differ in nothing but how many pods there are: a rollout, and the scales after it.
pub struct Rollout<'a>(Vec<&'a Value>);

impl<'a> Rollout<'a> {
    /// All of them, oldest first, from revisions in this order.
    pub fn all(revisions: &'a [Value]) -> Vec<Rollout<'a>> {
        let mut all: Vec<Rollout> = Vec::new();
        for revision in revisions {
            match all.last_mut() {
                Some(last) if same_rollout(last.spec(), revision_spec(revision)) => last.0.push(revision),
                _ => all.push(Rollout(vec![revision])),
            }
        }
        all
    }

    /// The newest revision: its number is the one that `deploy`, `get` and `undo` name.
    pub fn newest(&self) -> &'a Value {
        self.0[self.0.len() - 1]
    }

    /// What it says.
    pub fn spec(&self) -> &'a Value {
        revision_spec(self.newest())
    }

    /// Whether the server went back from it.
    pub fn failed(&self) -> bool {
        self.annotation(FAILED).is_some()
    }

    fn annotation(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|revision| revision["metadata"]["annotations"][name].as_str())
    }

    fn since(&self) -> Option<&'a str> {
        self.0[0]["metadata"]["creationTimestamp"].as_str()
    }
}

fn table(revisions: &[Value], app: &Value, deployments: &[Value], part: &Part, format: Format) -> Table {
    let mut table = Table::new(["revision", "age", "changed", "images", "note"]);
    let rollouts = Rollout::all(revisions);
    for (at, rollout) in rollouts.iter().enumerate() {
        let current = at + 1 == rollouts.len() && same_rollout(rollout.spec(), &app["spec"]);
        let restarted = if current { restarted(rollout.since(), deployments) } else { None };
        let cause = rollout.annotation(ROLLED_BACK).or_else(|| rollout.annotation("kubernetes.io/change-cause"));
        let notes = [current.then_some("current"), rollout.failed().then_some("failed"), restarted.as_deref(), cause];
        let note = notes.into_iter().flatten().filter(|note| !note.is_empty()).collect::<Vec<_>>().join("; ");
        let before = at.checked_sub(1).map(|before| rollouts[before].spec());
        table.row([
            number(rollout.newest()).to_string(),
            time::age(rollout.since()),
            print::harmless(&before.map_or_else(|| "-".to_owned(), |before| changed(before, rollout.spec(), part))).into_owned(),
            images(rollout.spec(), part, format),
            print::harmless(&note).into_owned(),
        ]);
    }
    table
}

/// What is other than it was, by the keys of the app file: `user: image, env; cart: new`.
fn changed(before: &Value, now: &Value, part: &Part) -> String {
    let services = |spec: &'_ Value| spec["services"].as_object().cloned().unwrap_or_default();
    let (old, new) = (services(before), services(now));
    let wanted = |name: &str| part.service.as_ref().is_none_or(|service| service == name);
    let mut parts = Vec::new();
    for (name, service) in new.iter().filter(|(name, _)| wanted(name)) {
        match old.get(name) {
            None => parts.push(format!("{name}: new")),
            Some(was) => match keys(was, service, "replicas") {
                keys if keys.is_empty() => {}
                keys => parts.push(format!("{name}: {}", keys.join(", "))),
            },
        }
    }
    parts.extend(old.keys().filter(|name| wanted(name) && !new.contains_key(*name)).map(|name| format!("{name}: gone")));
    // What the services share concerns each of them.
    parts.extend(keys(before, now, "services"));
    parts.join("; ")
}

/// The keys but one whose values differ.
fn keys(before: &Value, now: &Value, but: &str) -> Vec<String> {
    let none = serde_json::Map::new();
    let (before, now) = (before.as_object().unwrap_or(&none), now.as_object().unwrap_or(&none));
    let differ = |key: &&String| before.get(*key) != now.get(*key) && *key != but;
    // An image as typed and its digest are one key of the file.
    let as_typed = |key: &String| if key == "typed" { "image".to_owned() } else { key.clone() };
    let mut keys: Vec<String> = now.keys().filter(differ).map(as_typed).collect();
    keys.extend(before.keys().filter(|key| !now.contains_key(*key)).filter(differ).map(as_typed));
    // The image is what people look for.
    keys.sort_by_key(|key| (key != "image", key.clone()));
    keys.dedup();
    keys
}

/// That pods were replaced since, without another revision.
fn restarted(since: Option<&str>, deployments: &[Value]) -> Option<String> {
    let parsed = |text: &str| text.parse::<Timestamp>().ok();
    let since = since.and_then(parsed)?;
    let at = |deployment: &Value| {
        let text = deployment.pointer("/spec/template/metadata/annotations")?[RESTARTED_AT].as_str()?.to_owned();
        parsed(&text).filter(|at| *at > since).map(|at| (at, text))
    };
    let times: Vec<_> = deployments.iter().filter_map(at).collect();
    let (_, last) = times.iter().max()?;
    let which = if times.len() < deployments.len() { "in part " } else { "" };
    Some(format!("restarted {which}{} ago", time::age(Some(last))))
}

fn images(spec: &Value, part: &Part, format: Format) -> String {
    let services = spec["services"].as_object().into_iter().flatten();
    let short = |image: &str| match image.split_once("@sha256:") {
        Some((name, digest)) if format != Format::Wide => format!("{name}@{}", &digest[..digest.len().min(12)]),
        _ => image.to_owned(),
    };
    services
        .filter(|(name, _)| part.service.as_ref().is_none_or(|service| service == *name))
        .filter_map(|(name, service)| service["image"].as_str().map(|image| format!("{name}={}", short(image))))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: i64, image: &str, replicas: u32) -> Value {
        json!({"revision": number, "data": {"spec": {"services": {"u": {"image": image, "replicas": replicas}}}}})
    }

    #[test]
    fn mere_scales_are_no_rollouts_and_the_newest_number_counts() {
        let mut all = [revision(1, "v1", 2), revision(2, "v2", 2), revision(3, "v2", 5), revision(4, "v1", 5), revision(5, "v1", 1)];
        all[2]["metadata"]["annotations"] = json!({FAILED: "late"});
        let shown: Vec<_> = Rollout::all(&all).iter().map(|rollout| (number(rollout.newest()), rollout.failed())).collect();
        assert_eq!(shown, [(1, false), (3, true), (5, false)]);
    }

    #[test]
    fn what_changed_is_told_by_keys() {
        let whole = Part { app: "shop".into(), service: None };
        let one = Part { service: Some("cart".into()), ..whole.clone() };
        let before =
            json!({"services": {"user": {"image": "a", "typed": "x", "replicas": 1, "uses": {}}, "old": {}}, "rollout": {"surge": 1}});
        let now = json!({"services": {"user": {"image": "b", "typed": "y", "replicas": 2, "env": {"A": "b"}}, "cart": {}}, "rollout": {"surge": 2}});
        assert_eq!(changed(&before, &now, &whole), "cart: new; user: image, env, uses; old: gone; rollout");
        assert_eq!(changed(&before, &now, &one), "cart: new; rollout");
    }

    #[test]
    fn a_restart_is_told_of_the_revision_that_it_restarted() {
        let deployment = |at: &str| json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}}});
        let all = [deployment("2026-01-01T10:00:00.5Z"), json!({"spec": {}})];
        assert!(restarted(Some("2026-01-01T10:00:00Z"), &all).unwrap().starts_with("restarted in part "));
        assert!(restarted(Some("2026-01-01T10:00:00Z"), &all[..1]).unwrap().ends_with("d ago"));
        assert_eq!(restarted(Some("2026-01-01T11:00:00Z"), &all), None);
    }
}
