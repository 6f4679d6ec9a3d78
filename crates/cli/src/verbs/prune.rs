//! `wctl prune`: drops artifacts that no revision needs, and what nodes compiled of them.

use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use serde_json::Value;

use crate::args::{Format, Globals, Prune};
use crate::cluster::Cluster;
use crate::print::{self, Table, harmless};
use crate::time;
use crate::verbs::build::size;

/// Asks the server to drop them, or what it would drop.
pub async fn run(globals: &Globals, prune: Prune) -> Result<()> {
    let cluster = Cluster::connect_to_write(globals).await?;
    let mut query = vec![("grace", prune.grace.as_secs().to_string())];
    query.extend(prune.dry_run.then(|| ("dryRun", "All".to_owned())));
    let result = cluster.json(Method::POST, "/apis/wctl.dev/v1/prune", &query, None).await.context("pruning")?;
    let items = result["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    match prune.output.output {
        Format::Table | Format::Wide => people(items, &result, prune.dry_run, prune.grace),
        Format::Name => items.iter().filter_map(|item| item["name"].as_str()).for_each(|name| print::line(harmless(name))),
        format => print::value(&result, format)?,
    }
    Ok(())
}

fn people(items: &[Value], result: &Value, dry_run: bool, grace: Duration) {
    let mut table = Table::new(["what", "where", "size", "name"]);
    let text = |item: &Value, field: &str, other: &str| harmless(item[field].as_str().unwrap_or(other)).into_owned();
    for item in items {
        // A manifest is a blob too, and counted there.
        let bytes = item["bytes"].as_u64().filter(|bytes| *bytes > 0).map_or_else(|| "-".to_owned(), size);
        table.row([text(item, "what", "-"), text(item, "node", "registry"), bytes, text(item, "name", "-")]);
    }
    table.print();
    for node in result["unheard"].as_array().into_iter().flatten() {
        print::warn(format_args!("what node {} keeps was left: {}", text(node, "node", "-"), text(node, "message", "it did not say why")));
    }
    let freed = size(result["freedBytes"].as_u64().unwrap_or(0));
    match (items.is_empty(), dry_run) {
        (true, _) => print::line(format_args!(
            "there is nothing to drop: what is kept has a tag, is needed by a revision, or came within the last {}",
            time::span(i64::try_from(grace.as_secs()).unwrap_or(i64::MAX))
        )),
        (false, true) => print::line(format_args!("{freed} would be freed (dry run, nothing was dropped)")),
        (false, false) => print::line(format_args!("{freed} are freed")),
    }
}
