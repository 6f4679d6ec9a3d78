//! API objects to the small structs: the edge where JSON ends.

use super::parts::*;
use super::{Resources, parse_cpu, parse_memory};
mod app;
mod job;
mod scale;
mod template;
mod traffic;

use crate::kinds::{self, Kind};
use crate::names;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

pub use template::template_text;
use template::typed_text;
use traffic::{ingress, service, slice};

/// One object, as far as the plan cares.
#[derive(Debug, Clone)]
pub enum Thing {
    /// An App.
    App(App),
    /// A Deployment.
    Deployment(Deployment),
    /// A ReplicaSet.
    ReplicaSet(ReplicaSet),
    /// A Pod.
    Pod(Pod),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    Slice(Slice),
    /// An Ingress.
    Ingress(Ingress),
    /// A Node.
    Node(Node),
    /// A Lease, and the loads that its node tells with it.
    Lease(Meta, Loads),
    /// A HorizontalPodAutoscaler.
    Scaler(Scaler),
    /// A ControllerRevision.
    Revision(Revision),
    /// A Job.
    Job(Job),
    /// A CronJob.
    CronJob(CronJob),
    /// Of any other kind.
    Other(&'static str, Meta),
}

/// Reads an object of a kind; `now` is the leader's monotonic time. Fields that are missing or of a wrong type count as unset:
/// what is refused is refused at the API.
pub fn read(kind: &'static Kind, object: &Value, now: Duration) -> Thing {
    let meta = meta(object);
    match kind.kind {
        _ if *kind == kinds::APP => Thing::App(app::app(meta, object)),
        _ if *kind == kinds::DEPLOYMENT => Thing::Deployment(deployment(meta, object, now)),
        _ if *kind == kinds::REPLICA_SET => Thing::ReplicaSet(replica_set(meta, object)),
        _ if *kind == kinds::POD => Thing::Pod(pod(meta, object, now)),
        _ if *kind == kinds::SERVICE => Thing::Service(service(meta, object)),
        _ if *kind == kinds::ENDPOINT_SLICE => Thing::Slice(slice(meta, object)),
        _ if *kind == kinds::INGRESS => Thing::Ingress(ingress(meta, object)),
        _ if *kind == kinds::NODE => Thing::Node(node(meta, object)),
        _ if *kind == kinds::LEASE => Thing::Lease(meta, scale::loads(object)),
        _ if *kind == kinds::HPA => Thing::Scaler(scale::scaler(meta, object, now)),
        _ if *kind == kinds::CONTROLLER_REVISION => Thing::Revision(app::revision(meta, object)),
        _ if *kind == kinds::JOB => Thing::Job(job::job(meta, object)),
        _ if *kind == kinds::CRON_JOB => Thing::CronJob(job::cron_job(meta, object)),
        other => Thing::Other(other, meta),
    }
}

/// JSON text that is the same for the same meaning: keys in order, nulls and empty creation times left out.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().filter(|(_, v)| !v.is_null()).collect();
            out.push('{');
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                let _ = write!(out, "{comma}{}:", Value::from(key.as_str()));
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        plain => {
            let _ = write!(out, "{plain}");
        }
    }
}

fn text<'a>(object: &'a Value, at: &str) -> &'a str {
    object.pointer(at).and_then(Value::as_str).unwrap_or("")
}

fn int(object: &Value, at: &str) -> i64 {
    object.pointer(at).and_then(Value::as_i64).unwrap_or(0)
}

fn count(object: &Value, at: &str) -> u32 {
    u32::try_from(int(object, at)).unwrap_or(0)
}

fn count_or(object: &Value, at: &str, default: u32) -> u32 {
    if object.pointer(at).is_some_and(Value::is_number) { count(object, at) } else { default }
}

fn flag(object: &Value, at: &str) -> bool {
    object.pointer(at).and_then(Value::as_bool).unwrap_or(false)
}

fn items<'a>(object: &'a Value, at: &str) -> &'a [Value] {
    object.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn labels(object: &Value, at: &str) -> Labels {
    let map = object.pointer(at).and_then(Value::as_object);
    let pairs = map.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    Arc::new(pairs.collect())
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

fn seconds(object: &Value, at: &str) -> Duration {
    Duration::from_secs(u64::from(count(object, at)))
}

/// `500ms`, `5s`, `2m`, `1h`; what is none of these is zero.
fn duration(text: &str) -> Duration {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().unwrap_or(0);
    match &text[digits..] {
        "ms" => Duration::from_millis(number),
        "s" | "" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(3600)),
        _ => Duration::ZERO,
    }
}

fn meta(object: &Value) -> Meta {
    let at = &object["metadata"];
    let born = text(at, "/creationTimestamp").parse::<jiff::Timestamp>().map_or(0, |t| t.as_second());
    Meta {
        key: Key::new(text(at, "/namespace"), text(at, "/name")),
        uid: text(at, "/uid").into(),
        version: text(at, "/resourceVersion").parse().unwrap_or(0),
        generation: int(at, "/generation"),
        labels: labels(at, "/labels"),
        owner: owner(items(at, "/ownerReferences")),
        born,
        deleting: at.get("deletionTimestamp").is_some_and(Value::is_string),
        foreground: at.get("deletionTimestamp").is_some_and(Value::is_string)
            && items(at, "/finalizers").iter().any(|finalizer| finalizer == names::FOREGROUND),
    }
}

fn owner(references: &[Value]) -> Option<Owner> {
    let reference = references.iter().find(|r| flag(r, "/controller")).or_else(|| references.first())?;
    Some(Owner { kind: text(reference, "/kind").into(), name: text(reference, "/name").into(), uid: text(reference, "/uid").into() })
}

fn share(value: Option<&Value>, default: Share) -> Share {
    match value {
        Some(Value::Number(n)) => Share::Count(n.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0)),
        Some(Value::String(s)) => s.strip_suffix('%').and_then(|p| p.parse().ok()).map_or(default, Share::Percent),
        _ => default,
    }
}

fn deployment(meta: Meta, object: &Value, now: Duration) -> Deployment {
    let spec = &object["spec"];
    let deadline = u64::from(count_or(spec, "/progressDeadlineSeconds", 600));
    Deployment {
        replicas: count_or(spec, "/replicas", 1),
        paused: flag(spec, "/paused"),
        recreate: text(spec, "/strategy/type") == "Recreate",
        surge: share(spec.pointer("/strategy/rollingUpdate/maxSurge"), Share::Percent(25)),
        unavailable: share(spec.pointer("/strategy/rollingUpdate/maxUnavailable"), Share::Percent(25)),
        // Kubernetes' way to say "for ever".
        deadline: (deadline < i32::MAX as u64).then(|| Duration::from_secs(deadline)),
        history: count_or(spec, "/revisionHistoryLimit", 10) as usize,
        min_ready: seconds(spec, "/minReadySeconds"),
        bake: annotation(object, names::BAKE).map(duration).unwrap_or_default(),
        canary: annotation(object, names::CANARY)
            .and_then(|share| share.strip_suffix('%')?.parse().ok())
            .filter(|share| (1..100).contains(share)),
        on_failure: on_failure(object),
        template: template(&spec["template"]),
        revision: annotation(object, names::REVISION).and_then(|r| r.parse().ok()).unwrap_or(0),
        cause: annotation(object, names::CHANGE_CAUSE).unwrap_or("").into(),
        status: deployment_status(&object["status"]),
        progress_stamp: find_condition(&object["status"], "Progressing").map_or("", |c| text(c, "/lastUpdateTime")).into(),
        progressed: now,
        most_ready: count(&object["status"], "/readyReplicas"),
        meta,
    }
}

fn on_failure(object: &Value) -> OnFailure {
    match annotation(object, names::ON_FAILURE) {
        Some("rollback") => OnFailure::RollBack,
        _ => OnFailure::Stay,
    }
}

fn find_condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    items(status, "/conditions").iter().find(|c| text(c, "/type") == kind)
}

fn condition(status: &Value, kind: &str) -> Condition {
    let found = find_condition(status, kind);
    let part = |at| found.map_or("", |c| text(c, at));
    Condition::new(part("/status"), part("/reason"), part("/message"))
}

fn deployment_status(status: &Value) -> DeploymentStatus {
    DeploymentStatus {
        observed: int(status, "/observedGeneration"),
        replicas: count(status, "/replicas"),
        updated: count(status, "/updatedReplicas"),
        ready: count(status, "/readyReplicas"),
        available: count(status, "/availableReplicas"),
        is_available: condition(status, "Available"),
        is_progressing: condition(status, "Progressing"),
        asleep: condition(status, "Asleep").is_true(),
    }
}

fn template(value: &Value) -> Template {
    Template {
        text: template_text(value).into(),
        labels: labels(value, "/metadata/labels"),
        image: text(value, "/spec/containers/0/image").into(),
        need: claim(&value["spec"], &value["metadata"]),
    }
}

fn claim(spec: &Value, meta: &Value) -> Claim {
    let mut resources = Resources::default();
    for container in items(spec, "/containers") {
        resources += requests(&container["resources"]);
    }
    let annotation = |name: &str| meta.pointer("/annotations").and_then(|all| all.get(name)).and_then(Value::as_str);
    let ports = annotation(names::LISTEN).unwrap_or_default().split(',').filter_map(|port| port.trim().strip_suffix("/tcp")?.parse().ok());
    // `topology.kubernetes.io/zone` is the label whose last part is `zone`.
    let topologies = items(spec, "/topologySpreadConstraints").iter().filter_map(|one| text(one, "/topologyKey").rsplit('/').next());
    let spread: Vec<&str> = match annotation(names::SPREAD) {
        Some(named) => named.split(',').map(str::trim).collect(),
        None => topologies.collect(),
    };
    Claim {
        resources,
        ports: ports.collect(),
        node_labels: labels(spec, "/nodeSelector"),
        // Over nodes they are spread anyway.
        spread: spread.into_iter().filter(|key| !matches!(*key, "" | "node" | "hostname")).map(Name::from).collect(),
    }
}

/// As in Kubernetes, a limit without a request is a request.
fn requests(resources: &Value) -> Resources {
    let amount = |name: &str| {
        let value = resources.pointer(&format!("/requests/{name}")).or_else(|| resources.pointer(&format!("/limits/{name}")));
        quantity(value)
    };
    Resources { memory: parse_memory(&amount("memory")).unwrap_or(0), cpu: parse_cpu(&amount("cpu")).unwrap_or(0) }
}

fn quantity(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn replica_set(meta: Meta, object: &Value) -> ReplicaSet {
    let status = &object["status"];
    ReplicaSet {
        meta,
        replicas: count_or(object, "/spec/replicas", 1),
        revision: annotation(object, names::REVISION).and_then(|r| r.parse().ok()).unwrap_or(0),
        cause: annotation(object, names::CHANGE_CAUSE).unwrap_or("").into(),
        typed: annotation(object, names::TYPED_TEMPLATE).map_or_else(String::new, typed_text).into(),
        template: template(&object["spec"]["template"]),
        min_ready: seconds(object, "/spec/minReadySeconds"),
        status: SetStatus {
            observed: int(status, "/observedGeneration"),
            replicas: count(status, "/replicas"),
            ready: count(status, "/readyReplicas"),
            available: count(status, "/availableReplicas"),
        },
    }
}

fn pod(meta: Meta, object: &Value, now: Duration) -> Pod {
    let status = &object["status"];
    let unplaced = find_condition(status, "PodScheduled").filter(|c| text(c, "/status") == "False");
    let node = text(object, "/spec/nodeName");
    Pod {
        node: (!node.is_empty()).then(|| node.into()),
        need: claim(&object["spec"], &object["metadata"]),
        ended: matches!(text(status, "/phase"), "Failed" | "Succeeded"),
        evicted: annotation(object, names::EVICTED).is_some(),
        sleep: annotation(object, names::SLEEP).and_then(|seconds| seconds.parse().ok()),
        asleep: find_condition(status, names::ASLEEP).is_some_and(|c| text(c, "/status") == "True"),
        succeeded: text(status, "/phase") == "Succeeded",
        counted: annotation(object, names::COUNTED).is_some(),
        index: annotation(object, names::JOB_INDEX).and_then(|index| index.parse().ok()),
        ready: find_condition(status, "Ready").filter(|c| text(c, "/status") == "True").map(|_| now),
        address: text(status, "/podIP").into(),
        restarts: count(status, "/containerStatuses/0/restartCount"),
        trouble: trouble(status),
        unplaced: unplaced.map(|c| text(c, "/message").into()),
        meta,
    }
}

/// The instance's reason for waiting, in the words of its last end where there was one.
fn trouble(status: &Value) -> Option<Trouble> {
    let container = status.pointer("/containerStatuses/0")?;
    if flag(container, "/ready") {
        return None;
    }
    let last = container.pointer("/lastState/terminated");
    let now = container.pointer("/state/terminated").or_else(|| container.pointer("/state/waiting"));
    let reason = now.map_or("", |s| text(s, "/reason"));
    let (reason, message) = match (reason, last) {
        ("", None) => return None,
        ("", Some(last)) => (text(last, "/reason"), text(last, "/message")),
        (reason, _) => {
            let said = now.map_or("", |s| text(s, "/message"));
            (reason, if said.is_empty() { last.map_or("", |l| text(l, "/message")) } else { said })
        }
    };
    Some(Trouble { reason: reason.into(), message: message.into() })
}

fn node(meta: Meta, object: &Value) -> Node {
    let capacity = object.pointer("/status/allocatable").or_else(|| object.pointer("/status/capacity")).unwrap_or(&Value::Null);
    let ready = find_condition(&object["status"], "Ready").map_or("", |c| text(c, "/status"));
    Node {
        capacity: Resources {
            memory: parse_memory(&quantity(capacity.get("memory"))).unwrap_or(0),
            cpu: parse_cpu(&quantity(capacity.get("cpu"))).unwrap_or(0),
        },
        cordoned: flag(object, "/spec/unschedulable"),
        address: items(object, "/status/addresses")
            .iter()
            .find(|a| text(a, "/type") == "InternalIP")
            .map_or("", |a| text(a, "/address"))
            .into(),
        ready: match ready {
            "True" => NodeReady::Yes,
            "Unknown" => NodeReady::Lost,
            _ => NodeReady::No,
        },
        meta,
    }
}
