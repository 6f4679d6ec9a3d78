//! The ports of nodes on which a Service answers: chosen at admission, unique in the cluster, kept for as long as the Service asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::auth::Identity;
use crate::kinds::{Kind, SERVICE};
use crate::objects::{Object, Write};

use super::status::{Cause, Result};
use super::{Api, admit, reply};

/// The ports that Services may have on nodes; above those that machines and people usually use.
const RANGE: RangeInclusive<u16> = 30_000..=32_767;
/// The turn of those who take a port.
const TURN: &str = "/nodeports";
/// Ports below this are those of a machine's own services.
const FREE: u64 = 1024;

/// Whether a Service of this type answers on ports of nodes.
fn is_on_nodes(spec: &Value) -> bool {
    matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"))
}

/// What a Service has stays when its author says nothing of it, and goes with the type that had it.
pub(super) fn keep(object: &mut Value, old: Option<&Value>) {
    let Some(old) = old else { return };
    let on_nodes = is_on_nodes(&object["spec"]);
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if !on_nodes {
        // Only what is as it was: what is written anew is a mistake that is to be told.
        for field in ["externalTrafficPolicy", "allocateLoadBalancerNodePorts"] {
            if spec.get(field) == old["spec"].get(field) {
                spec.remove(field);
            }
        }
    }
    let before = old["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return };
    let mut had: BTreeSet<u64> = ports.iter().filter_map(|port| number(port, "nodePort")).collect();
    for port in ports.iter_mut().filter_map(Value::as_object_mut) {
        let Some(same) = before.iter().find(|before| is_same(before, port)) else { continue };
        let given = same.get("nodePort").filter(|_| number(same, "nodePort").is_some());
        match given {
            Some(given) if !on_nodes && port.get("nodePort") == Some(given) => drop(port.remove("nodePort")),
            Some(given) if on_nodes && is_unset(port) && given.as_u64().is_some_and(|number| had.insert(number)) => {
                port.insert("nodePort".to_owned(), given.clone());
            }
            _ => {}
        }
    }
}

fn is_same(before: &Value, port: &Map<String, Value>) -> bool {
    Some(&before["port"]) == port.get("port") && Some(&before["protocol"]) == port.get("protocol")
}

fn is_unset(port: &Map<String, Value>) -> bool {
    port.get("nodePort").and_then(Value::as_u64).unwrap_or(0) == 0
}

fn number(port: &Value, field: &str) -> Option<u64> {
    port[field].as_u64().filter(|number| *number > 0)
}

/// What is wrong with a Service's ports by themselves.
pub(super) fn malformed(kind: &Kind, object: &Value) -> Vec<Cause> {
    if kind != &SERVICE {
        return Vec::new();
    }
    let spec = &object["spec"];
    let mut causes = Vec::new();
    if is_on_nodes(spec) && (spec["clusterIP"] == "None" || spec["clusterIPs"][0] == "None") {
        let what = "a Service without an address of its own (None) has no port on nodes; leave clusterIP out";
        causes.push(Cause::invalid("spec.clusterIP", what));
    }
    let (mut ports, mut node_ports) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
        let at = |field: &str| format!("spec.ports[{index}].{field}");
        if let Some(number) = number(port, "port").filter(|number| !ports.insert(*number)) {
            causes.push(Cause::invalid(at("port"), format!("{number} stands there twice; each port of a Service has a number of its own")));
        }
        let Some(wished) = number(port, "nodePort") else { continue };
        if !is_on_nodes(spec) {
            causes.push(Cause::invalid(at("nodePort"), "only Services of the type NodePort or LoadBalancer have one; leave it out"));
        } else if !u16::try_from(wished).is_ok_and(|wished| RANGE.contains(&wished)) {
            let (first, last) = (RANGE.start(), RANGE.end());
            let what = format!("{wished} is not between {first} and {last}; choose another, or leave it out and one is chosen");
            causes.push(Cause::invalid(at("nodePort"), what));
        } else if !node_ports.insert(wished) {
            causes.push(Cause::invalid(at("nodePort"), format!("{wished} stands there twice; leave one out and another is chosen")));
        }
    }
    causes
}

/// A port of the machine that its author may not have: the Service's own ports are opened on nodes where it is a LoadBalancer.
pub(super) fn opened(spec: &Value) -> Vec<(usize, u16)> {
    if spec["type"] != "LoadBalancer" {
        return Vec::new();
    }
    let ports = spec["ports"].as_array().into_iter().flatten().enumerate();
    ports.filter_map(|(index, port)| Some((index, u16::try_from(number(port, "port")?).ok()?))).collect()
}

/// Ports below 1024 that a Service opens on nodes and did not before, for those who are no admins.
pub(super) fn forbidden(who: &Identity, object: &Object, old: Option<&Object>) -> Vec<(String, String)> {
    if object.kind() != "Service" || who.is_admin() {
        return Vec::new();
    }
    let before: BTreeSet<u16> = old.map(|old| opened(old.spec()).into_iter().map(|(_, port)| port).collect()).unwrap_or_default();
    let low = opened(object.spec()).into_iter().filter(|(_, port)| u64::from(*port) < FREE && !before.contains(port));
    let what = |(index, port)| {
        let why = format!(
            "port {port} of the nodes belongs to the machines, so only an admin may have a LoadBalancer answer there; take a port from \
             {FREE} on, the type NodePort or an Ingress"
        );
        (format!("spec.ports[{index}].port"), why)
    };
    low.map(what).collect()
}

/// Chooses the node ports that a Service lacks. Gives what has to be in the same commit: of two that chose at once one chooses again.
pub(super) async fn choose(api: &Api, object: &mut Object, old: Option<&Object>) -> Result<Option<Write>> {
    if object.kind() != "Service" || !is_on_nodes(object.spec()) {
        return Ok(None);
    }
    let had: BTreeSet<u64> = old.map(|old| node_ports(&old.0).collect()).unwrap_or_default();
    let spec = object.spec();
    // Without this a LoadBalancer is reached at its own ports alone.
    let all = spec["type"] == "NodePort" || spec["allocateLoadBalancerNodePorts"] != false;
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let lacking: Vec<usize> =
        ports.iter().enumerate().filter(|(_, port)| all && number(port, "nodePort").is_none()).map(|(index, _)| index).collect();
    let wished: Vec<(usize, u64)> = ports
        .iter()
        .enumerate()
        .filter_map(|(index, port)| Some((index, number(port, "nodePort")?)))
        .filter(|(_, port)| !had.contains(port))
        .collect();
    if lacking.is_empty() && wished.is_empty() {
        return Ok(None);
    }
    let refusal = |error| reply::refusal(&SERVICE, object.name(), error);
    let turn = api.0.objects.turn(TURN.to_owned()).await.map_err(refusal)?;
    let mut taken: BTreeMap<u64, String> = BTreeMap::new();
    for other in api.0.objects.list(&SERVICE, None, 0, None).await.map_err(refusal)?.items {
        if (other.namespace(), other.name()) != (object.namespace(), object.name()) {
            taken.extend(node_ports(&other.0).map(|port| (port, format!("{}/{}", other.namespace(), other.name()))));
        }
    }
    for (index, port) in wished {
        if let Some(owner) = taken.get(&port) {
            let what = format!("{port} belongs to the Service {owner}; choose another, or leave it out and one is chosen");
            return Err(admit::wrong(object, Cause::invalid(format!("spec.ports[{index}].nodePort"), what)));
        }
    }
    let mut used: BTreeSet<u64> = taken.into_keys().chain(node_ports(&object.0)).collect();
    for index in lacking {
        let Some(port) = free(&used) else {
            let what =
                format!("all ports of nodes between {} and {} are taken; delete a Service that needs none", RANGE.start(), RANGE.end());
            return Err(admit::wrong(object, Cause::invalid(format!("spec.ports[{index}].nodePort"), what)));
        };
        used.insert(port);
        object.0["spec"]["ports"][index]["nodePort"] = json!(port);
    }
    Ok(Some(Write::Turn(turn)))
}

/// The ports that a Service has on nodes.
fn node_ports(service: &Value) -> impl Iterator<Item = u64> {
    let on_nodes = is_on_nodes(&service["spec"]);
    service["spec"]["ports"].as_array().into_iter().flatten().filter(move |_| on_nodes).filter_map(|port| number(port, "nodePort"))
}

/// One that nobody has; by chance, so that those who were told of one that is gone do not find another Service there.
fn free(used: &BTreeSet<u64>) -> Option<u64> {
    let (first, last) = (u64::from(*RANGE.start()), u64::from(*RANGE.end()));
    let start = rand::random_range(first..=last);
    (start..=last).chain(first..start).find(|port| !used.contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(kind: &str, ports: Value) -> Value {
        json!({ "spec": { "type": kind, "ports": ports } })
    }

    #[test]
    fn a_port_is_kept_until_the_type_goes() {
        let old = service("NodePort", json!([{ "port": 80, "protocol": "TCP", "nodePort": 30_080 }]));
        let mut said_nothing = service("LoadBalancer", json!([{ "port": 80, "protocol": "TCP" }, { "port": 81, "protocol": "TCP" }]));
        keep(&mut said_nothing, Some(&old));
        assert_eq!(node_ports(&said_nothing).collect::<Vec<_>>(), [30_080]);
        let mut back = service("ClusterIP", old["spec"]["ports"].clone());
        keep(&mut back, Some(&old));
        assert!(back["spec"]["ports"][0].get("nodePort").is_none());
        let mut moved =
            service("NodePort", json!([{ "port": 80, "protocol": "TCP" }, { "port": 81, "protocol": "TCP", "nodePort": 30_080 }]));
        keep(&mut moved, Some(&old));
        assert_eq!(node_ports(&moved).collect::<Vec<_>>(), [30_080], "one port cannot be had twice");
    }

    #[test]
    fn the_last_free_port_is_found_and_then_there_is_none() {
        let all: BTreeSet<u64> = (u64::from(*RANGE.start())..=u64::from(*RANGE.end())).collect();
        let but_one: BTreeSet<u64> = all.iter().copied().filter(|port| *port != 31_000).collect();
        assert_eq!((free(&but_one), free(&all)), (Some(31_000), None));
    }
}
