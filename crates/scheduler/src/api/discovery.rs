//! What the API serves: groups, versions, kinds and verbs, for clients that ask before they act.

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::kinds::{KINDS, Kind, ROUTE_CLAIM};

use super::path::Place;
use super::reply;
use super::status::{Refusal, Result};

/// The Kubernetes version whose kinds and fields are served: that of the types this binary is built with.
const KUBERNETES: (&str, &str) = ("1", "33");

/// What is answered but never kept, so that it is no [`Kind`].
struct Unkept {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    namespaced: bool,
    verbs: &'static [&'static str],
}

const fn review(group: &'static str, kind: &'static str, plural: &'static str, singular: &'static str) -> Unkept {
    Unkept { group, version: "v1", kind, plural, singular, namespaced: false, verbs: &["create"] }
}

static UNKEPT: &[Unkept] = &[
    review("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview"),
    review("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview"),
    review("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview"),
    Unkept {
        group: "metrics.k8s.io",
        version: "v1beta1",
        kind: "NodeMetrics",
        plural: "nodes",
        singular: "",
        namespaced: false,
        verbs: &["get", "list"],
    },
    Unkept {
        group: "metrics.k8s.io",
        version: "v1beta1",
        kind: "PodMetrics",
        plural: "pods",
        singular: "",
        namespaced: true,
        verbs: &["get", "list"],
    },
];

/// A part of an object with a URL of its own.
struct Part {
    name: &'static str,
    /// Group, version and kind of what is sent and answered.
    shown: (&'static str, &'static str, &'static str),
    verbs: &'static [&'static str],
}

fn parts(kind: &Kind) -> Vec<Part> {
    const CHANGED: &[&str] = &["get", "patch", "update"];
    let mut parts = Vec::new();
    if kind.status && !kind.is_read_only() {
        parts.push(Part { name: "status", shown: (kind.group, kind.version, kind.kind), verbs: CHANGED });
    }
    if kind.scale && !kind.is_read_only() {
        parts.push(Part { name: "scale", shown: ("autoscaling", "v1", "Scale"), verbs: CHANGED });
    }
    if kind.kind == "Pod" {
        parts.push(Part { name: "log", shown: ("", "v1", "Pod"), verbs: &["get"] });
        parts.push(Part { name: "eviction", shown: ("policy", "v1", "Eviction"), verbs: &["create"] });
        parts.push(Part { name: "portforward", shown: ("", "v1", "PodPortForwardOptions"), verbs: &["create", "get"] });
    }
    parts
}

/// What may be done with objects of a kind.
pub(super) fn verbs(kind: &Kind) -> &'static [&'static str] {
    if kind == &ROUTE_CLAIM {
        &["delete", "get", "list", "watch"]
    } else if kind.is_read_only() {
        &["get", "list", "watch"]
    } else {
        &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    }
}

fn categories(kind: &Kind) -> &'static [&'static str] {
    match kind.kind {
        "App"
        | "Deployment"
        | "ReplicaSet"
        | "Pod"
        | "Service"
        | "Job"
        | "CronJob"
        | "HorizontalPodAutoscaler"
        | "DaemonSet"
        | "StatefulSet" => &["all"],
        _ => &[],
    }
}

/// Answers `/version`, `/api`, `/apis`, `/apis/GROUP`, `/api/v1` and `/apis/GROUP/VERSION`.
pub(super) fn answer(place: &Place, headers: &HeaderMap) -> Result<Response> {
    if let (Place::Core | Place::Groups, Some(version)) = (place, aggregated(headers)) {
        return Ok(whole(matches!(place, Place::Core), version));
    }
    let body = match place {
        Place::Version => version(),
        Place::Core => json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }),
        Place::Groups => {
            let groups: Vec<Value> =
                groups().into_iter().filter(|(name, _)| !name.is_empty()).map(|(name, version)| group(name, version)).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        Place::Group(name) => {
            let (_, version) = groups().into_iter().find(|(group, _)| group == name).ok_or_else(Refusal::no_such_path)?;
            let mut body = group(name, version);
            body["kind"] = json!("APIGroup");
            body["apiVersion"] = json!("v1");
            body
        }
        Place::Resources(group, version) => resources(group, version),
        _ => return Err(Refusal::no_such_path()),
    };
    Ok(reply::json(StatusCode::OK, &body, &[]))
}

/// `/version`.
pub(super) fn version() -> Value {
    let (major, minor) = KUBERNETES;
    let own = env!("CARGO_PKG_VERSION");
    json!({
        "major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.0+wctl.{own}"), "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "rustc", "platform": format!("wctl/{own}"),
    })
}

/// The list of ReplicationControllers, of which there is never one.
pub(super) fn no_controllers(version: u64) -> Value {
    json!({ "kind": "ReplicationControllerList", "apiVersion": "v1", "metadata": { "resourceVersion": version.to_string() }, "items": [] })
}

/// Each group, and its one version; the core group is `""`.
fn groups() -> Vec<(&'static str, &'static str)> {
    let mut groups: Vec<(&str, &str)> = Vec::new();
    let all = KINDS.iter().map(|kind| (kind.group, kind.version)).chain(UNKEPT.iter().map(|unkept| (unkept.group, unkept.version)));
    for one in all {
        if !groups.contains(&one) {
            groups.push(one);
        }
    }
    groups
}

/// A group's name as the URL has it, if it is served.
pub(super) fn known_group(name: &str) -> Option<&'static str> {
    groups().into_iter().map(|(group, _)| group).find(|group| *group == name && !group.is_empty())
}

/// A group and version as the URL has them, if they are served.
pub(super) fn known_version(name: &str, version: &str) -> Option<(&'static str, &'static str)> {
    groups().into_iter().find(|one| *one == (name, version))
}

/// `api/v1`, `apis/apps/v1` …
pub(super) fn group_versions() -> Vec<String> {
    let place =
        |(group, version): (&str, &str)| if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
    groups().into_iter().map(place).collect()
}

fn group(name: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

fn resources(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.group == group && kind.version == version) {
        resources.push(json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind, "verbs": verbs(kind),
            "shortNames": kind.short_names, "categories": categories(kind),
        }));
        resources.extend(parts(kind).into_iter().map(|part| {
            let (group, version, shown) = part.shown;
            let mut out = json!({
                "name": format!("{}/{}", kind.plural, part.name), "singularName": "", "namespaced": kind.namespaced, "kind": shown, "verbs": part.verbs,
            });
            if (group, version) != (kind.group, kind.version) {
                out["group"] = json!(group);
                out["version"] = json!(version);
            }
            out
        }));
    }
    resources.extend(unkept(group, version).map(|one| {
        json!({ "name": one.plural, "singularName": one.singular, "namespaced": one.namespaced, "kind": one.kind, "verbs": one.verbs })
    }));
    let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources })
}

fn unkept(group: &str, version: &str) -> impl Iterator<Item = &'static Unkept> {
    UNKEPT.iter().filter(move |one| one.group == group && one.version == version)
}

/// The version of aggregated discovery that the client would rather have than the older form.
fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
    accept.split(',').find_map(|choice| {
        let has = |wanted: &str| choice.split(';').any(|part| part.trim() == wanted);
        let asked = has("application/json") && has("g=apidiscovery.k8s.io") && has("as=APIGroupDiscoveryList");
        ["v2", "v2beta1"].into_iter().find(|version| asked && has(&format!("v={version}")))
    })
}

/// Everything at once: the core group, or all others.
fn whole(core: bool, version: &str) -> Response {
    let items: Vec<Value> =
        groups().into_iter().filter(|(name, _)| name.is_empty() == core).map(|(name, version)| group_whole(name, version)).collect();
    let body =
        json!({ "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items });
    let mut response = reply::json(StatusCode::OK, &body, &[]);
    let form = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    if let Ok(form) = HeaderValue::from_str(&form) {
        response.headers_mut().insert(header::CONTENT_TYPE, form);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn group_whole(group: &str, version: &str) -> Value {
    let scope = |namespaced| if namespaced { "Namespaced" } else { "Cluster" };
    let shown = |(group, version, kind): (&str, &str, &str)| json!({ "group": group, "version": version, "kind": kind });
    let kinds = KINDS.iter().filter(|kind| kind.group == group && kind.version == version).map(|kind| {
        let part = |part: Part| json!({ "subresource": part.name, "responseKind": shown(part.shown), "verbs": part.verbs });
        let mut resource = json!({
            "resource": kind.plural, "responseKind": shown((kind.group, kind.version, kind.kind)), "scope": scope(kind.namespaced),
            "singularResource": kind.singular, "verbs": verbs(kind), "shortNames": kind.short_names, "categories": categories(kind),
        });
        let parts: Vec<Value> = parts(kind).into_iter().map(part).collect();
        if !parts.is_empty() {
            resource["subresources"] = json!(parts);
        }
        resource
    });
    let unkept = unkept(group, version).map(|one| {
        json!({
            "resource": one.plural, "responseKind": shown((one.group, one.version, one.kind)), "scope": scope(one.namespaced),
            "singularResource": one.singular, "verbs": one.verbs,
        })
    });
    let resources: Vec<Value> = kinds.chain(unkept).collect();
    json!({
        "metadata": { "name": group, "creationTimestamp": null },
        "versions": [{ "version": version, "resources": resources, "freshness": "Current" }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_form_that_a_client_takes_is_answered() {
        let form = |accept: &'static str| aggregated(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]));
        let both = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(form(both), Some("v2"));
        assert_eq!(form("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"), Some("v2beta1"));
        assert_eq!((form("application/json"), form("application/json;v=v2"), form("*/*")), (None, None, None));
    }

    #[test]
    fn both_forms_name_the_same_kinds() {
        for (group, version) in groups() {
            let old = resources(group, version);
            let plain = old["resources"].as_array().unwrap().iter().filter(|r| !r["name"].as_str().unwrap().contains('/')).count();
            assert_eq!(group_whole(group, version)["versions"][0]["resources"].as_array().unwrap().len(), plain, "{group}");
        }
    }
}
