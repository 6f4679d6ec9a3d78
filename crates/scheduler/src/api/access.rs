//! Whether somebody may do something: roles first, then what a node may do to objects that are not its own.

use http::Method;
use serde_json::Value;

use crate::auth::{self, Identity};
use crate::kinds::{self, Kind};

use super::Call;
use super::status::{Refusal, Result, resource_name};

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
    let target = &call.target;
    if auth::authorize(&call.who, verb, target.kind, target.namespace.as_deref()) {
        return Ok(());
    }
    Err(forbidden(&call.who, verb, target.kind, target.namespace.as_deref(), target.name.as_deref()))
}

fn forbidden(who: &Identity, verb: &str, kind: &Kind, namespace: Option<&str>, name: Option<&str>) -> Refusal {
    let place = namespace.map_or_else(|| "at the cluster scope".to_owned(), |ns| format!("in the namespace \"{ns}\""));
    let what = format!("User \"{}\" cannot {verb} resource \"{}\" in API group \"{}\" {place}", who.name, kind.plural, kind.group);
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

/// 403 unless the caller may read the logs of a namespace's pods; of all namespaces, and with that requests that led nowhere, without one.
pub(super) fn may_read_requests(who: &Identity, namespace: Option<&str>) -> Result<()> {
    // An agent reads Pods, but what other nodes were asked is none of its business.
    let may = auth::authorize(who, "list", &kinds::POD, namespace) && who.node_name().is_none();
    if may { Ok(()) } else { Err(forbidden(who, "list", &kinds::POD, namespace, None)) }
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
