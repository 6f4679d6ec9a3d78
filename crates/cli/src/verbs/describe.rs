//! `wctl describe`: all about one object, for people, with its recent events.

mod left;

use anyhow::Result;
use scheduler::kinds::{self, Kind};
use serde_json::{Value, json};

use crate::args::{Describe, Format, Globals};
use crate::cluster::{Cluster, Pick, name_of, namespace_of};
use crate::print::{self, harmless};
use crate::target::{self, Part};
use crate::time;
use crate::verbs::events::{self, About};
use crate::verbs::status;

/// The most events that are shown.
const EVENTS: usize = 20;
/// What is shown elsewhere, or is for programs.
const HIDDEN: [&str; 4] = ["managedFields", "wctl.dev/template", "selfLink", "kubectl.kubernetes.io/last-applied-configuration"];

/// Describes.
pub async fn run(globals: &Globals, describe: Describe) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let (format, meant) = (describe.output.output, meant(&cluster, &describe).await?);
    let mut items = Vec::new();
    for (kind, name) in &meant {
        let mut object = cluster.must_get(kind, &cluster.namespace, name).await?;
        match format {
            Format::Table | Format::Wide => people(&cluster, kind, &object).await?,
            Format::Name => print::line(format_args!("{}/{name}", kind.singular)),
            Format::Json | Format::Yaml => {
                object["events"] = recent(&cluster, kind, &object).await?.into();
                if **kind == kinds::NODE {
                    object["budgets"] = left::of(&cluster, name).await.unwrap_or_default().iter().map(left::Left::value).collect();
                }
                items.push(object);
            }
        }
    }
    if matches!(format, Format::Json | Format::Yaml) {
        return match (items.pop(), items.is_empty(), is_list(&describe)) {
            (Some(one), true, false) => print::value(&one, format),
            (last, ..) => {
                items.extend(last);
                print::value(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}), format)
            }
        };
    }
    Ok(())
}

/// Whether all of a kind are meant.
fn is_list(describe: &Describe) -> bool {
    describe.name.is_none() && Kind::named(&describe.kind).is_some()
}

/// `KIND NAME`, `KIND/NAME`, or `APP` and `APP/SERVICE`.
async fn meant(cluster: &Cluster, describe: &Describe) -> Result<Vec<(&'static Kind, String)>> {
    if let Some(name) = &describe.name {
        return Ok(vec![(target::kind(&describe.kind)?, name.clone())]);
    }
    match describe.kind.split_once('/') {
        Some((word, name)) if Kind::named(word).is_some() => Ok(vec![(target::kind(word)?, name.to_owned())]),
        Some(_) => {
            let deployment = Part::parse(&describe.kind)?.deployment(cluster).await?;
            Ok(vec![(&kinds::DEPLOYMENT, name_of(&deployment).to_owned())])
        }
        // The kind alone means all of that kind.
        None => match Kind::named(&describe.kind) {
            Some(kind) => {
                let items = cluster.items(kind, Some(&cluster.namespace), &Pick::default()).await?;
                Ok(items.iter().map(|item| (kind, name_of(item).to_owned())).collect())
            }
            None => Ok(vec![(&kinds::APP, describe.kind.clone())]),
        },
    }
}

async fn people(cluster: &Cluster, kind: &'static Kind, object: &Value) -> Result<()> {
    heading(kind, object);
    if *kind == kinds::APP {
        print::line(format_args!("Phase: {}", status::phase(object)));
        for reason in status::reasons(object, &status::pods(cluster, object).await?) {
            print::line(format_args!("  {} {reason}", print::pending("!")));
        }
    }
    if *kind == kinds::POD {
        pod(object);
    }
    for field in ["spec", "data", "rules", "endpoints", "status"] {
        // What a Secret holds is never shown.
        let hidden = *kind == kinds::SECRET && field == "data";
        let value = &object[field];
        if hidden {
            print::line(print::bold("Data:"));
            value.as_object().into_iter().flatten().for_each(|(name, _)| print::line(format_args!("  {name}: (set)")));
        } else if !value.is_null() {
            print::line(print::bold(format_args!("{}{}:", field[..1].to_uppercase(), &field[1..])));
            lines(value, 1).iter().for_each(print::line);
        }
    }
    if *kind == kinds::NODE {
        print::line(print::bold("Left:"));
        match left::of(cluster, name_of(object)).await {
            Ok(budgets) => budgets.iter().for_each(|budget| print::line(format_args!("  {}", harmless(&budget.line())))),
            Err(error) => print::line(format_args!("  (the node does not tell: {})", print::chain(&error))),
        }
    }
    print::line(print::bold("Events:"));
    let recent = events::lines(&recent(cluster, kind, object).await?);
    recent.iter().for_each(|line| print::line(format_args!("  {line}")));
    if recent.is_empty() {
        print::line("  (none)");
    }
    Ok(())
}

fn heading(kind: &Kind, object: &Value) {
    let metadata = &object["metadata"];
    let namespace = if kind.namespaced { format!(" in namespace {}", namespace_of(object)) } else { String::new() };
    print::line(format_args!("{} {}{namespace}", kind.kind, print::bold(name_of(object))));
    print::line(format_args!("Age: {}", time::age(metadata["creationTimestamp"].as_str())));
    if let Some(at) = metadata["deletionTimestamp"].as_str() {
        print::line(print::pending(format_args!("Terminating since {}", time::age(Some(at)))));
    }
    for field in ["labels", "annotations"] {
        let shown: Vec<_> = metadata[field].as_object().into_iter().flatten().filter(|(key, _)| !HIDDEN.contains(&key.as_str())).collect();
        for (at, (key, value)) in shown.iter().enumerate() {
            let head = if at == 0 { format!("{}{}: ", field[..1].to_uppercase(), &field[1..]) } else { " ".repeat(field.len() + 2) };
            print::line(format_args!("{head}{key}={}", harmless(value.as_str().unwrap_or_default())));
        }
    }
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        print::line(format_args!(
            "Owned by: {} {}",
            owner["kind"].as_str().unwrap_or_default(),
            owner["name"].as_str().unwrap_or_default()
        ));
    }
}

/// What people look for in a pod first: does it run, how often did it crash, and why.
fn pod(object: &Value) {
    let container = &object["status"]["containerStatuses"][0];
    let state =
        |state: &Value| state.as_object().and_then(|states| states.iter().next()).map(|(name, detail)| (name.clone(), detail.clone()));
    let node = object["spec"]["nodeName"].as_str().unwrap_or("(none yet)");
    print::line(format_args!("Node: {node}"));
    if let Some(why) = crate::follow::unplaced(object) {
        print::line(print::bad(harmless(&why)));
    }
    if let Some((name, detail)) = state(&container["state"]) {
        let reason = detail["reason"].as_str().unwrap_or_default();
        print::line(if name == "running" { format!("State: {name}") } else { format!("State: {name} {}", print::bad(reason)) });
        detail["message"].as_str().into_iter().flat_map(str::lines).for_each(|line| print::line(format_args!("  {}", harmless(line))));
    }
    print::line(format_args!("Restarts: {}", container["restartCount"].as_u64().unwrap_or(0)));
    let ended = &container["lastState"]["terminated"];
    if ended.is_object() {
        let at = time::age(ended["finishedAt"].as_str());
        print::line(format_args!(
            "Last end: {} (exit code {}, {at} ago)",
            print::bad(ended["reason"].as_str().unwrap_or("-")),
            ended["exitCode"]
        ));
        ended["message"].as_str().into_iter().flat_map(str::lines).for_each(|line| print::line(format_args!("  {}", harmless(line))));
    }
}

/// Its newest events, oldest first.
async fn recent(cluster: &Cluster, kind: &'static Kind, object: &Value) -> Result<Vec<Value>> {
    let about = match kind {
        k if *k == kinds::APP => About::part(cluster, &Part { app: name_of(object).to_owned(), service: None }).await?,
        _ => About::Object(kind, name_of(object).to_owned()),
    };
    let namespace = kind.namespaced.then_some(cluster.namespace.as_str());
    let mut found = events::sorted(cluster.items(&kinds::EVENT, namespace, &Pick::default()).await?);
    found.retain(|event| about.covers(event));
    Ok(found.split_off(found.len().saturating_sub(EVENTS)))
}

/// A value as indented lines, harmless to a terminal.
fn lines(value: &Value, depth: usize) -> Vec<String> {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            let shown = fields.iter().filter(|(key, _)| !HIDDEN.contains(&key.as_str()));
            shown.flat_map(|(key, value)| entry(&format!("{indent}{}:", harmless(key)), value, depth)).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| item_lines(&indent, item, depth)).collect(),
        scalar => text(scalar).lines().map(|line| format!("{indent}{}", harmless(line))).collect(),
    }
}

/// An item of a list: its first line after a dash, the rest below.
fn item_lines(indent: &str, item: &Value, depth: usize) -> Vec<String> {
    let mut lines = lines(item, depth + 1);
    match lines.first_mut() {
        Some(first) => *first = format!("{indent}- {}", first.trim_start()),
        None => lines.push(format!("{indent}- {item}")),
    }
    lines
}

fn entry(head: &str, value: &Value, depth: usize) -> Vec<String> {
    let below = || std::iter::once(head.to_owned()).chain(lines(value, depth + 1)).collect();
    match value {
        Value::Object(fields) if fields.is_empty() => vec![format!("{head} {{}}")],
        Value::Array(items) if items.is_empty() => vec![format!("{head} []")],
        Value::Object(_) | Value::Array(_) => below(),
        scalar if text(scalar).contains('\n') => below(),
        scalar => vec![format!("{head} {}", harmless(&text(scalar)))],
    }
}

fn text(scalar: &Value) -> String {
    scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_indented_lines() {
        let value = json!({"a": 1, "b": {"c": ["x", {"d": "two\nlines"}]}, "e": {}, "f": "\u{1b}[31m"});
        let want = ["a: 1", "b:", "  c:", "    - x", "    - d:", "        two", "        lines", "e: {}", "f: \\u{1b}[31m"];
        assert_eq!(lines(&value, 0), want);
    }
}
