//! `metrics.k8s.io/v1beta1`: what nodes and pods use right now, as the nodes measure it when they are asked.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use axum::response::Response;
use futures::future::join_all;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Identity;
use crate::kinds::{Kind, NODE, POD};

use super::path::{Query, Target, Usage};
use super::reply::Form;
use super::selector::Selector;
use super::status::{Refusal, Result};
use super::{Api, access, read, reply};

/// A node that takes longer is left out, so that one that hangs does not hide the others.
const PATIENCE: Duration = Duration::from_secs(3);
const VERSION: &str = "metrics.k8s.io/v1beta1";

/// What a node answers to the ask `usage`.
#[derive(Debug, Deserialize)]
struct Told {
    /// When it was measured.
    at: jiff::Timestamp,
    /// Over how many milliseconds the CPU figures were measured.
    window: u64,
    /// What the node uses as a whole.
    #[serde(flatten)]
    node: Used,
    /// By uid; of its other pods that run, nothing is used.
    pods: HashMap<String, Used>,
    /// Pods that have not been measured.
    young: HashSet<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Used {
    /// Billionths of a core.
    cpu: u64,
    /// Bytes.
    memory: u64,
}

pub(super) async fn answer(api: &Api, who: &Identity, usage: Usage, query: &Query, headers: &HeaderMap) -> Result<Response> {
    let (kind, namespace, name) = match usage {
        Usage::Nodes { name } => (&NODE, None, name),
        Usage::Pods { namespace, name } => (&POD, namespace, name),
    };
    access::may_see(who, if name.is_some() { "get" } else { "list" }, kind, namespace.as_deref())?;
    let target = Target { kind, namespace, name, part: String::new() };
    let selector = Selector::of(kind, query)?;
    let objects = match target.name {
        Some(_) => vec![read::object(api, &target).await?.0],
        None => read::select(api, &target, &selector, None, None).await?.items,
    };
    let told = measured(api, kind, &objects).await;
    let items: Vec<Value> = objects.iter().filter_map(|object| shown(kind, object, &told)).collect();
    let body = match (&target.name, items.first()) {
        (Some(name), None) => {
            let name = target.namespace.as_ref().map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
            let what = format!("{}metrics.metrics.k8s.io \"{name}\" not found", kind.singular);
            return Err(Refusal::new(404, "NotFound", what));
        }
        (Some(_), Some(item)) => item.clone(),
        (None, _) => json!({ "kind": format!("{}MetricsList", kind.kind), "apiVersion": VERSION, "metadata": {}, "items": items }),
    };
    let body = match (Form::of(headers, query), target.name.is_some()) {
        (Form::Table(_), named) => table(kind, if named { vec![body] } else { items }),
        _ => body,
    };
    Ok(reply::json(StatusCode::OK, &body, &[]))
}

/// What each of the nodes that these objects are, or are on, says.
async fn measured(api: &Api, kind: &Kind, objects: &[Value]) -> HashMap<String, Told> {
    let wanted = |node: &String| objects.iter().any(|object| node_of(kind, object) == node);
    let nodes: Vec<String> = api.0.links.nodes().into_iter().filter(wanted).collect();
    let ask = |node: &String| {
        let (api, node) = (api.clone(), node.clone());
        async move {
            let told = tokio::time::timeout(PATIENCE, api.ask::<Told>(&node, json!({ "ask": "usage" }))).await;
            match told {
                Ok(Ok(told)) => return Some((node, told)),
                Ok(Err(refusal)) => tracing::debug!(node, %refusal, "what it uses is not known"),
                Err(_) => tracing::debug!(node, "what it uses is not known: it did not answer within {PATIENCE:?}"),
            }
            None
        }
    };
    join_all(nodes.iter().map(ask)).await.into_iter().flatten().collect()
}

fn node_of<'a>(kind: &Kind, object: &'a Value) -> &'a str {
    let at = if kind == &NODE { "/metadata/name" } else { "/spec/nodeName" };
    object.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// The metrics of one object; none where its node did not say, or has not measured it: clients know that a pod may be too young.
fn shown(kind: &Kind, object: &Value, told: &HashMap<String, Told>) -> Option<Value> {
    let node = told.get(node_of(kind, object))?;
    let (meta, at) = (&object["metadata"], format!("{:.0}", node.at));
    let mut out = json!({
        "kind": format!("{}Metrics", kind.kind), "apiVersion": VERSION, "timestamp": at,
        "window": format!("{}.{:03}s", node.window / 1000, node.window % 1000),
        "metadata": { "name": meta["name"], "creationTimestamp": at },
    });
    for field in ["namespace", "labels"] {
        if let Some(value) = meta.get(field) {
            out["metadata"][field] = value.clone();
        }
    }
    if kind == &NODE {
        out["usage"] = amounts(node.node);
    } else {
        let uid = meta["uid"].as_str()?;
        if object["status"]["phase"] != "Running" || node.young.contains(uid) {
            return None;
        }
        let used = node.pods.get(uid).copied().unwrap_or_default();
        out["containers"] = json!([{ "name": object["spec"]["containers"][0]["name"], "usage": amounts(used) }]);
    }
    Some(out)
}

fn amounts(used: Used) -> Value {
    json!({ "cpu": format!("{}n", used.cpu), "memory": format!("{}Ki", used.memory.div_ceil(1024)) })
}

fn table(kind: &Kind, items: Vec<Value>) -> Value {
    let column = |name: &str| json!({ "name": name, "type": "string", "format": if name == "Name" { "name" } else { "" }, "description": "", "priority": 0 });
    let rows: Vec<Value> = items
        .into_iter()
        .map(|item| {
            let usage = if kind == &NODE { &item["usage"] } else { &item["containers"][0]["usage"] };
            let cells = json!([item["metadata"]["name"], usage["cpu"], usage["memory"], item["window"]]);
            json!({ "cells": cells, "object": { "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"] } })
        })
        .collect();
    let columns = ["Name", "CPU", "Memory", "Window"].map(column);
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": columns, "rows": rows,
    })
}
