//! `wctl diff`: what a deploy would change, capabilities first.

use anyhow::Result;
use serde_json::json;

use crate::args::{self, Format, Globals};
use crate::cluster::Cluster;
use crate::files::{self, Documents, Object};
use crate::print;
use crate::verbs::deploy;

/// Builds, compares and prints; changes nothing.
pub async fn run(globals: &Globals, diff: args::Diff) -> Result<()> {
    let documents = deploy::checked(&files::chosen(&diff.files.into())?)?;
    let cluster = Cluster::connect(globals).await?;
    let app = match documents {
        Documents::App(app) => *app,
        Documents::Objects(list) => return objects(&cluster, &list, diff.output.output).await,
    };
    let planned = deploy::plan(&cluster, app, false).await?;
    planned.missing.iter().for_each(|sentence| print::warn(print::harmless(sentence)));
    match diff.output.output {
        Format::Table | Format::Wide if planned.diff.is_empty() => print::line(format_args!("app {} would not change", planned.name)),
        Format::Table | Format::Wide => planned.diff.to_string().lines().for_each(|line| print::line(print::harmless(line))),
        Format::Name => print::line(format_args!("app.wctl.dev/{}", planned.name)),
        format => {
            let changes: Vec<_> =
                planned.diff.changes.iter().map(|change| json!({"service": change.service, "change": change.sentence})).collect();
            let old = planned.old.as_ref().map(|old| old["spec"].clone());
            print::value(
                &json!({"app": planned.name, "namespace": planned.namespace, "changes": changes, "old": old, "new": planned.new}),
                format,
            )?;
        }
    }
    Ok(())
}

/// The same of manifests: what the server would make of them against what it has.
async fn objects(cluster: &Cluster, list: &[Object], format: Format) -> Result<()> {
    let all = deploy::differences(cluster, list).await?;
    match format {
        Format::Table | Format::Wide => {
            for (name, word, changes) in &all {
                print::line(format_args!("{name} {word}"));
                changes.iter().for_each(|line| print::line(format_args!("  {}", print::harmless(line))));
            }
        }
        Format::Name => all.iter().for_each(|(name, ..)| print::line(name)),
        format => {
            let all: Vec<_> =
                all.iter().map(|(name, word, changes)| json!({"object": name, "becomes": word, "changes": changes})).collect();
            print::value(&json!(all), format)?;
        }
    }
    Ok(())
}
