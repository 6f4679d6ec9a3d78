//! `wctl freeze` and `wctl thaw`: stop the scheduler, and let it go on.

use anyhow::{Context, Result};
use http::Method;
use serde_json::json;

use crate::args::{Freeze, Globals, Thaw};
use crate::cluster::Cluster;
use crate::print::{self, harmless};

const FREEZE: &str = "/apis/wctl.dev/v1/freeze";

/// Stops it: what runs goes on, and nothing new is decided.
pub async fn run(globals: &Globals, freeze: Freeze) -> Result<()> {
    let cluster = Cluster::connect_to_write(globals).await?;
    let told = cluster.json(Method::PUT, FREEZE, &[], Some(&json!({"why": freeze.why.unwrap_or_default()}))).await;
    let told = told.context("stopping the scheduler")?;
    print::outcome(freeze.output.output, "the scheduler stands still until `wctl thaw`; what runs goes on", "frozen", &told)
}

/// Lets it go on.
pub async fn thaw(globals: &Globals, thaw: Thaw) -> Result<()> {
    let cluster = Cluster::connect_to_write(globals).await?;
    let told = cluster.json(Method::DELETE, FREEZE, &[], None).await.context("letting the scheduler go on")?;
    let sentence = if told["was"] == true { "the scheduler goes on" } else { "the scheduler was not stopped" };
    print::outcome(thaw.output.output, sentence, "thawed", &told)
}

/// Tells whoever looks at apps that nothing is decided now, if that is so.
pub async fn tell(cluster: &Cluster) {
    // An older server has no such thing.
    let Ok(told) = cluster.json(Method::GET, FREEZE, &[], None).await else { return };
    let frozen = &told["frozen"];
    if frozen.is_null() {
        return;
    }
    let text = |field: &str| harmless(frozen[field].as_str().unwrap_or("")).into_owned();
    let why = if text("why").is_empty() { String::new() } else { format!(" ({})", text("why")) };
    print::warn(format_args!("the scheduler stands still since {}, by {}{why}: `wctl thaw` lets it go on", text("since"), text("by")));
}
