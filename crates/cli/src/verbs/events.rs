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
    Ok(())
}

fn show(events: &[Value], format: Format, watched: bool) -> Result<()> {
    match format {
        Format::Table | Format::Wide if watched => events.iter().for_each(|event| print::line(sentence(event))),
        Format::Table | Format::Wide if events.is_empty() => print::note("there are no events"),
        Format::Table | Format::Wide => table(events).print(),
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

/// Events in columns.
pub fn table(events: &[Value]) -> Table {
    let mut table = Table::new(["age", "about", "reason", "message"]);
    for event in events {
        let count = event["count"].as_u64().filter(|count| *count > 1).map(|count| format!(" (x{count})")).unwrap_or_default();
        let message = format!("{}{count}", harmless(event["message"].as_str().unwrap_or_default()));
        table.row([time::age(when(event)), subject(event), reason(event), message]);
    }
    table
}

/// One event in a line, for streams.
pub fn sentence(event: &Value) -> String {
    let message = harmless(event["message"].as_str().unwrap_or_default()).into_owned();
    format!("{} {} {}: {message}", print::dim(time::clock(when(event))), print::bold(subject(event)), reason(event))
}

/// Oldest first.
pub fn sorted(mut events: Vec<Value>) -> Vec<Value> {
    events.sort_by(|a, b| when(a).cmp(&when(b)).then_with(|| version(a).cmp(&version(b))));
    events
}

/// When an event last happened, as it is written in the event.
fn when(event: &Value) -> Option<&str> {
    ["lastTimestamp", "eventTime", "firstTimestamp"]
        .iter()
        .find_map(|field| event[field].as_str())
        .or(event["metadata"]["creationTimestamp"].as_str())
}

fn version(event: &Value) -> u64 {
    event["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn subject(event: &Value) -> String {
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
