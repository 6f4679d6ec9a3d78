//! `wctl scale`: changes the number of replicas of a service.

use anyhow::{Result, bail};
use scheduler::kinds;
use serde_json::json;

use crate::args::{Globals, Scale};
use crate::cluster::{Cluster, Deadline, Pick, name_of};
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
    let scalers = cluster.items(&kinds::HPA, Some(&cluster.namespace), &Pick::default()).await?;
    if let Some(own) = scalers.iter().find(|scaler| scaler["spec"]["scaleTargetRef"]["name"] == name.as_str()) {
        let (min, max) = (own["spec"]["minReplicas"].as_u64().unwrap_or(1), own["spec"]["maxReplicas"].as_u64().unwrap_or(1));
        bail!(
            "the replicas of {} belong to the autoscaler {}, from {min} to {max} by load; change its `scale`, or take that away",
            part_of(&deployment),
            name_of(own)
        );
    }
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
