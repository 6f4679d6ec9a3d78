//! `wctl logs`: what guests printed, harmless to a terminal.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use futures::io::{AsyncBufRead, AsyncBufReadExt};
use scheduler::{kinds, names};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::args::{Globals, LineFormat, Logs};
use crate::cluster::{Change, Cluster, Pick, code, name_of, path};
use crate::print::{self, harmless_bytes};
use crate::target::{Part, pods_of};
use crate::verbs::requests;

/// The most bytes of a line that are shown.
const LONGEST: usize = 64 * 1024;
/// The lines of each pod that are shown when there are many pods and nothing else was asked for.
const FEW: u64 = 10;

/// What to show of each pod's log.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// Go on as more is printed.
    pub follow: bool,
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// What was printed before the last restart.
    pub previous: bool,
    /// Only what is younger, in seconds.
    pub since: Option<u64>,
    /// With the time of each line.
    pub timestamps: bool,
    /// As lines of text, or as JSON.
    pub format: LineFormat,
}

/// Shows the log of a pod, of all pods of an app or a service, or of requests.
pub async fn run(globals: &Globals, logs: Logs) -> Result<()> {
    if logs.access || logs.request.is_some() {
        return requests::run(globals, logs).await;
    }
    let target = logs.target.unwrap_or_default();
    let cluster = Cluster::connect(globals).await?;
    let cut = Cut {
        follow: logs.follow,
        tail: logs.tail,
        previous: logs.previous,
        since: logs.since.map(|since| since.as_secs().max(1)),
        timestamps: logs.timestamps,
        format: logs.output.output,
    };
    let pod = target.strip_prefix("pod/").unwrap_or(&target);
    if !pod.contains('/') && cluster.get(&kinds::POD, &cluster.namespace, pod).await?.is_some() {
        return one(cluster.clone(), cluster.namespace.clone(), pod.to_owned(), cut, None).await;
    }
    if target.starts_with("pod/") {
        if gone(&cluster, pod, &cut).await? {
            return Ok(());
        }
        bail!("there is no pod {pod} in namespace {}", cluster.namespace);
    }
    if let Some(job) = target.strip_prefix("job/") {
        cluster.must_get(&kinds::JOB, &cluster.namespace, job).await?;
        let pick = Pick::labels(format!("{}={job}", names::JOB_NAME));
        return all(&cluster, Some(cluster.namespace.clone()), pick, cut).await;
    }
    let part = Part::parse(&target)?;
    // Jobs have pods and no Deployment.
    if !cluster.items(&kinds::POD, Some(&cluster.namespace), &part.pick()).await?.is_empty() {
        let cut = Cut { tail: cut.tail.or((cut.since.is_none()).then_some(FEW)), ..cut };
        return all(&cluster, Some(cluster.namespace.clone()), part.pick(), cut).await;
    }
    let deployments = match part.deployments(&cluster).await {
        Ok(deployments) => deployments,
        Err(missing) => return if part.service.is_none() && gone(&cluster, pod, &cut).await? { Ok(()) } else { Err(missing) },
    };
    let pick = pods_of(&part, &deployments);
    let cut = Cut { tail: cut.tail.or((cut.since.is_none()).then_some(FEW)), ..cut };
    all(&cluster, Some(cluster.namespace.clone()), pick, cut).await
}

/// Shows what a pod that is no longer there has printed; whether there was such a pod.
async fn gone(cluster: &Cluster, pod: &str, cut: &Cut) -> Result<bool> {
    match one(cluster.clone(), cluster.namespace.clone(), pod.to_owned(), cut.clone(), None).await {
        Err(error) if code(&error) == Some(404) => {}
        done => return done.map(|()| true),
    }
    // A node keeps no log of a pod that never printed. Events outlive their pods.
    let about = Pick { labels: None, fields: Some(format!("involvedObject.kind=Pod,involvedObject.name={pod}")) };
    let was_there = !cluster.items(&kinds::EVENT, Some(&cluster.namespace), &about).await?.is_empty();
    if was_there {
        print::note(format_args!("pod {pod} is gone, and it printed nothing that is still kept"));
    }
    Ok(was_there)
}

/// The logs of all pods that are picked, each line with its pod; with `follow` those of later pods too.
pub async fn all(cluster: &Cluster, namespace: Option<String>, pick: Pick, cut: Cut) -> Result<()> {
    let list = cluster.list(&kinds::POD, namespace.as_deref(), &pick).await?;
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    if !cut.follow {
        // Among several pods most have no instance before the one that runs; that says nothing about the others.
        let (mut shown, mut without) = (0, None);
        for pod in &pods {
            let (namespace, name) = place(pod);
            match one(cluster.clone(), namespace, name.clone(), cut.clone(), (pods.len() > 1).then_some(name)).await {
                Err(error) if cut.previous && code(&error) == Some(400) => without = Some(error),
                done => shown += done.map(|()| 1)?,
            }
        }
        return without.filter(|_| shown == 0).map_or(Ok(()), Err);
    }
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
    let mut changes = cluster.watch(&kinds::POD, namespace.as_deref(), &pick, &version, false).await?;
    let (mut readers, mut known) = (JoinSet::new(), HashSet::new());
    pods.iter().for_each(|pod| start(&mut readers, &mut known, cluster, pod, &cut));
    // A pod that appears while we look on is shown from its first line.
    let later = Cut { tail: None, since: None, ..cut };
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(Change::Is(pod))) => start(&mut readers, &mut known, cluster, &pod, &later),
                Some(Ok(Change::Gone(pod))) => drop(known.remove(&uid(&pod))),
                Some(Err(error)) => return Err(error.context("watching pods")),
                None => return Ok(()),
            },
            Some(ended) = readers.join_next() => {
                if let Ok((uid, Err(error))) = &ended {
                    tracing::debug!("following the log of pod {uid}: {}", print::chain(error));
                }
            }
        }
    }
}

fn start(readers: &mut JoinSet<(String, Result<()>)>, known: &mut HashSet<String>, cluster: &Cluster, pod: &Value, cut: &Cut) {
    let running = pod["status"]["containerStatuses"][0]["started"].as_bool().unwrap_or(false) || pod["status"]["phase"] == "Running";
    let uid = uid(pod);
    if !running || !known.insert(uid.clone()) {
        return;
    }
    let ((namespace, name), cluster, cut) = (place(pod), cluster.clone(), cut.clone());
    readers.spawn(async move { (uid, one(cluster, namespace, name.clone(), cut, Some(name)).await) });
}

/// One pod's log to its end, each line after `prefix`.
async fn one(cluster: Cluster, namespace: String, pod: String, cut: Cut, prefix: Option<String>) -> Result<()> {
    let timed = cut.timestamps || cut.format == LineFormat::Json;
    let mut query = vec![("follow", cut.follow.to_string()), ("previous", cut.previous.to_string()), ("timestamps", timed.to_string())];
    query.extend(cut.tail.map(|lines| ("tailLines", lines.to_string())));
    query.extend(cut.since.map(|seconds| ("sinceSeconds", seconds.to_string())));
    let path = format!("{}/log", path(&kinds::POD, Some(&namespace), Some(&pod))?);
    let mut lines = cluster.stream(&path, &query, "*/*").await.with_context(|| format!("reading the log of pod {pod}"))?;
    let prefix = prefix.map(|name| format!("{} ", print::tinted(&name))).unwrap_or_default();
    while let Some(line) = line(&mut lines, LONGEST).await.with_context(|| format!("reading the log of pod {pod}"))? {
        match cut.format {
            LineFormat::Text => print::line(format_args!("{prefix}{}", harmless_bytes(&line))),
            LineFormat::Json => print::record(&record(&namespace, &pod, &line)),
        }
    }
    Ok(())
}

/// A line that starts with its time, for programs; JSON makes its control characters harmless.
fn record(namespace: &str, pod: &str, line: &[u8]) -> Value {
    let text = String::from_utf8_lossy(line);
    let (time, text) = text.split_once(' ').unwrap_or((&text, ""));
    json!({"type": "log", "time": time, "namespace": namespace, "pod": pod, "line": text})
}

/// The next line without its end; what is longer than `longest` bytes is given in pieces.
pub async fn line(reader: &mut (impl AsyncBufRead + Unpin), longest: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok((!line.is_empty()).then_some(line));
        }
        let room = longest - line.len();
        let (taken, ended) = match buffer.iter().take(room).position(|byte| *byte == b'\n') {
            Some(at) => (at, true),
            None => (buffer.len().min(room), false),
        };
        line.extend_from_slice(&buffer[..taken]);
        reader.consume_unpin(taken + usize::from(ended));
        if ended || line.len() == longest {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(Some(line));
        }
    }
}

fn place(pod: &Value) -> (String, String) {
    (crate::cluster::namespace_of(pod).to_owned(), name_of(pod).to_owned())
}

fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_programs_has_its_time_apart() {
        let record = record("default", "a-1", b"2026-01-02T03:04:05.678Z hi \x1b[2J there").to_string();
        assert!(record.contains(r#""time":"2026-01-02T03:04:05.678Z""#) && record.contains("hi \\u001b[2J there"), "{record}");
    }

    #[tokio::test]
    async fn h11_endless_lines_come_in_pieces() {
        let mut text = vec![b'x'; LONGEST + 5];
        text.extend(b"\r\nlast");
        let mut reader = futures::io::Cursor::new(text);
        let mut lengths = Vec::new();
        while let Some(line) = line(&mut reader, LONGEST).await.unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [LONGEST, 5, 4]);
    }
}
