//! `wctl rollout`: follows, lists, takes back and repeats rollouts.

mod undo;

use anyhow::{Context, Result};
use scheduler::app::same_rollout;
use scheduler::kinds;
use scheduler::names::{self, RESTARTED_AT, SERVICE};
use serde_json::{Value, json};

use crate::args::{Format, Globals, Rollout, RolloutVerb, Wait};
use crate::cluster::{Cluster, Deadline, name_of};
use crate::follow;
use crate::print::{self, Table};
use crate::target::{Part, part_of};
use crate::time;

/// Does what is asked.
pub async fn run(globals: &Globals, rollout: Rollout) -> Result<()> {
    match rollout.verb {
        RolloutVerb::Status { target, timeout, output } => {
            status(globals, &Part::parse(&target)?, Deadline::after(timeout), output.output).await
        }
        RolloutVerb::History { target, revision, output } => history(globals, &Part::parse(&target)?, revision, output.output).await,
        RolloutVerb::Undo { target, to_revision, wait, output } => {
            undo::run(globals, &Part::parse(&target)?, to_revision, &wait, output.output).await
        }
        RolloutVerb::Restart { target, wait, output } => restart(globals, &Part::parse(&target)?, &wait, output.output).await,
    }
}

async fn status(globals: &Globals, part: &Part, deadline: Deadline, format: Format) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let namespace = &cluster.namespace;
    let app = if part.service.is_none() { cluster.get(&kinds::APP, namespace, &part.app).await? } else { None };
    let generation = match &app {
        Some(app) => {
            follow::app(&cluster, namespace, &part.app, generation(app), deadline).await?;
            generation(app)
        }
        // A service, or a Deployment that belongs to no app.
        None => {
            let deployment = part.deployment(&cluster).await?;
            follow::deployment(&cluster, namespace, name_of(&deployment), deadline).await?;
            generation(&deployment)
        }
    };
    let value = json!({"of": part.to_string(), "namespace": namespace, "generation": generation, "done": true});
    print::outcome(format, format_args!("{part} is rolled out"), part, &value)
}

async fn history(globals: &Globals, part: &Part, revision: Option<i64>, format: Format) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let app = whole_app(&cluster, part).await?;
    let revisions = revisions(&cluster, part).await?;
    if let Some(number) = revision {
        let spec = &find(&revisions, number, &part.app)?["data"];
        return print::value(spec, if format == Format::Table { Format::Yaml } else { format });
    }
    match format {
        Format::Json | Format::Yaml => {
            print::value(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": revisions}), format)
        }
        Format::Name => {
            revisions.iter().for_each(|revision| print::line(format_args!("controllerrevision.apps/{}", name_of(revision))));
            Ok(())
        }
        _ => {
            table(&revisions, &app, part, format).print();
            Ok(())
        }
    }
}

fn table(revisions: &[Value], app: &Value, part: &Part, format: Format) -> Table {
    let mut table = Table::new(["revision", "age", "images", "note"]);
    let shown = rollouts(revisions);
    let newest = shown.last().copied().map(number);
    for revision in shown {
        let number = number(revision);
        let current = newest == Some(number) && same_rollout(revision_spec(revision), &app["spec"]);
        let annotations = &revision["metadata"]["annotations"];
        let note = annotations[names::ROLLED_BACK].as_str().or(annotations["kubernetes.io/change-cause"].as_str()).unwrap_or_default();
        let note = match (current, note.is_empty()) {
            (true, true) => "current".to_owned(),
            (true, false) => format!("current; {note}"),
            _ => note.to_owned(),
        };
        let age = time::age(revision["metadata"]["creationTimestamp"].as_str());
        table.row([number.to_string(), age, images(revision_spec(revision), part, format), print::harmless(&note).into_owned()]);
    }
    table
}

/// The revisions that changed more than how many pods there are.
fn rollouts(revisions: &[Value]) -> Vec<&Value> {
    let mut shown: Vec<&Value> = Vec::new();
    for revision in revisions {
        if !shown.last().is_some_and(|last| same_rollout(revision_spec(last), revision_spec(revision))) {
            shown.push(revision);
        }
    }
    shown
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

async fn restart(globals: &Globals, part: &Part, wait: &Wait, format: Format) -> Result<()> {
    let deadline = Deadline::after(wait.timeout);
    let cluster = Cluster::connect_to_write(globals).await?;
    let deployments = part.deployments(&cluster).await?;
    let now = jiff::Timestamp::now().to_string();
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}});
    for deployment in &deployments {
        cluster.merge(&kinds::DEPLOYMENT, &cluster.namespace, name_of(deployment), None, &patch).await?;
        if matches!(format, Format::Table | Format::Wide) {
            print::line(format_args!("{} restarts", part_of(deployment)));
        }
    }
    let waited = wait.wait.unwrap_or_else(print::is_watched);
    if waited {
        for deployment in &deployments {
            follow::deployment(&cluster, &cluster.namespace, name_of(deployment), deadline).await?;
        }
    }
    let names: Vec<&str> = deployments.iter().map(name_of).collect();
    match format {
        Format::Table | Format::Wide if waited => print::line(format_args!("{part} is ready")),
        Format::Table | Format::Wide => {}
        Format::Name => names.iter().for_each(|name| print::line(format_args!("deployment.apps/{name}"))),
        Format::Json | Format::Yaml => {
            print::value(
                &json!({"of": part.to_string(), "namespace": cluster.namespace, "deployments": names, "at": now, "ready": waited}),
                format,
            )?;
        }
    }
    Ok(())
}

async fn whole_app(cluster: &Cluster, part: &Part) -> Result<Value> {
    // The history is the app's; its services have none of their own.
    if let Some(service) = &part.service {
        let deployments = part.deployments(cluster).await?;
        tracing::debug!("service {service} has {} deployments", deployments.len());
    }
    cluster.must_get(&kinds::APP, &cluster.namespace, &part.app).await
}

/// The revisions of an app, oldest first.
async fn revisions(cluster: &Cluster, part: &Part) -> Result<Vec<Value>> {
    let app = Part { app: part.app.clone(), service: None };
    let mut found = cluster.items(&kinds::CONTROLLER_REVISION, Some(&cluster.namespace), &app.pick()).await?;
    found.retain(|revision| revision["metadata"]["labels"][SERVICE].is_null());
    found.sort_by_key(number);
    Ok(found)
}

fn find<'a>(revisions: &'a [Value], wanted: i64, app: &str) -> Result<&'a Value> {
    revisions.iter().find(|revision| number(revision) == wanted).with_context(|| {
        let there = revisions.iter().map(|revision| number(revision).to_string()).collect::<Vec<_>>().join(", ");
        format!("app {app} has no revision {wanted}; it has {there}")
    })
}

fn revision_spec(revision: &Value) -> &Value {
    let data = &revision["data"];
    if data["spec"].is_object() { &data["spec"] } else { data }
}

fn number(revision: &Value) -> i64 {
    revision["revision"].as_i64().unwrap_or(0)
}

fn generation(app: &Value) -> i64 {
    app["metadata"]["generation"].as_i64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mere_scales_are_no_rollouts() {
        let revision = |number: i64, image: &str, replicas: u32| json!({"revision": number, "data": {"spec": {"services": {"u": {"image": image, "replicas": replicas}}}}});
        let all = [revision(1, "v1", 2), revision(2, "v2", 2), revision(3, "v2", 5), revision(4, "v1", 5), revision(5, "v1", 1)];
        let shown: Vec<i64> = rollouts(&all).into_iter().map(number).collect();
        assert_eq!(shown, [1, 2, 4]);
    }
}
