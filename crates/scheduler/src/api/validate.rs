//! What must hold within an object, beyond the shape of its fields.

use serde_json::Value;

use crate::kinds::Kind;

use super::status::Cause;
use crate::routes::LONGEST;

mod job;
mod names;
mod volumes;
mod workload;

pub use names::{is_label_name, is_label_value, is_qualified, is_subdomain};

/// Everything that is wrong with an object whose fields have the right shape; `old` is what it replaces.
pub fn check(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    names::metadata(kind, object, &mut causes);
    match kind.kind {
        "Deployment" | "ReplicaSet" => workload::workload(object, old, &mut causes),
        "Pod" => workload::pod(object, old, &mut causes),
        "Service" => service(object, &mut causes),
        "Ingress" => ingress(object, &mut causes),
        "ConfigMap" | "Secret" => keyed_data(kind, object, old, &mut causes),
        "Job" => job::job(object, old, &mut causes),
        "CronJob" => job::cron_job(object, &mut causes),
        "HorizontalPodAutoscaler" => scaler(object, &mut causes),
        _ => {}
    }
    causes
}

fn scaler(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if spec["scaleTargetRef"]["name"].as_str().is_none_or(str::is_empty) || spec["scaleTargetRef"]["kind"] != "Deployment" {
        causes.push(Cause::required("spec.scaleTargetRef", "kind Deployment and its name are required: what is to be scaled"));
    }
    let (min, max) = (spec["minReplicas"].as_u64().unwrap_or(1), spec["maxReplicas"].as_u64());
    match max {
        None => causes.push(Cause::required("spec.maxReplicas", "the most pods are required")),
        Some(max) if max < min => causes.push(Cause::invalid("spec.maxReplicas", format!("must not be less than minReplicas, {min}"))),
        Some(_) => {}
    }
    for (index, metric) in spec["metrics"].as_array().into_iter().flatten().enumerate() {
        let given = |at: &str| metric.pointer(at).is_some_and(|value| !value.is_null());
        let fine = match metric["type"].as_str() {
            Some("Resource") => given("/resource/target/averageUtilization") || given("/resource/target/averageValue"),
            Some("Pods") => given("/pods/metric/name") && given("/pods/target/averageValue"),
            _ => false,
        };
        if !fine {
            let what =
                "a metric is required with its target: resource (cpu) with averageUtilization or averageValue, or pods with averageValue";
            causes.push(Cause::required(format!("spec.metrics[{index}]"), what));
        }
    }
}

fn service(object: &Value, causes: &mut Vec<Cause>) {
    let ports = object["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    if ports.is_empty() {
        causes.push(Cause::required("spec.ports", "a port is required, for instance {port: 80}"));
    }
    for (index, port) in ports.iter().enumerate() {
        if port["port"].is_null() {
            causes.push(Cause::required(format!("spec.ports[{index}].port"), "a number is required"));
        }
        if ports.len() > 1 && port["name"].as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required(format!("spec.ports[{index}].name"), "ports need names where there is more than one"));
        }
    }
}

fn ingress(object: &Value, causes: &mut Vec<Cause>) {
    let rules = object["spec"]["rules"].as_array().map_or(&[][..], Vec::as_slice);
    if rules.is_empty() {
        causes.push(Cause::required("spec.rules", "a rule is required: a host and its paths"));
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("spec.rules[{index}]");
        let host = rule["host"].as_str().unwrap_or_default();
        if !host.is_empty() && !is_subdomain(host.strip_prefix("*.").unwrap_or(host)) {
            causes.push(Cause::invalid(format!("{at}.host"), format!("{host:?} is not a host name in lower case, without a port")));
        }
        for (n, path) in rule["http"]["paths"].as_array().into_iter().flatten().enumerate() {
            let text = path["path"].as_str().unwrap_or("/");
            if text.len() > LONGEST {
                let what = format!("it has {} bytes, and a path has {LONGEST} at most", text.len());
                causes.push(Cause::invalid(format!("{at}.http.paths[{n}].path"), what));
            } else if !text.starts_with('/') || text.contains("//") || text.split('/').any(|part| part == "." || part == "..") {
                causes.push(Cause::invalid(
                    format!("{at}.http.paths[{n}].path"),
                    format!("{text:?} is not a path: it starts with / and has no //, . or .."),
                ));
            }
            if path["backend"]["service"]["name"].as_str().is_none_or(str::is_empty) {
                causes.push(Cause::required(format!("{at}.http.paths[{n}].backend.service.name"), "name a Service"));
            }
        }
    }
}

fn keyed_data(kind: &Kind, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    use base64::Engine;
    for part in ["data", "binaryData"] {
        for (key, value) in object[part].as_object().into_iter().flatten() {
            let fine = !key.is_empty()
                && key.len() <= names::SUBDOMAIN
                && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if !fine {
                causes.push(Cause::invalid(format!("{part}[{key}]"), "a key takes letters, digits, '-', '_' or '.'"));
            }
            let encoded = kind.kind == "Secret" || part == "binaryData";
            if encoded && base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default()).is_err() {
                causes.push(Cause::invalid(format!("{part}[{key}]"), "the value is not base64; stringData takes plain text"));
            }
        }
    }
    let Some(old) = old.filter(|old| old["immutable"] == true) else { return };
    if ["data", "binaryData", "immutable"].iter().any(|part| old[part] != object[part]) {
        causes.push(Cause::forbidden("data", "is immutable; make another object"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{CONFIG_MAP, DEPLOYMENT, INGRESS, POD, SECRET};
    use serde_json::json;

    fn deployment() -> Value {
        json!({
            "metadata": { "name": "web" },
            "spec": {
                "selector": { "matchLabels": { "app": "web" } },
                "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "web", "image": "web:1" }] } },
            },
        })
    }

    fn fields(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<String> {
        check(kind, object, old).into_iter().map(|c| c.field).collect()
    }

    #[test]
    fn m11_names() {
        for good in ["a", "shop-web", "a.b-c.d1", &"a".repeat(253)] {
            assert!(fields(&CONFIG_MAP, &json!({ "metadata": { "name": good } }), None).is_empty(), "{good}");
        }
        for bad in ["", "../x", "A", "-a", "a-", "a..b", "😀", "a/b", "a b", &"a".repeat(254)] {
            assert_eq!(fields(&CONFIG_MAP, &json!({ "metadata": { "name": bad } }), None), ["metadata.name"], "{bad}");
        }
        assert!(is_label_name(&"a".repeat(63)) && !is_label_name(&"a".repeat(64)));
    }

    #[test]
    fn a_deployment_selects_its_own_pods_and_keeps_its_selector() {
        assert_eq!(fields(&DEPLOYMENT, &deployment(), None), Vec::<String>::new());
        let mut other = deployment();
        other["spec"]["template"]["metadata"]["labels"]["app"] = json!("api");
        assert_eq!(fields(&DEPLOYMENT, &other, None), ["spec.template.metadata.labels"]);
        let mut moved = deployment();
        moved["spec"]["selector"]["matchLabels"]["tier"] = json!("x");
        moved["spec"]["template"]["metadata"]["labels"]["tier"] = json!("x");
        assert_eq!(fields(&DEPLOYMENT, &moved, Some(&deployment())), ["spec.selector"]);
    }

    #[test]
    fn a_second_container_is_refused_by_name() {
        let mut two = deployment();
        two["spec"]["template"]["spec"]["containers"] = json!([{ "name": "a", "image": "a" }, { "name": "b", "image": "b" }]);
        assert_eq!(fields(&DEPLOYMENT, &two, None), ["spec.template.spec.containers[1]"]);
    }

    #[test]
    fn requests_over_limits_and_rollouts_that_cannot_move_are_refused() {
        let mut bad = deployment();
        bad["spec"]["strategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": "0%" } });
        bad["spec"]["template"]["spec"]["containers"][0]["resources"] =
            json!({ "limits": { "memory": "1Mi" }, "requests": { "memory": "2Mi" } });
        let at = "spec.template.spec.containers[0].resources.requests.memory";
        assert_eq!(fields(&DEPLOYMENT, &bad, None), ["spec.strategy.rollingUpdate.maxUnavailable", at]);
    }

    #[test]
    fn m13_variables() {
        let pod =
            |env: Value| json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "a", "image": "a", "env": env }] } });
        assert!(fields(&POD, &pod(json!([{ "name": "A", "value": "line\nfeed $HOME" }])), None).is_empty());
        for env in
            [json!([{ "name": "" }]), json!([{ "name": "A=B" }]), json!([{ "name": "A", "value": "x\u{0}" }]), json!([{ "name": "A\n" }])]
        {
            assert_eq!(fields(&POD, &pod(env.clone()), None).len(), 1, "{env}");
        }
        // What a node does not offer would only show when the pod never starts.
        let from = |source: Value| pod(json!([{ "name": "A", "valueFrom": source }]));
        for fine in [
            json!({ "fieldRef": { "fieldPath": "metadata.name" } }),
            json!({ "fieldRef": { "fieldPath": "spec.nodeName" } }),
            json!({ "secretKeyRef": { "name": "s", "key": "k" } }),
        ] {
            assert!(fields(&POD, &from(fine.clone()), None).is_empty(), "{fine}");
        }
        for wrong in [json!({}), json!({ "fieldRef": {} }), json!({ "fieldRef": { "fieldPath": "status.podIP" } })] {
            assert_eq!(fields(&POD, &from(wrong.clone()), None).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn routes_and_data_are_looked_at() {
        let ingress = |host: &str, path: &str| {
            let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
            json!({ "metadata": { "name": "i" }, "spec": { "rules": [{ "host": host, "http": { "paths": [{ "path": path, "backend": backend }] } }] } })
        };
        assert!(fields(&INGRESS, &ingress("*.shop.localhost", "/a/b"), None).is_empty());
        assert_eq!(fields(&INGRESS, &ingress("Shop:80", "a/../b"), None).len(), 2);
        assert_eq!(fields(&SECRET, &json!({ "metadata": { "name": "s" }, "data": { "a": "not base64!" } }), None), ["data[a]"]);
        let fixed = json!({ "metadata": { "name": "c" }, "immutable": true, "data": { "a": "1" } });
        let changed = json!({ "metadata": { "name": "c" }, "immutable": true, "data": { "a": "2" } });
        assert_eq!(fields(&CONFIG_MAP, &changed, Some(&fixed)), ["data"]);
    }
}
