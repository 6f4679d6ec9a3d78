//! `wctl prune`: drops artifacts that no revision needs.

use anyhow::{Context, Result};
use http::Method;
use serde_json::Value;

use crate::args::{Format, Globals, Prune};
use crate::cluster::Cluster;
use crate::print::{self, Table, harmless};
use crate::verbs::build::size;

/// Asks the server to drop them, or what it would drop.
pub async fn run(globals: &Globals, prune: Prune) -> Result<()> {
    let cluster = Cluster::connect_to_write(globals).await?;
    let query: Vec<_> = prune.dry_run.then(|| ("dryRun", "All".to_owned())).into_iter().collect();
    let result = cluster.json(Method::POST, "/apis/wctl.dev/v1/prune", &query, None).await.context("pruning")?;
    let items = result["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    match prune.output.output {
        Format::Table | Format::Wide => people(items, &result, prune.dry_run),
        Format::Name => items.iter().filter_map(|item| item["name"].as_str()).for_each(|name| print::line(harmless(name))),
        format => print::value(&result, format)?,
    }
    Ok(())
}

fn people(items: &[Value], result: &Value, dry_run: bool) {
    let mut table = Table::new(["what", "name", "size"]);
    for item in items {
        let text = |field: &str| harmless(item[field].as_str().unwrap_or("-")).into_owned();
        table.row([text("what"), text("name"), size(item["bytes"].as_u64().unwrap_or(0))]);
    }
    table.print();
    let freed = size(result["freedBytes"].as_u64().unwrap_or(0));
    match (items.is_empty(), dry_run) {
        (true, _) => print::line("there is nothing to drop: revisions need all that is kept"),
        (false, true) => print::line(format_args!("{freed} would be freed (dry run, nothing was dropped)")),
        (false, false) => print::line(format_args!("{freed} are freed")),
    }
}
