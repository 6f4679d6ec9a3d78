//! Whether somebody may do something: roles first, then what a node may do to objects that are not its own.

use http::{HeaderMap, Method};
use serde_json::Value;

use crate::auth::{self, Identity};
use crate::freeze;
use crate::kinds::{self, Kind};

use super::status::{Refusal, Result, resource_name};
use super::{Api, Call, Target};

/// What Kubernetes calls a request.
pub(super) fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET" | "HEAD", _) if watch => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "other",
    }
}

/// 403 unless the caller's role allows the verb on the kind in the namespace.
pub(super) fn check(call: &Call, verb: &str) -> Result<()> {
    may_too(&call.who, verb, &call.target)
}

/// 403 unless the caller's role allows another verb on the same.
pub(super) fn may_too(who: &Identity, verb: &str, target: &Target) -> Result<()> {
    let namespace = target.namespace.as_deref();
    let may = auth::authorize_part(who, verb, target.kind, &target.part, namespace);
    if may { Ok(()) } else { Err(forbidden_part(who, verb, target.kind, &target.part, namespace, target.name.as_deref())) }
}

fn forbidden(who: &Identity, verb: &str, kind: &Kind, namespace: Option<&str>, name: Option<&str>) -> Refusal {
    forbidden_part(who, verb, kind, "", namespace, name)
}

fn forbidden_part(who: &Identity, verb: &str, kind: &Kind, part: &str, namespace: Option<&str>, name: Option<&str>) -> Refusal {
    let part = if part.is_empty() { String::new() } else { format!("/{part}") };
    let place = namespace.map_or_else(|| "at the cluster scope".to_owned(), |ns| format!("in the namespace \"{ns}\""));
    let what = format!("User \"{}\" cannot {verb} resource \"{}{part}\" in API group \"{}\" {place}", who.name, kind.plural, kind.group);
    Refusal::forbidden(kind, name.unwrap_or_default(), &what)
}

/// 403 unless the caller is this node's agent.
pub(super) fn is_node(who: &Identity, node: &str) -> Result<()> {
    if who.node_name() == Some(node) || who.is_admin() {
        return Ok(());
    }
    Err(Refusal::new(403, "Forbidden", format!("User \"{}\" is not the agent of node \"{node}\"", who.name)))
}

/// 403 unless the caller may read what all nodes tell.
pub(super) fn may_watch_nodes(who: &Identity) -> Result<()> {
    // An agent may read Nodes, but other nodes' counters are none of its business.
    let may = auth::authorize(who, "list", &kinds::NODE, None) && who.node_name().is_none();
    if may { Ok(()) } else { Err(forbidden(who, "get", &kinds::NODE, None, None)) }
}

/// 403 unless the caller may read the objects whose use is asked for.
pub(super) fn may_see(who: &Identity, verb: &str, kind: &Kind, namespace: Option<&str>) -> Result<()> {
    // An agent reads Pods, but what they use elsewhere is none of its business.
    let may = auth::authorize(who, verb, kind, namespace) && who.node_name().is_none();
    if may { Ok(()) } else { Err(forbidden(who, verb, kind, namespace, None)) }
}

/// 403 unless the caller may read the logs of a namespace's pods; of all namespaces, and with that requests that led nowhere, without one.
pub(super) fn may_read_requests(who: &Identity, namespace: Option<&str>) -> Result<()> {
    // An agent reads Pods, but what other nodes were asked is none of its business.
    let may = auth::authorize(who, "list", &kinds::POD, namespace) && who.node_name().is_none();
    if may { Ok(()) } else { Err(forbidden(who, "list", &kinds::POD, namespace, None)) }
}

/// 403 where an agent reads what its pods do not need: Pods of other nodes, Secrets and ConfigMaps that none of its pods names.
/// 503 while a restored store waits for somebody to look at it: until then nodes go on with what they run.
pub(super) async fn agent(api: &Api, who: &Identity, target: &Target, verb: &str) -> Result<()> {
    let Some(node) = who.node_name() else { return Ok(()) };
    let kind = target.kind;
    if kind == &kinds::POD && matches!(verb, "get" | "list" | "watch") {
        let frozen = freeze::get(&**api.0.objects.store()).await.map_err(|e| Refusal::unavailable(e.to_string()))?;
        if frozen.is_some_and(|frozen| frozen.restored) {
            return Err(Refusal::unavailable("the cluster was restored from a backup and waits for `wctl thaw`: go on with what runs"));
        }
    }
    if !matches!(kind.kind, "Secret" | "ConfigMap") {
        return Ok(());
    }
    let name = target.name.as_deref().unwrap_or_default();
    let refused = || Refusal::forbidden(kind, name, &format!("no pod of node \"{node}\" names this {}", resource_name(kind)));
    if verb != "get" {
        return Err(refused());
    }
    let pods = api.0.objects.list(&kinds::POD, target.namespace.as_deref(), 0, None).await;
    let pods = pods.map_err(|e| Refusal::unavailable(e.to_string()))?.items;
    let needs = |pod: &crate::objects::Object| pod.0["spec"]["nodeName"] == node && names(&pod.0["spec"], name);
    if pods.iter().any(needs) { Ok(()) } else { Err(refused()) }
}

/// Whether a pod's spec, which its node cannot change, has this text somewhere.
fn names(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(items) => items.iter().any(|item| names(item, name)),
        Value::Object(fields) => fields.values().any(|field| names(field, name)),
        _ => false,
    }
}

/// 403 where an agent writes what is not its own: another Node, its Lease, or a Pod bound elsewhere.
pub(super) fn owns(who: &Identity, kind: &Kind, name: &str, object: &Value) -> Result<()> {
    let Some(node) = who.node_name() else { return Ok(()) };
    let own = match kind.kind {
        "Node" | "Lease" => name == node,
        "Pod" => object["spec"]["nodeName"] == node,
        _ => true,
    };
    if own {
        Ok(())
    } else {
        Err(Refusal::forbidden(
            kind,
            name,
            &format!("node \"{node}\" may write only what is its own, and this {} is not", resource_name(kind)),
        ))
    }
}

/// 403 unless the caller is an admin.
pub(super) fn is_admin(who: &Identity, kind: &Kind, name: &str, why: &str) -> Result<()> {
    if who.is_admin() { Ok(()) } else { Err(Refusal::forbidden(kind, name, why)) }
}

/// 403 where somebody asks in another's name: to answer as if that were not said would tell what the other may not see.
pub(super) fn as_oneself(who: &Identity, headers: &HeaderMap) -> Result<()> {
    if headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        let why = format!("User \"{}\" cannot impersonate: ask with a token of that user's own (wctl token create)", who.name);
        return Err(Refusal::new(403, "Forbidden", why));
    }
    Ok(())
}
