//! `wctl scale`: changes the number of replicas of a service.

use anyhow::Result;
use scheduler::kinds;
use serde_json::json;

use crate::args::{Globals, Scale};
use crate::cluster::{Cluster, Deadline, name_of};
use crate::follow;
use crate::print;
use crate::target::{Part, part_of};

/// Scales, and waits if that is wanted.
pub async fn run(globals: &Globals, scale: Scale) -> Result<()> {
    let part = Part::parse(&scale.target)?;
    let deadline = Deadline::after(scale.wait.timeout);
    let cluster = Cluster::connect_to_write(globals).await?;
    let deployment = part.deployment(&cluster).await?;
    let (name, replicas) = (name_of(&deployment).to_owned(), scale.replicas);
    let patch = json!({"spec": {"replicas": replicas}});
    cluster.merge(&kinds::DEPLOYMENT, &cluster.namespace, &name, Some("scale"), &patch).await?;
    print::note(format_args!("{} is asked for {replicas} replicas", part_of(&deployment)));
    if scale.wait.wait.unwrap_or_else(print::is_watched) {
        follow::deployment(&cluster, &cluster.namespace, &name, deadline).await?;
        print::line(format_args!("{} has {replicas} replicas", part_of(&deployment)));
    }
    Ok(())
}
