//! `wctl delete`: deletes objects, by name or as files describe them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::Method;
use scheduler::kinds::{self, Kind};
use serde_json::json;

use crate::args::{Delete, Format, Globals};
use crate::cluster::{Cluster, Deadline, Until, code, name_of, path};
use crate::exit::Usage;
use crate::files::{self, Documents};
use crate::print;
use crate::target;

/// How long a node may take to see that an app's last pod is gone, before it is asked once more.
const AGAIN: Duration = Duration::from_millis(100);

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
    if delete.with_data && doomed.iter().any(|doomed| *doomed.kind != kinds::APP) {
        bail!(Usage("only apps have data; delete them with `wctl delete app NAME --with-data`".into()));
    }
    let format = delete.output.output;
    let (mut missing, mut items) = (Vec::new(), Vec::new());
    for Doomed { kind, namespace, name } in &doomed {
        let deleted = cluster.delete(kind, namespace, name).await?;
        items.push(json!({"kind": kind.kind, "namespace": kind.namespaced.then_some(namespace), "name": name, "deleted": deleted}));
        match format {
            _ if !deleted && delete.with_data => {}
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
    if delete.wait.wait.unwrap_or_else(print::is_watched) || delete.with_data {
        for Doomed { kind, namespace, name } in &doomed {
            gone(&cluster, kind, namespace, name, deadline).await?;
        }
    }
    if delete.with_data {
        for Doomed { namespace, name, .. } in &doomed {
            forget(&cluster, namespace, name, deadline).await?;
            if matches!(format, Format::Table | Format::Wide) {
                print::line(format_args!("the data of app {name} is removed"));
            }
        }
    }
    Ok(())
}

/// Removes what an app kept, as soon as its last pod has let go of it.
async fn forget(cluster: &Cluster, namespace: &str, app: &str, deadline: Deadline) -> Result<()> {
    let path = format!("{}/data", path(&kinds::APP, Some(namespace), Some(app))?);
    loop {
        match cluster.json(Method::DELETE, &path, &[], None).await {
            Err(error) if code(&error) == Some(409) && !deadline.is_over() => tokio::time::sleep(AGAIN).await,
            done => return done.map(drop).with_context(|| format!("removing the data of app {app}")),
        }
    }
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
