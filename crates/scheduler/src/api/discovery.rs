//! What the API serves: groups, versions, kinds and verbs, for clients that ask before they act.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::kinds::{KINDS, Kind, ROUTE_CLAIM};

use super::path::Place;
use super::reply;
use super::status::{Refusal, Result};

/// The Kubernetes version whose kinds and fields are served: that of the types this binary is built with.
const KUBERNETES: (&str, &str) = ("1", "33");

/// Answers `/version`, `/api`, `/apis`, `/apis/GROUP`, `/api/v1` and `/apis/GROUP/VERSION`.
pub(super) fn answer(place: &Place) -> Result<Response> {
    let body = match place {
        Place::Version => version(),
        Place::Core => json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }),
        Place::Groups => {
            let groups: Vec<Value> = groups().into_iter().map(group).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        Place::Group(name) => {
            let mut body = group(name);
            body["kind"] = json!("APIGroup");
            body["apiVersion"] = json!("v1");
            body
        }
        Place::Resources(group, version) => resources(group, version),
        _ => return Err(Refusal::no_such_path()),
    };
    Ok(reply::json(StatusCode::OK, &body, &[]))
}

fn version() -> Value {
    let (major, minor) = KUBERNETES;
    let own = env!("CARGO_PKG_VERSION");
    json!({
        "major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.0+wctl.{own}"), "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "rustc", "platform": format!("wctl/{own}"),
    })
}

fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = Vec::new();
    for kind in KINDS.iter().filter(|kind| !kind.group.is_empty()) {
        if !groups.contains(&kind.group) {
            groups.push(kind.group);
        }
    }
    groups
}

fn group(name: &str) -> Value {
    let mut versions: Vec<&str> = KINDS.iter().filter(|kind| kind.group == name).map(|kind| kind.version).collect();
    versions.dedup();
    let shown = |version: &str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    let versions: Vec<Value> = versions.into_iter().map(shown).collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions.first() })
}

fn resources(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.group == group && kind.version == version) {
        resources.push(resource(kind));
        if kind.status {
            resources.push(part(kind, "status", kind.kind, ["get", "patch", "update"].as_slice()));
        }
        if kind.scale {
            let mut scale = part(kind, "scale", "Scale", ["get", "patch", "update"].as_slice());
            scale["group"] = json!("autoscaling");
            scale["version"] = json!("v1");
            resources.push(scale);
        }
        if kind.kind == "Pod" {
            resources.push(part(kind, "log", "Pod", ["get"].as_slice()));
        }
    }
    let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources })
}

fn resource(kind: &Kind) -> Value {
    let mut verbs = vec!["get", "list", "watch"];
    if kind != &ROUTE_CLAIM {
        verbs.extend(["create", "delete", "deletecollection", "patch", "update"]);
    }
    let mut categories = Vec::new();
    if matches!(kind.kind, "App" | "Deployment" | "ReplicaSet" | "Pod" | "Service" | "Job" | "CronJob" | "HorizontalPodAutoscaler") {
        categories.push("all");
    }
    json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": verbs, "shortNames": kind.short_names, "categories": categories,
    })
}

fn part(kind: &Kind, name: &str, shown: &str, verbs: &[&str]) -> Value {
    json!({ "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced, "kind": shown, "verbs": verbs })
}
