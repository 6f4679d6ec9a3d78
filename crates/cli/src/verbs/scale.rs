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
    let said = part_of(&deployment);
    let waited = scale.wait.wait.unwrap_or_else(print::is_watched);
    if waited {
        print::note(format_args!("{said} is asked for {replicas} replicas"));
        follow::deployment(&cluster, &cluster.namespace, &name, deadline).await?;
    }
    let sentence = if waited { format!("{said} has {replicas} replicas") } else { format!("{said} is asked for {replicas} replicas") };
    let value = json!({"deployment": name, "namespace": cluster.namespace, "replicas": replicas, "ready": waited});
    print::outcome(scale.output.output, sentence, format_args!("deployment.apps/{name}"), &value)
}
