//! `wctl logs --access` and `--request`: what the gateways of all nodes answered, and the trap behind one answer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::io::AsyncBufRead;
use jiff::{SignedDuration, Timestamp};
use scheduler::kinds;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{events, logs};
use crate::args::{Globals, LineFormat, Logs};
use crate::cluster::{Cluster, Pick, code, name_of, path};
use crate::print::{self, harmless};
use crate::target::Part;
use crate::time;

/// Requests that are shown where nothing else was asked for.
const SOME: u64 = 100;

/// The most bytes of a line that are read, far more than a node writes.
const LONGEST: usize = 1 << 20;

/// Shows the requests that match.
pub async fn run(globals: &Globals, asked: Logs) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let part = asked.target.as_deref().map(Part::parse).transpose()?;
    let lines = Lines::ask(&cluster, &asked, part.as_ref()).await?;
    let format = asked.output.output;
    if let Some(id) = &asked.request {
        return one(&cluster, id, lines, format).await;
    }
    if asked.follow {
        return lines.follow(|line| show(&line, format)).await;
    }
    let mut shown = 0u64;
    let tail = tail(&asked);
    lines
        .merged(tail, |line| {
            shown += 1;
            show(&line, format);
        })
        .await?;
    if let (0, Some(part)) = (shown, &part) {
        // Perhaps it only was a slip of the finger.
        part.deployments(&cluster).await?;
    }
    if shown == 0 && tail != Some(0) {
        print::note("no such request was answered, or none is still kept");
    }
    Ok(())
}

fn tail(asked: &Logs) -> Option<u64> {
    asked.tail.or((asked.since.is_none() && asked.request.is_none()).then_some(SOME))
}

/// Finds a request by its id, and what ended it where it trapped.
async fn one(cluster: &Cluster, id: &str, lines: Lines, format: LineFormat) -> Result<()> {
    let mut found = Vec::new();
    lines.merged(Some(SOME), |line| found.push(line)).await?;
    if found.is_empty() {
        bail!("no node knows a request {}: it is still under way, or too long ago", harmless(id));
    }
    for mut line in found {
        let crash = crash(cluster, &line).await;
        if format == LineFormat::Json {
            line["crash"] = crash.unwrap_or_default();
            show(&line, format);
            continue;
        }
        show(&line, format);
        below(line["detail"].as_str().unwrap_or_default().lines().skip(1));
        if let Some(event) = crash {
            let (first, more) = events::message(&event);
            print::line(format_args!("{} {}: {first}", time::clock(events::when(&event)), events::subject(&event)));
            below(more.iter().map(String::as_str));
        }
    }
    Ok(())
}

fn below<'a>(lines: impl Iterator<Item = &'a str>) {
    lines.for_each(|line| print::line(print::dim(format_args!("    {}", harmless(line)))));
}

/// The newest event that tells of the end of a request's pod by traps, at the request or after it.
async fn crash(cluster: &Cluster, line: &Value) -> Option<Value> {
    let (pod, namespace, at) = (line["pod"].as_str()?, line["namespace"].as_str()?, line["at"].as_str()?);
    if !line["reason"].as_str()?.starts_with("trap") {
        return None;
    }
    let about = Pick { labels: None, fields: Some(format!("involvedObject.kind=Pod,involvedObject.name={pod},reason=Trap")) };
    // It only adds to what is known.
    let events = cluster.items(&kinds::EVENT, Some(namespace), &about).await.unwrap_or_default();
    let at: Timestamp = at.parse().ok()?;
    let later = |event: &Value| {
        events::when(event).and_then(|when| when.parse::<Timestamp>().ok()).is_some_and(|when| when.as_second() >= at.as_second())
    };
    events::sorted(events).into_iter().rfind(later)
}

fn show(line: &Value, format: LineFormat) {
    match format {
        LineFormat::Json => print::record(line),
        LineFormat::Text => print::line(sentence(line)),
    }
}

/// One request in a line.
fn sentence(line: &Value) -> String {
    let text = |field: &str| harmless(line[field].as_str().unwrap_or_default()).into_owned();
    let status = line["status"].as_u64().unwrap_or_default();
    let status = if status >= 500 { print::bad(status) } else { print::bold(status) };
    let what = format!("{} {}{} in {} ms", text("method"), text("host"), text("path"), line["ms"]);
    let whose = ["pod", "service"].iter().map(|field| text(field)).find(|name| !name.is_empty()).unwrap_or_else(|| "-".to_owned());
    let why = match line["reason"].as_str() {
        Some("ok") | None => String::new(),
        Some(reason) => match line["detail"].as_str().and_then(|detail| detail.lines().next()) {
            Some(detail) => format!(": {}: {}", harmless(reason), harmless(detail)),
            None => format!(": {}", harmless(reason)),
        },
    };
    let at = print::dim(time::clock(line["at"].as_str()));
    format!("{at} {status} {what}, {}, {}{why}", print::tinted(&whose), print::dim(format_args!("id {}", text("id"))))
}

type Reader = Pin<Box<dyn AsyncBufRead + Send>>;

/// The access logs of all nodes that can be asked.
struct Lines(Vec<(String, Reader)>);

impl Lines {
    async fn ask(cluster: &Cluster, asked: &Logs, part: Option<&Part>) -> Result<Lines> {
        let query = query(asked, part);
        let narrow = part.is_some() || cluster.namespace_asked;
        if !narrow {
            match Lines::within(cluster, &query).await {
                // Who may not read all namespaces gets their own.
                Err(error) if code(&error) == Some(403) => {}
                done => return done,
            }
        }
        let own = [query, vec![("namespace", cluster.namespace.clone())]].concat();
        Lines::within(cluster, &own).await
    }

    async fn within(cluster: &Cluster, query: &[(&str, String)]) -> Result<Lines> {
        let nodes = cluster.items(&kinds::NODE, None, &Pick::default()).await?;
        let mut lines = Vec::new();
        let mut refused = None;
        for node in nodes.iter().map(name_of) {
            let path = format!("{}/proxy/logs/access.log", path(&kinds::NODE, None, Some(node))?);
            match cluster.stream(&path, query, "*/*").await {
                Ok(reader) => lines.push((node.to_owned(), Box::pin(reader) as Reader)),
                Err(error) if code(&error) == Some(403) => return Err(error),
                Err(error) => {
                    print::warn(format_args!("the requests of node {node} are missing: {}", print::chain(&error)));
                    refused = Some(error);
                }
            }
        }
        match refused {
            Some(error) if lines.is_empty() => Err(error.context("no node tells its requests")),
            _ => Ok(Lines(lines)),
        }
    }

    /// Gives all lines by time; with `tail` only so many of the end. Holds no more than these and one line of each node.
    async fn merged(self, tail: Option<u64>, mut take: impl FnMut(Value)) -> Result<()> {
        let mut heads = Vec::new();
        for (node, mut reader) in self.0 {
            let next = next(&node, &mut reader).await?;
            heads.push((node, reader, next));
        }
        let mut last = VecDeque::new();
        while let Some(oldest) = heads.iter_mut().filter(|(.., line)| line.is_some()).min_by(|(.., a), (.., b)| when(a).cmp(&when(b))) {
            let (node, reader, line) = oldest;
            let line = std::mem::replace(line, next(node, reader).await?);
            let Some(line) = line else { continue };
            let Some(tail) = tail else {
                take(line);
                continue;
            };
            last.push_back(line);
            if last.len() as u64 > tail {
                last.pop_front();
            }
        }
        last.into_iter().for_each(take);
        Ok(())
    }

    /// Gives lines as they come, until no node tells more.
    async fn follow(self, take: impl Fn(Value)) -> Result<()> {
        let (sender, mut lines) = mpsc::channel(64);
        let mut readers = JoinSet::new();
        for (node, mut reader) in self.0 {
            let sender = sender.clone();
            readers.spawn(async move {
                while let Ok(Some(line)) = next(&node, &mut reader).await {
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
                print::warn(format_args!("node {node} tells no more requests"));
            });
        }
        drop(sender);
        while let Some(line) = lines.recv().await {
            take(line);
        }
        bail!("no node tells requests any more")
    }
}

fn when(line: &Option<Value>) -> Option<&str> {
    line.as_ref()?["at"].as_str()
}

/// The next line of a node, as an object with its `type` and the node.
async fn next(node: &str, reader: &mut Reader) -> Result<Option<Value>> {
    while let Some(line) = logs::line(reader, LONGEST).await? {
        if let Ok(Value::Object(mut line)) = serde_json::from_slice(&line) {
            line.insert("type".to_owned(), "request".into());
            line.insert("node".to_owned(), node.into());
            return Ok(Some(Value::Object(line)));
        }
    }
    Ok(None)
}

fn query(asked: &Logs, part: Option<&Part>) -> Vec<(&'static str, String)> {
    let mut query = vec![("follow", asked.follow.to_string())];
    query.extend(tail(asked).map(|lines| ("tailLines", lines.to_string())));
    query.extend(asked.since.and_then(ago).map(|since| ("sinceTime", since.to_string())));
    query.extend(asked.request.iter().map(|id| ("request", id.clone())));
    query.extend(part.map(|part| ("app", part.app.clone())));
    query.extend(part.and_then(|part| part.service.clone()).map(|service| ("service", service)));
    query
}

fn ago(span: Duration) -> Option<Timestamp> {
    Timestamp::now().checked_sub(SignedDuration::try_from(span).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, seconds: &[u32]) -> (String, Reader) {
        let line = |second| format!("{{\"at\":\"2026-01-01T00:00:{second:02}Z\",\"id\":\"{name}{second}\"}}\n");
        let text: String = seconds.iter().map(line).collect();
        (name.to_owned(), Box::pin(futures::io::Cursor::new(text.into_bytes())))
    }

    #[tokio::test]
    async fn the_lines_of_all_nodes_come_by_time() {
        for (tail, wanted) in [(None, "a1 b2 a3 b4 b5"), (Some(2), "b4 b5"), (Some(0), "")] {
            let mut ids = Vec::new();
            let lines = Lines(vec![node("a", &[1, 3]), node("b", &[2, 4, 5]), node("c", &[])]);
            lines.merged(tail, |line| ids.push(line["id"].as_str().unwrap().to_owned())).await.unwrap();
            assert_eq!(ids.join(" "), wanted);
        }
    }

    #[test]
    fn a_request_is_a_line_that_steers_no_terminal() {
        let line = json!({"at": "2026-01-01T00:00:01Z", "status": 500, "method": "POST", "host": "a.test", "path": "/\u{1b}[2J", "ms": 1.5,
            "pod": "a-1", "id": "7", "reason": "trap", "detail": "the guest trapped: unreachable\n0: a"});
        let told = console::strip_ansi_codes(&sentence(&line)).into_owned();
        assert!(told.ends_with(" 500 POST a.test/\\u{1b}[2J in 1.5 ms, a-1, id 7: trap: the guest trapped: unreachable"), "{told}");
    }
}
