//! A plan as people read it, and as the stories in the tests compare it.

use super::{Action, Plan};
use crate::model::{AppStatus, CronStatus, DeploymentStatus, Ending, Endpoint, JobStatus, Name, NodeReady, ScalerStatus};
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
            Action::ChangeSet { set, replicas, revision, status, .. } => write!(
                f,
                "replicaset {set} revision {revision} asks for {replicas}: {} pods, {} ready, {} available",
                status.replicas, status.ready, status.available
            ),
            Action::CreatePod { set, place } => match place {
                Ok(node) => write!(f, "create pod of {set} on {node}"),
                Err(why) => write!(f, "create pod of {set} without a node: {why}"),
            },
            Action::Advise { scaler, advice } => {
                let wanted: Vec<String> = advice.iter().map(|(_, pods)| pods.to_string()).collect();
                write!(f, "horizontalpodautoscaler {scaler} wants {}", wanted.join(" then "))
            }
            Action::Scale { deployment, replicas } => write!(f, "scale deployment {deployment} to {replicas}"),
            Action::WriteScaler { scaler, status } => write!(f, "horizontalpodautoscaler {scaler}: {}", Shown(&**status)),
            Action::CreateJobPod { job, index, place } => {
                let number = index.map(|index| format!(" number {index}")).unwrap_or_default();
                match place {
                    Ok(node) => write!(f, "create pod{number} of job {job} on {node}"),
                    Err(why) => write!(f, "create pod{number} of job {job} without a node: {why}"),
                }
            }
            Action::WriteJob { job, status, .. } => write!(f, "job {job}: {}", Shown(&**status)),
            Action::CreateJob { cron, job, tick } => write!(f, "create job {job} of {cron} for {}", at(*tick)),
            Action::WriteCronJob { cron, status } => write!(f, "cronjob {cron}: {}", Shown(status)),
            Action::BindPod { pod, node } => write!(f, "bind pod {pod} to {node}"),
            Action::ExplainPod { pod, why } => write!(f, "pod {pod} still has no node: {why}"),
            Action::LetSleep { pod, after: Some(seconds) } => write!(f, "pod {pod} may sleep after {seconds}s without a request"),
            Action::LetSleep { pod, after: None } => write!(f, "pod {pod} stays awake"),
            Action::DeletePod { pod, why } => write!(f, "delete pod {pod}: {why}"),
            Action::FinishPod { pod, why } => write!(f, "remove pod {pod}: {why}"),
            Action::WriteDeployment { deployment, revision, status, progressed } => {
                write!(f, "deployment {deployment} revision {revision}: {}{}", Shown(status), if *progressed { ", progress" } else { "" })
            }
            Action::WriteApp { app, status } => write!(f, "app {app}: {}", Shown(status)),
            Action::WriteEndpoints { service, endpoints, canary: Some(canary), .. } => {
                let tried = endpoints.iter().filter(|endpoint| canary.pods.contains(&*endpoint.uid)).cloned().collect::<Vec<_>>();
                write!(f, "endpoints of {service}: {}, with {}% for {}", names(endpoints), canary.share, names(&tried))
            }
            Action::WriteEndpoints { service, endpoints, .. } => write!(f, "endpoints of {service}: {}", names(endpoints)),
            Action::WriteBalancer { object, addresses } => {
                let shown: Vec<&str> = addresses.iter().map(|address| &**address).collect();
                write!(
                    f,
                    "{} {} is reached at {}",
                    lower(object.kind),
                    object.key,
                    if shown.is_empty() { "no node".to_owned() } else { shown.join(" ") }
                )
            }
            Action::MarkNode { node, ready, why, .. } => {
                write!(f, "node {node} is {}: {why}", if *ready == NodeReady::Lost { "lost" } else { "back" })
            }
            Action::RollBack { app, to, why, .. } => write!(f, "roll back app {app} to {to}: {why}"),
            Action::Remake { app, why, .. } => write!(f, "make again what app {app} stands for: {why}"),
            Action::Delete { object, why } => write!(f, "delete {} {}: {why}", lower(object.kind), object.key),
            Action::Release { object, why } => write!(f, "let go {} {}: {why}", lower(object.kind), object.key),
            Action::Tell { about, reason, message, .. } => write!(f, "event {reason} {} {}: {message}", lower(about.kind), about.key),
        }
    }
}

fn at(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
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
        write!(f, ", {}, {}", status.is_available.reason, status.is_progressing.reason)?;
        if status.asleep { write!(f, ", asleep") } else { Ok(()) }
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

impl fmt::Display for Shown<'_, JobStatus> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        write!(f, "{} active, {} succeeded, {} failed", status.active, status.succeeded, status.failed)?;
        if status.leaving > 0 {
            write!(f, ", {} leaving", status.leaving)?;
        }
        if status.suspended == Some(true) {
            write!(f, ", suspended")?;
        }
        match (&status.end, &status.target) {
            (Some((Ending::Complete, _)), _) => write!(f, ", complete"),
            (Some((Ending::Failed, said)), _) => write!(f, ", failed: {}", said.reason),
            (None, Some((_, said))) => write!(f, ", ending: {}", said.reason),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Shown<'_, CronStatus> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let active: Vec<&str> = self.0.active.iter().map(|(name, _)| &**name).collect();
        write!(f, "active {}", if active.is_empty() { "none".to_owned() } else { active.join(" ") })?;
        let stamp = |time: Option<i64>| time.map_or_else(|| "never".to_owned(), at);
        write!(f, ", last {}, succeeded {}", stamp(self.0.last), stamp(self.0.succeeded))
    }
}

impl fmt::Display for Shown<'_, ScalerStatus> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        let now: Vec<String> = status.now.iter().map(|value| value.map_or_else(|| "?".to_owned(), |value| value.to_string())).collect();
        write!(f, "{} of {} pods, load {}", status.current, status.desired, now.join(" "))?;
        write!(f, ", {}, {}, {}", status.able.reason, status.active.reason, status.limited.reason)
    }
}
