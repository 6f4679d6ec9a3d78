//! `wctl delete`: deletes objects, by name or as files describe them.

use anyhow::{Result, bail};
use scheduler::kinds::{self, Kind};
use serde_json::json;

use crate::args::{Delete, Format, Globals};
use crate::cluster::{Cluster, Deadline, Until, name_of};
use crate::exit::Usage;
use crate::files::{self, Documents};
use crate::print;
use crate::target;

/// One object to delete.
struct Doomed {
    kind: &'static Kind,
    namespace: String,
    name: String,
}

/// Deletes, and waits until all is gone if that is wanted.
pub async fn run(globals: &Globals, delete: Delete) -> Result<()> {
    let deadline = Deadline::after(delete.wait.timeout);
    let cluster = Cluster::connect_to_write(globals).await?;
    let doomed = match &delete.kind {
        Some(kind) => by_name(&cluster, kind, &delete.names)?,
        None => by_files(&cluster, &delete.files)?,
    };
    let format = delete.output.output;
    let (mut missing, mut items) = (Vec::new(), Vec::new());
    for Doomed { kind, namespace, name } in &doomed {
        let deleted = cluster.delete(kind, namespace, name).await?;
        items.push(json!({"kind": kind.kind, "namespace": kind.namespaced.then_some(namespace), "name": name, "deleted": deleted}));
        match format {
            _ if !deleted => missing.push(match kind.namespaced {
                true => format!("{} {name} in namespace {namespace}", kind.singular),
                false => format!("{} {name}", kind.singular),
            }),
            // Each is told at once: a later one may be refused.
            Format::Table | Format::Wide => print::line(format_args!("{} {name} is deleted", kind.singular)),
            Format::Name => print::line(format_args!("{}/{name}", kind.singular)),
            Format::Json | Format::Yaml => {}
        }
    }
    // What was there is deleted, whatever else was not.
    if matches!(format, Format::Json | Format::Yaml) {
        print::value(&json!({"items": items}), format)?;
    }
    if !missing.is_empty() && !delete.ignore_not_found {
        bail!("there is no {}", missing.join(" and no "));
    }
    if delete.wait.wait.unwrap_or_else(print::is_watched) {
        for Doomed { kind, namespace, name } in &doomed {
            gone(&cluster, kind, namespace, name, deadline).await?;
        }
    }
    Ok(())
}

fn by_name(cluster: &Cluster, kind: &str, names: &[String]) -> Result<Vec<Doomed>> {
    let (kind, names) = target::objects(kind, names)?;
    if names.is_empty() {
        bail!(Usage(format!("name the {} to delete", kind.plural)));
    }
    Ok(names.into_iter().map(|name| Doomed { kind, namespace: cluster.namespace.clone(), name }).collect())
}

fn by_files(cluster: &Cluster, files: &[std::path::PathBuf]) -> Result<Vec<Doomed>> {
    match files::parse(files)? {
        Documents::App(app) => Ok(vec![Doomed { kind: &kinds::APP, namespace: app.namespace(cluster), name: app.file.name.clone() }]),
        // What was made last may need what was made first.
        Documents::Objects(objects) => Ok(objects
            .iter()
            .rev()
            .map(|object| Doomed { kind: object.kind, namespace: object.namespace(cluster), name: name_of(&object.value).to_owned() })
            .collect()),
    }
}

/// Waits until an object is gone, and an app's pods with it.
async fn gone(cluster: &Cluster, kind: &'static Kind, namespace: &str, name: &str, deadline: Deadline) -> Result<()> {
    cluster.until(kind, namespace, name, deadline, |object| Ok(if object.is_none() { Until::Done(()) } else { Until::NotYet })).await?;
    if *kind != kinds::APP {
        return Ok(());
    }
    let part = target::Part { app: name.to_owned(), service: None };
    for pod in cluster.items(&kinds::POD, Some(namespace), &part.pick()).await? {
        let absent = |object: Option<&serde_json::Value>| Ok(if object.is_none() { Until::Done(()) } else { Until::NotYet });
        cluster.until(&kinds::POD, namespace, name_of(&pod), deadline, absent).await?;
    }
    Ok(())
}
