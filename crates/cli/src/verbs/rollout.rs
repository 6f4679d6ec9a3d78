//! `wctl rollout`: follows, lists, takes back and repeats rollouts.

mod history;
mod undo;

use anyhow::{Context, Result};
use scheduler::kinds;
use scheduler::names::{RESTARTED_AT, SERVICE};
use serde_json::{Value, json};

use crate::args::{Format, Globals, Rollout, RolloutVerb, Wait};
use crate::cluster::{Cluster, Deadline, name_of};
use crate::follow;
use crate::print;
use crate::target::{Part, part_of};

/// Does what is asked.
pub async fn run(globals: &Globals, rollout: Rollout) -> Result<()> {
    match rollout.verb {
        RolloutVerb::Status { target, timeout, output } => {
            status(globals, &Part::parse(&target)?, Deadline::after(timeout), output.output).await
        }
        RolloutVerb::History { target, revision, output } => history::run(globals, &Part::parse(&target)?, revision, output.output).await,
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
