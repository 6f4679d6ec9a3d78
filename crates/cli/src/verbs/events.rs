//! `wctl events`: what happened, oldest first.

use anyhow::{Result, bail};
use futures::StreamExt;
use scheduler::kinds::{self, Kind};
use serde_json::{Value, json};

use crate::args::{Events, Format, Globals};
use crate::cluster::{Change, Cluster, Pick, name_of};
use crate::print::{self, Table, harmless};
use crate::target::{self, Part};
use crate::time;

/// Lists events, and with `--watch` goes on with each new one.
pub async fn run(globals: &Globals, events: Events) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let namespace = if events.all_namespaces { None } else { Some(cluster.namespace.clone()) };
    let about = match &events.about {
        Some(text) => Some(About::parse(&cluster, text).await?),
        None => None,
    };
    let wanted = |event: &Value| about.as_ref().is_none_or(|about| about.covers(event));
    let list = cluster.list(&kinds::EVENT, namespace.as_deref(), &Pick::default()).await?;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
    let found = sorted(list["items"].as_array().into_iter().flatten().filter(|event| wanted(event)).cloned().collect());
    let format = events.output.output;
    show(&found, format, events.watch)?;
    if !events.watch {
        return Ok(());
    }
    let mut changes = cluster.watch(&kinds::EVENT, namespace.as_deref(), &Pick::default(), &version, false).await?;
    while let Some(change) = changes.next().await {
        if let Change::Is(event) = change?
            && wanted(&event)
        {
            match format {
                Format::Table | Format::Wide => print::line(sentence(&event)),
                _ => whole(&[event], format, false)?,
            }
        }
    }
    Err(cluster.ended())
}

fn show(events: &[Value], format: Format, watched: bool) -> Result<()> {
    match format {
        Format::Table | Format::Wide if watched => events.iter().for_each(|event| print::line(sentence(event))),
        // Those that were and those to come are told alike: one by one.
        _ if watched => events.iter().try_for_each(|event| whole(std::slice::from_ref(event), format, false))?,
        Format::Table | Format::Wide if events.is_empty() => print::note("there are no events"),
        Format::Table | Format::Wide => lines(events).iter().for_each(print::line),
        _ => whole(events, format, true)?,
    }
    Ok(())
}

fn whole(events: &[Value], format: Format, list: bool) -> Result<()> {
    match (format, events) {
        (Format::Name, _) => events.iter().for_each(|event| print::line(format_args!("event/{}", name_of(event)))),
        (_, [event]) if !list => print::value(event, format)?,
        _ => print::value(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": events}), format)?,
    }
    Ok(())
}

/// Events in columns, with their headers; the further lines of a message, such as a backtrace, stand below its first.
pub fn lines(events: &[Value]) -> Vec<String> {
    let mut table = Table::new(["age", "about", "reason", "message"]);
    for event in events {
        let count = event["count"].as_u64().filter(|count| *count > 1).map(|count| format!(" (x{count})")).unwrap_or_default();
        table.row([time::age(when(event)), subject(event), reason(event), format!("{}{count}", message(event).0)]);
    }
    if table.is_empty() {
        return Vec::new();
    }
    let mut rows = table.lines().into_iter();
    let headers = rows.next();
    let below = |event: &Value| message(event).1.into_iter().map(|line| format!("    {line}")).collect::<Vec<_>>();
    headers.into_iter().chain(rows.zip(events).flat_map(|(row, event)| std::iter::once(row).chain(below(event)))).collect()
}

/// One event in a line, for streams; the further lines of its message below.
pub fn sentence(event: &Value) -> String {
    let (first, more) = message(event);
    let more: String = more.iter().map(|line| format!("\n    {line}")).collect();
    format!("{} {} {}: {first}{}", print::dim(time::clock(when(event))), print::bold(subject(event)), reason(event), print::dim(more))
}

/// The first line of an event's message, and the others.
pub fn message(event: &Value) -> (String, Vec<String>) {
    let text = print::short_digests(event["message"].as_str().unwrap_or_default());
    let mut lines = text.lines().map(|line| harmless(line.trim_end()).into_owned());
    (lines.next().unwrap_or_default(), lines.collect())
}

/// Oldest first.
pub fn sorted(mut events: Vec<Value>) -> Vec<Value> {
    events.sort_by(|a, b| when(a).cmp(&when(b)).then_with(|| version(a).cmp(&version(b))));
    events
}

/// When an event last happened, as it is written in the event.
pub fn when(event: &Value) -> Option<&str> {
    ["lastTimestamp", "eventTime", "firstTimestamp"]
        .iter()
        .find_map(|field| event[field].as_str())
        .or(event["metadata"]["creationTimestamp"].as_str())
}

fn version(event: &Value) -> u64 {
    event["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// Whom an event is about: `pod/hello-1`.
pub fn subject(event: &Value) -> String {
    let about = &event["involvedObject"];
    let kind = about["kind"].as_str().unwrap_or_default().to_lowercase();
    harmless(&format!("{kind}/{}", about["name"].as_str().unwrap_or_default())).into_owned()
}

fn reason(event: &Value) -> String {
    let reason = harmless(event["reason"].as_str().unwrap_or_default()).into_owned();
    if event["type"] == "Warning" { print::pending(reason) } else { reason }
}

/// What events are to be about.
pub enum About {
    /// One object.
    Object(&'static Kind, String),
    /// An app, or a service of it: itself and all that belongs to it.
    Objects(Vec<(String, String)>, Vec<String>),
}

impl About {
    async fn parse(cluster: &Cluster, text: &str) -> Result<About> {
        if let Some((word, name)) = text.split_once('/')
            && Kind::named(word).is_some()
        {
            return Ok(About::Object(target::kind(word)?, name.to_owned()));
        }
        About::part(cluster, &Part::parse(text)?).await
    }

    /// All that belongs to an app or a service, as it is now.
    pub async fn part(cluster: &Cluster, part: &Part) -> Result<About> {
        let namespace = Some(cluster.namespace.as_str());
        let mut objects = Vec::new();
        if part.service.is_none() {
            objects.push((kinds::APP.kind.to_owned(), part.app.clone()));
        }
        let mut prefixes = Vec::new();
        for deployment in part.deployments(cluster).await? {
            // Pods and ReplicaSets that are gone had their Deployment's name as their prefix.
            prefixes.push(format!("{}-", name_of(&deployment)));
            objects.push((kinds::DEPLOYMENT.kind.to_owned(), name_of(&deployment).to_owned()));
        }
        for kind in [&kinds::REPLICA_SET, &kinds::POD, &kinds::SERVICE, &kinds::INGRESS] {
            let found = cluster.items(kind, namespace, &part.pick()).await?;
            objects.extend(found.iter().map(|object| (kind.kind.to_owned(), name_of(object).to_owned())));
        }
        if objects.is_empty() {
            bail!("nothing belongs to {part}");
        }
        Ok(About::Objects(objects, prefixes))
    }

    /// Whether an event is about it.
    pub fn covers(&self, event: &Value) -> bool {
        let about = &event["involvedObject"];
        let (Some(kind), Some(name)) = (about["kind"].as_str(), about["name"].as_str()) else { return false };
        match self {
            About::Object(wanted, wanted_name) => kind == wanted.kind && name == wanted_name,
            About::Objects(objects, prefixes) => {
                let replica = matches!(kind, "Pod" | "ReplicaSet");
                objects.iter().any(|(k, n)| k == kind && n == name)
                    || (replica && prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_stands_below_its_event() {
        let event = |message: &str| json!({"involvedObject": {"kind": "Pod", "name": "p"}, "reason": "Trap", "message": message});
        let lines = lines(&[event("it trapped\n0: a\u{1b}[2J\n1: b"), event("again")]);
        let ends: Vec<&str> = lines.iter().map(|line| line.rsplit("   ").next().unwrap_or_default().trim()).collect();
        assert_eq!(ends, ["MESSAGE", "it trapped", "0: a\\u{1b}[2J", "1: b", "again"]);
    }
}
