//! `wctl cordon`, `uncordon` and `drain`: a node that gets no new pods, and one that gives its pods away.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::Method;
use scheduler::kinds::{NODE, POD};
use serde_json::{Value, json};

use crate::args::{Cordon, Drain, Format, Globals};
use crate::cluster::{Cluster, Deadline, Pick, code, path};
use crate::print::{self, harmless};

/// How often pods are asked to go that cannot yet.
const AGAIN: Duration = Duration::from_millis(500);

/// No new pods for these nodes, or (`false`) new ones again.
pub async fn cordon(globals: &Globals, args: Cordon, closed: bool) -> Result<()> {
    let cluster = Cluster::connect_to_write(globals).await?;
    let format = args.output.output;
    for name in &args.nodes {
        close(&cluster, name, closed).await?;
        let word = if closed { "cordoned: it gets no new pods" } else { "open for pods again" };
        print::outcome(
            format,
            format_args!("node {name} is {word}"),
            format_args!("node/{name}"),
            &json!({"node": name, "cordoned": closed}),
        )?;
    }
    Ok(())
}

async fn close(cluster: &Cluster, node: &str, closed: bool) -> Result<()> {
    cluster.must_get(&NODE, "", node).await?;
    let patch = json!({"spec": {"unschedulable": closed.then_some(true)}});
    cluster.merge(&NODE, "", node, None, &patch).await.map(drop).with_context(|| format!("changing node {node}"))
}

/// Cordons a node and has its pods go elsewhere, each when another serves in its place.
pub async fn run(globals: &Globals, drain: Drain) -> Result<()> {
    let deadline = Deadline::after(drain.timeout);
    let cluster = Cluster::connect_to_write(globals).await?;
    let (node, format) = (&drain.node, drain.output.output);
    close(&cluster, node, true).await?;
    let alone: Vec<String> = there(&cluster, node).await?.into_iter().filter(|(_, pod)| is_alone(pod)).map(|(name, _)| name).collect();
    if !alone.is_empty() && !drain.force {
        bail!("node {node} is cordoned, but {} belong to nobody who would make them again: --force deletes them", alone.join(", "));
    }
    let mut told = BTreeMap::new();
    let mut evicted = Vec::new();
    loop {
        let pods = there(&cluster, node).await?;
        if pods.is_empty() {
            break;
        }
        for (shown, pod) in pods.iter().filter(|(_, pod)| pod["metadata"]["deletionTimestamp"].is_null()) {
            match evict(&cluster, pod).await? {
                None => {
                    say(format, format_args!("pod {shown} goes"));
                    evicted.push(shown.clone());
                }
                Some(why) if told.get(shown) != Some(&why) => {
                    say(format, format_args!("pod {shown} stays for now: {}", harmless(&why)));
                    told.insert(shown.clone(), why);
                }
                Some(_) => {}
            }
        }
        if deadline.is_over() {
            let names: Vec<&str> = pods.iter().map(|(shown, _)| shown.as_str()).collect();
            bail!("node {node} is cordoned, but {} are still there; run this again, or `wctl uncordon {node}`", names.join(", "));
        }
        tokio::time::sleep(AGAIN).await;
    }
    let outcome = json!({"node": node, "cordoned": true, "evicted": evicted});
    print::outcome(
        format,
        format_args!("node {node} is empty, and gets no new pods until `wctl uncordon {node}`"),
        format_args!("node/{node}"),
        &outcome,
    )
}

/// Its pods that have not ended, by `NAMESPACE/NAME`.
async fn there(cluster: &Cluster, node: &str) -> Result<Vec<(String, Value)>> {
    let pick = Pick { labels: None, fields: Some(format!("spec.nodeName={node}")) };
    let pods = cluster.items(&POD, None, &pick).await?.into_iter();
    let lives = |pod: &Value| !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let text = |pod: &Value, field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    Ok(pods.filter(lives).map(|pod| (format!("{}/{}", text(&pod, "namespace"), text(&pod, "name")), pod)).collect())
}

/// Nobody makes it again.
fn is_alone(pod: &Value) -> bool {
    pod["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty)
}

/// Asks a pod to go; why it cannot yet.
async fn evict(cluster: &Cluster, pod: &Value) -> Result<Option<String>> {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let path = path(&POD, Some(text("namespace")), Some(text("name")))? + "/eviction";
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": text("name"), "namespace": text("namespace")},
    });
    match cluster.json(Method::POST, &path, &[], Some(&eviction)).await {
        Ok(_) => Ok(None),
        Err(error) if code(&error) == Some(404) => Ok(None),
        Err(error) if code(&error) == Some(429) => Ok(Some(format!("{error:#}"))),
        Err(error) => Err(error).with_context(|| format!("evicting pod {}", text("name"))),
    }
}

/// To people alone: programs read one value.
fn say(format: Format, sentence: impl std::fmt::Display) {
    if matches!(format, Format::Table | Format::Wide) {
        print::line(sentence);
    }
}
