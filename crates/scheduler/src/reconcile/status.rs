//! The objects that the loop makes and the statuses that it writes, in Kubernetes' shape.

mod job;
mod scale;

pub use job::{new_job, new_job_pod, write_cron, write_job};
pub use scale::write_scaler;

use crate::kinds::SERVICE;
use crate::model::{AppStatus, Condition, DeploymentStatus, Endpoint, Key, Name, NodeReady, ObjectId, Port, SetStatus};
use crate::names;
use crate::objects::Object;
use crate::plan::NewSet;
use jiff::{Timestamp, Unit as TimeUnit};
use serde_json::{Map, Value, json};

/// A condition's type and content.
pub struct Said {
    kind: &'static str,
    condition: Condition,
}

/// Kubernetes' times have whole seconds.
pub fn seconds(now: Timestamp) -> String {
    now.round(TimeUnit::Second).unwrap_or(now).to_string()
}

fn milliseconds(now: Timestamp) -> String {
    let whole = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
    format!("{whole:.3}")
}

pub fn scheduled(place: Result<&Name, &Name>) -> Said {
    let condition = match place {
        Ok(_) => Condition::new("True", "", ""),
        Err(why) => Condition::new("False", "Unschedulable", why),
    };
    Said { kind: "PodScheduled", condition }
}

pub fn node_ready(ready: NodeReady, why: &str) -> Said {
    let condition = match ready {
        NodeReady::Yes => Condition::new("True", "NodeReports", why),
        NodeReady::No => Condition::new("False", "NodeNotReady", why),
        NodeReady::Lost => Condition::new("Unknown", "NodeLost", why),
    };
    Said { kind: "Ready", condition }
}

/// Sets one condition of an object's status; the time of its last transition stays while its status does.
pub fn set_condition(object: &mut Object, said: Said, now: Timestamp) {
    let status = object.0.as_object_mut().map(|o| o.entry("status").or_insert_with(|| json!({})));
    let Some(status) = status.and_then(Value::as_object_mut) else { return };
    let old = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let (same, mut others): (Vec<Value>, Vec<Value>) = old.into_iter().partition(|c| c["type"] == said.kind);
    others.push(condition(&said, same.first(), true, now));
    status.insert("conditions".to_owned(), Value::Array(others));
}

/// `update`: whether `lastUpdateTime` moves even if nothing else did.
fn condition(said: &Said, old: Option<&Value>, update: bool, now: Timestamp) -> Value {
    let Condition { status, reason, message } = &said.condition;
    let unchanged = old.filter(|old| old["status"] == **status);
    let keep = |field: &str, keep: bool| match unchanged.filter(|_| keep).and_then(|old| old[field].as_str()) {
        Some(time) => json!(time),
        None => json!(milliseconds(now)),
    };
    let mut value = json!({"type": said.kind, "status": **status});
    value["lastTransitionTime"] = keep("lastTransitionTime", true);
    value["lastUpdateTime"] = keep("lastUpdateTime", !update);
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            value[field] = json!(**text);
        }
    }
    value
}

fn find<'a>(object: &'a Object, kind: &str) -> Option<&'a Value> {
    object.status().get("conditions")?.as_array()?.iter().find(|c| c["type"] == kind)
}

pub fn of_set(status: &SetStatus) -> Value {
    json!({
        "observedGeneration": status.observed, "replicas": status.replicas, "fullyLabeledReplicas": status.replicas,
        "readyReplicas": status.ready, "availableReplicas": status.available,
    })
}

pub fn write_deployment(object: &mut Object, status: &DeploymentStatus, progressed: bool, now: Timestamp) {
    let available = Said { kind: "Available", condition: status.is_available.clone() };
    let progressing = Said { kind: "Progressing", condition: status.is_progressing.clone() };
    let mut conditions = vec![
        condition(&available, find(object, "Available"), false, now),
        condition(&progressing, find(object, "Progressing"), progressed, now),
    ];
    if status.asleep {
        let asleep = Said { kind: "Asleep", condition: Condition::new("True", "ScaledToZero", names::SLEEPS) };
        conditions.push(condition(&asleep, find(object, "Asleep"), false, now));
    }
    object.set_status(json!({
        "observedGeneration": status.observed, "replicas": status.replicas, "updatedReplicas": status.updated,
        "readyReplicas": status.ready, "availableReplicas": status.available,
        "unavailableReplicas": status.replicas.saturating_sub(status.available), "conditions": conditions,
    }));
}

pub fn write_app(object: &mut Object, status: &AppStatus, now: Timestamp) {
    let phase = status.phase.as_str();
    let services: Map<String, Value> = status
        .services
        .iter()
        .map(|(name, s)| (name.clone(), json!({"ready": s.ready, "desired": s.desired, "updated": s.updated, "revision": s.revision})))
        .map(|(name, mut value): (String, Value)| {
            // A word that most services have no use for.
            if status.services[&name].asleep {
                value["asleep"] = json!(true);
            }
            (name, value)
        })
        .collect();
    let ready = if matches!(phase, "Ready" | "RolledBack") { "True" } else { "False" };
    let said = Said { kind: "Ready", condition: Condition::new(ready, phase, &status.message) };
    let conditions = json!([condition(&said, find(object, "Ready"), false, now)]);
    let mut value = json!({
        "phase": phase, "observedGeneration": status.observed, "services": services, "waiting": status.waiting,
        "message": status.message, "conditions": conditions,
    });
    if let Some(good) = status.good {
        value["goodGeneration"] = json!(good);
    }
    object.set_status(value);
}

/// A revision of a Deployment: its template as typed, so that clients which compare the two find them alike, with the exact image beside it.
pub fn new_set(deployment: &Object, set: &NewSet) -> Object {
    let spec = deployment.spec();
    let mut template = spec["template"].clone();
    entry(&mut template, "metadata", "labels")[names::TEMPLATE_HASH] = json!(&*set.hash);
    let mut selector = spec["selector"].clone();
    if let Some(labels) = selector.get_mut("matchLabels").and_then(Value::as_object_mut) {
        labels.insert(names::TEMPLATE_HASH.to_owned(), json!(&*set.hash));
    }
    let mut object = Object(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": &*set.set.name, "namespace": &*set.set.namespace, "labels": template["metadata"]["labels"],
            "annotations": { names::REVISION: set.revision.to_string(), names::EXACT_IMAGE: &*set.image },
            "ownerReferences": [deployment.controller_reference()],
        },
        "spec": {
            "replicas": set.replicas, "minReadySeconds": spec.get("minReadySeconds").cloned().unwrap_or(json!(0)),
            "selector": selector, "template": template,
        },
        "status": of_set(&set.status),
    }));
    if let Some(cause) = deployment.annotation(names::CHANGE_CAUSE) {
        object.set_annotation(names::CHANGE_CAUSE, cause);
    }
    object
}

/// `value[outer][inner]`, made where it is not there.
fn entry<'a>(value: &'a mut Value, outer: &str, inner: &str) -> &'a mut Value {
    let entry = &mut value[outer][inner];
    if !entry.is_object() {
        *entry = json!({});
    }
    entry
}

/// Puts the exact image in the place of the one that was typed, which is remembered in an annotation.
fn pin(template: &mut Value, exact: &str) {
    let Some(image) = template.pointer_mut("/spec/containers/0/image") else { return };
    let typed = std::mem::replace(image, json!(exact));
    let remembered = &mut entry(template, "metadata", "annotations")[names::TYPED_IMAGE];
    if remembered.is_null() {
        *remembered = typed;
    }
}

pub fn new_pod(set: &Object, name: &str, place: Result<&str, &str>, now: Timestamp) -> Object {
    let mut template = set.spec()["template"].clone();
    if let Some(exact) = set.annotation(names::EXACT_IMAGE) {
        pin(&mut template, exact);
    }
    let mut spec = template["spec"].take();
    if let Ok(node) = place {
        spec["nodeName"] = json!(node);
    }
    let mut pod = Object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": set.namespace(), "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"], "ownerReferences": [set.controller_reference()],
        },
        "spec": spec,
        "status": {"phase": "Pending"},
    }));
    let place = place.map(Name::from).map_err(Name::from);
    set_condition(&mut pod, scheduled(place.as_ref()), now);
    pod
}

pub fn endpoints(endpoints: &[Endpoint], ports: &[Port]) -> Value {
    let one = |endpoint: &Endpoint| {
        json!({
            "addresses": [&*endpoint.address], "nodeName": &*endpoint.node,
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "name": &*endpoint.pod, "uid": &*endpoint.uid},
        })
    };
    // Clients find a Service's port in the slice by its name.
    let port = |port: &Port| {
        let mut value = json!({"name": &*port.name, "port": port.number, "protocol": "TCP"});
        if port.bare {
            value["appProtocol"] = json!(names::TCP);
        }
        value
    };
    json!({"endpoints": endpoints.iter().map(one).collect::<Vec<_>>(), "ports": ports.iter().map(port).collect::<Vec<_>>()})
}

/// Says where a Service or an Ingress is reached.
pub fn write_balancer(object: &mut Object, addresses: &[Name]) {
    let of_service = object.kind() == SERVICE.kind;
    let one = |address: &Name| if of_service { json!({"ip": &**address, "ipMode": "Proxy"}) } else { json!({"ip": &**address}) };
    let ingress: Vec<Value> = addresses.iter().map(one).collect();
    object.set_status(if ingress.is_empty() { json!({"loadBalancer": {}}) } else { json!({"loadBalancer": {"ingress": ingress}}) });
}

pub fn new_slice(service: &Key, uid: &str, body: Value) -> Object {
    let addresses = body.pointer("/endpoints/0/addresses/0").and_then(Value::as_str).unwrap_or("");
    Object(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": &*service.name, "namespace": &*service.namespace,
            "labels": {"kubernetes.io/service-name": &*service.name, "endpointslice.kubernetes.io/managed-by": "wctl"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": &*service.name, "uid": uid, "controller": true}],
        },
        "addressType": if addresses.contains(':') { "IPv6" } else { "IPv4" },
        "endpoints": body["endpoints"], "ports": body["ports"],
    }))
}

/// An Event that has no name yet; those about objects without a namespace are kept in the default one.
pub fn event(about: &ObjectId, uid: &str, reason: &str, message: &str, warning: bool, now: Timestamp) -> Object {
    let namespace = if about.key.namespace.is_empty() { names::DEFAULT_NAMESPACE } else { &*about.key.namespace };
    let api_version = super::write::kind_of(about).map(|kind| kind.api_version()).unwrap_or_default();
    let time = seconds(now);
    Object(json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"namespace": namespace},
        "involvedObject": {
            "apiVersion": api_version, "kind": about.kind, "namespace": &*about.key.namespace, "name": &*about.key.name, "uid": uid,
        },
        "reason": reason, "message": message, "type": if warning { "Warning" } else { "Normal" }, "count": 1,
        "firstTimestamp": time, "lastTimestamp": time, "source": {"component": "scheduler"}, "reportingComponent": "scheduler",
    }))
}
