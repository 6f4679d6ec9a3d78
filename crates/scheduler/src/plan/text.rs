//! A plan as people read it, and as the stories in the tests compare it.

use super::{Action, Plan};
use crate::model::{AppStatus, DeploymentStatus, Endpoint, Name, NodeReady};
use std::fmt;

impl fmt::Display for Plan {
    /// A line for each action and each thing waited for, and when to look again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.actions {
            writeln!(f, "{}", step.action)?;
        }
        for waiting in &self.waiting {
            writeln!(f, "waiting {} {}: {}", lower(waiting.object.kind), waiting.object.key, waiting.message)?;
        }
        match self.wake_at {
            Some(at) => writeln!(f, "look again at {}s", at.as_secs_f64()),
            None => Ok(()),
        }
    }
}

fn lower(kind: &str) -> String {
    kind.to_ascii_lowercase()
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Resolve { deployment, image, .. } => write!(f, "resolve {image} for deployment {deployment}"),
            Action::CreateSet(set) => {
                write!(f, "create replicaset {} revision {} with {} pods of {}", set.set, set.revision, set.replicas, set.image)
            }
            Action::ChangeSet { set, replicas, revision, status } => write!(
                f,
                "replicaset {set} revision {revision} asks for {replicas}: {} pods, {} ready, {} available",
                status.replicas, status.ready, status.available
            ),
            Action::CreatePod { set, place } => match place {
                Ok(node) => write!(f, "create pod of {set} on {node}"),
                Err(why) => write!(f, "create pod of {set} without a node: {why}"),
            },
            Action::BindPod { pod, node } => write!(f, "bind pod {pod} to {node}"),
            Action::ExplainPod { pod, why } => write!(f, "pod {pod} still has no node: {why}"),
            Action::DeletePod { pod, why } => write!(f, "delete pod {pod}: {why}"),
            Action::FinishPod { pod, why } => write!(f, "remove pod {pod}: {why}"),
            Action::WriteDeployment { deployment, revision, status, progressed } => {
                write!(f, "deployment {deployment} revision {revision}: {}{}", Shown(status), if *progressed { ", progress" } else { "" })
            }
            Action::WriteApp { app, status } => write!(f, "app {app}: {}", Shown(status)),
            Action::WriteEndpoints { service, endpoints, .. } => write!(f, "endpoints of {service}: {}", names(endpoints)),
            Action::MarkNode { node, ready, why, .. } => {
                write!(f, "node {node} is {}: {why}", if *ready == NodeReady::Lost { "lost" } else { "back" })
            }
            Action::RollBack { app, to, why, .. } => write!(f, "roll back app {app} to {to}: {why}"),
            Action::Remake { app, why, .. } => write!(f, "make again what app {app} stands for: {why}"),
            Action::Delete { object, why } => write!(f, "delete {} {}: {why}", lower(object.kind), object.key),
            Action::Tell { about, reason, message, .. } => write!(f, "event {reason} {} {}: {message}", lower(about.kind), about.key),
        }
    }
}

fn names(endpoints: &[Endpoint]) -> String {
    let names: Vec<&Name> = endpoints.iter().map(|endpoint| &endpoint.pod).collect();
    if names.is_empty() { "none".to_owned() } else { names.iter().map(|name| &***name).collect::<Vec<_>>().join(" ") }
}

/// A status in one line.
struct Shown<'a, T>(&'a T);

impl fmt::Display for Shown<'_, DeploymentStatus> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        write!(f, "{} pods, {} updated, {} ready, {} available", status.replicas, status.updated, status.ready, status.available)?;
        write!(f, ", {}, {}", status.is_available.reason, status.is_progressing.reason)
    }
}

impl fmt::Display for Shown<'_, AppStatus> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        write!(f, "{} generation {}", status.phase.as_str(), status.observed)?;
        if let Some(good) = status.good {
            write!(f, " good {good}")?;
        }
        write!(f, ": {}", status.message)
    }
}
