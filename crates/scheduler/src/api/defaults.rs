//! What an object says where its author said nothing: Kubernetes' defaults, as far as wctl acts on them or clients show them.

use base64::Engine;
use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::names::{self, RUNTIME_CLASS};

/// Removes nulls (`creationTimestamp: null` and the like): in Kubernetes' JSON they mean the same as nothing. Those inside lists
/// stay, as there they hold a place.
pub fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Fills in the defaults of an object's kind. Done twice it changes nothing.
pub fn fill(kind: &Kind, object: &mut Value) {
    match kind.kind {
        "Deployment" => deployment(object),
        "ReplicaSet" => replica_set(object),
        "Pod" => pod(object),
        "Job" => job(object),
        "CronJob" => cron_job(object),
        "HorizontalPodAutoscaler" => scaler(object),
        "Service" => service(object),
        "Ingress" => ingress(object),
        "Secret" => secret(object),
        "Namespace" => namespace(object),
        _ => {}
    }
}

/// The object at `key`, made where it is missing; `None` where something else stands there.
fn object_at<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    parent.entry(key).or_insert_with(|| json!({})).as_object_mut()
}

fn set(map: &mut Map<String, Value>, key: &str, value: Value) {
    map.entry(key).or_insert(value);
}

fn spec(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object_at(object.as_object_mut()?, "spec")
}

fn deployment(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    if let Some(strategy) = object_at(spec, "strategy") {
        set(strategy, "type", json!("RollingUpdate"));
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = object_at(strategy, "rollingUpdate")
        {
            set(rolling, "maxSurge", json!("25%"));
            set(rolling, "maxUnavailable", json!("25%"));
        }
    }
    template(spec);
}

fn replica_set(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "replicas", json!(1));
    template(spec);
}

fn job(object: &mut Value) {
    let meta = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (uid, name) = (meta("uid"), meta("name"));
    let Some(spec) = spec(object) else { return };
    job_spec(spec);
    if uid.is_empty() {
        return;
    }
    if let Some(labels) = object_at(spec, "selector").and_then(|selector| object_at(selector, "matchLabels")) {
        set(labels, names::JOB_UID, json!(uid));
    }
    let template = object_at(spec, "template").and_then(|template| object_at(template, "metadata"));
    if let Some(labels) = template.and_then(|metadata| object_at(metadata, "labels")) {
        for (label, value) in [(names::JOB_UID, &uid), ("controller-uid", &uid), (names::JOB_NAME, &name), ("job-name", &name)] {
            set(labels, label, json!(value));
        }
    }
}

fn job_spec(spec: &mut Map<String, Value>) {
    // Where only one of the two is given, "no completions" has a meaning of its own: one success is enough.
    if !spec.contains_key("parallelism") && !spec.contains_key("completions") {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "backoffLimit", json!(6));
    set(spec, "suspend", json!(false));
    set(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    template(spec);
}

fn scaler(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "minReplicas", json!(1));
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } });
    if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("metrics".to_owned(), json!([cpu]));
    }
}

fn cron_job(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    if let Some(job) = object_at(spec, "jobTemplate").and_then(|template| object_at(template, "spec")) {
        job_spec(job);
    }
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(pod) = object_at(spec, "template").and_then(|template| object_at(template, "spec")) {
        pod_spec(pod);
    }
}

fn pod(object: &mut Value) {
    if let Some(spec) = spec(object) {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set(spec, "runtimeClassName", json!(RUNTIME_CLASS));
    each(spec, "containers", container);
}

fn each(map: &mut Map<String, Value>, list: &str, fill: fn(&mut Map<String, Value>)) {
    let items = map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
    items.filter_map(Value::as_object_mut).for_each(fill);
}

fn container(container: &mut Map<String, Value>) {
    set(container, "imagePullPolicy", json!("IfNotPresent"));
    each(container, "ports", |port| set(port, "protocol", json!("TCP")));
    for probe in ["readinessProbe", "livenessProbe"] {
        if let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) {
            fill_probe(probe);
        }
    }
    if let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) {
        requests_from_limits(resources);
    }
    each(container, "env", |env| {
        if let Some(field) = env.get_mut("valueFrom").and_then(|v| v.get_mut("fieldRef")).and_then(Value::as_object_mut) {
            set(field, "apiVersion", json!("v1"));
        }
    });
}

fn fill_probe(probe: &mut Map<String, Value>) {
    for (field, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
        set(probe, field, json!(value));
    }
    if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    }
}

/// What is limited but not requested is requested in full.
fn requests_from_limits(resources: &mut Map<String, Value>) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if let Some(requests) = object_at(resources, "requests") {
        limits.into_iter().for_each(|(name, amount)| set(requests, &name, amount));
    }
}

fn service(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    set(spec, "internalTrafficPolicy", json!("Cluster"));
    if matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if spec["type"] == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    each(spec, "ports", |port| {
        set(port, "protocol", json!("TCP"));
        if let Some(number) = port.get("port").cloned() {
            set(port, "targetPort", number);
        }
    });
}

fn ingress(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    each(spec, "rules", |rule| {
        if let Some(http) = rule.get_mut("http").and_then(Value::as_object_mut) {
            each(http, "paths", |path| set(path, "pathType", json!("ImplementationSpecific")));
        }
    });
}

/// `stringData` is written as plain text and kept as base64 in `data`.
fn secret(object: &mut Value) {
    let Some(secret) = object.as_object_mut() else { return };
    set(secret, "type", json!("Opaque"));
    if let Some(Value::Object(plain)) = secret.remove("stringData")
        && let Some(data) = object_at(secret, "data")
    {
        for (key, value) in plain {
            let text = value.as_str().unwrap_or_default();
            data.insert(key, json!(base64::engine::general_purpose::STANDARD.encode(text)));
        }
    }
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    let Some(labels) = object.get_mut("metadata").and_then(Value::as_object_mut).and_then(|m| object_at(m, "labels")) else { return };
    labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    if let Some(status) = object.as_object_mut().and_then(|o| object_at(o, "status")) {
        set(status, "phase", json!("Active"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{DEPLOYMENT, POD, SECRET, SERVICE};

    #[test]
    fn a_small_deployment_gets_what_clients_show_and_is_then_left_alone() {
        let mut object = json!({ "spec": { "template": { "metadata": { "creationTimestamp": null }, "spec": { "containers": [
            { "name": "web", "image": "web", "readinessProbe": { "httpGet": { "port": 80 } }, "resources": { "limits": { "memory": "64Mi" } } },
        ] } } } });
        without_nulls(&mut object);
        fill(&DEPLOYMENT, &mut object);
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["strategy"]["rollingUpdate"], json!({ "maxSurge": "25%", "maxUnavailable": "25%" }));
        let pod = &spec["template"]["spec"];
        assert_eq!((&pod["restartPolicy"], &pod["runtimeClassName"]), (&json!("Always"), &json!("wasm")));
        let container = &pod["containers"][0];
        assert_eq!(container["readinessProbe"]["failureThreshold"], 3);
        assert_eq!(container["resources"]["requests"]["memory"], "64Mi");
        assert!(spec["template"]["metadata"].get("creationTimestamp").is_none());
        let once = object.clone();
        fill(&DEPLOYMENT, &mut object);
        assert_eq!(object, once);
    }

    #[test]
    fn what_is_written_is_kept() {
        let mut service_object = json!({ "spec": { "ports": [{ "port": 80, "targetPort": "http" }] } });
        fill(&SERVICE, &mut service_object);
        assert_eq!(service_object["spec"]["ports"][0]["targetPort"], "http");
        let mut secret_object = json!({ "stringData": { "a": "b" }, "data": { "c": "ZA==" } });
        fill(&SECRET, &mut secret_object);
        assert_eq!(secret_object["data"], json!({ "a": "Yg==", "c": "ZA==" }));
        assert!(secret_object.get("stringData").is_none());
    }

    #[test]
    fn nonsense_is_left_for_the_check() {
        for mut object in
            [json!({ "spec": 3 }), json!({ "spec": { "containers": "x" } }), json!({ "spec": { "containers": [1] } }), json!(7)]
        {
            let before = object.clone();
            fill(&POD, &mut object);
            assert!(object == before || object["spec"]["restartPolicy"] == "Always");
        }
    }
}
