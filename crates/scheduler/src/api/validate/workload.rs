//! Deployments, ReplicaSets and Pods: what must hold within them.

use serde_json::Value;

use super::names::{is_label_name, labels};
use super::volumes;
use crate::api::quantity;
use crate::api::status::Cause;

/// What a variable may be taken from; a node knows no more of a pod before it starts.
const FIELD_PATHS: [&str; 4] = ["metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName"];

/// Which amounts a variable may be taken from.
const RESOURCES: [&str; 4] = ["limits.memory", "limits.cpu", "requests.memory", "requests.cpu"];

pub(super) fn workload(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let selector = &spec["selector"]["matchLabels"];
    let template = &spec["template"];
    match selector.as_object() {
        None => causes.push(Cause::required("spec.selector", "matchLabels are required: they say which pods belong to this")),
        Some(selector) if selector.is_empty() => {
            causes.push(Cause::invalid("spec.selector", "an empty selector would own every pod of the namespace"));
        }
        Some(selector) => {
            let labels = &template["metadata"]["labels"];
            if selector.iter().any(|(key, value)| labels.get(key) != Some(value)) {
                causes.push(Cause::invalid("spec.template.metadata.labels", "`selector` does not match the template's labels"));
            }
        }
    }
    if let Some(old) = old
        && old["spec"]["selector"] != spec["selector"]
    {
        causes.push(Cause::invalid("spec.selector", "the selector cannot change; make a new object"));
    }
    labels(&template["metadata"]["labels"], "spec.template.metadata.labels", causes);
    if !template["spec"]["nodeName"].is_null() {
        causes.push(Cause::forbidden("spec.template.spec.nodeName", "the scheduler places pods; write nodeSelector"));
    }
    if template["spec"]["restartPolicy"].as_str().is_some_and(|policy| policy != "Always") {
        causes.push(Cause::invalid("spec.template.spec.restartPolicy", "must be Always: what is to end is a Job"));
    }
    rolling_update(&spec["strategy"], causes);
    pod_spec(&template["spec"], "spec.template.spec", causes);
}

fn rolling_update(strategy: &Value, causes: &mut Vec<Cause>) {
    let rolling = &strategy["rollingUpdate"];
    let at = "spec.strategy.rollingUpdate";
    if strategy["type"] == "Recreate" && !rolling.is_null() {
        causes.push(Cause::forbidden(at, "has no meaning when the type is Recreate; leave it out"));
        return;
    }
    let mut zero = 0;
    for field in ["maxSurge", "maxUnavailable"] {
        let value = &rolling[field];
        let number = value.as_u64().or_else(|| value.as_str().and_then(|t| t.strip_suffix('%')).and_then(|n| n.parse().ok()));
        match number {
            Some(0) => zero += 1,
            None if !value.is_null() => {
                causes.push(Cause::invalid(format!("{at}.{field}"), format!("{value} is not a count or a percentage such as 25%")))
            }
            _ => {}
        }
    }
    if zero == 2 {
        causes.push(Cause::invalid(format!("{at}.maxUnavailable"), "cannot be 0 when maxSurge is 0: no pod could ever be replaced"));
    }
}

pub(super) fn pod(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    pod_spec(&object["spec"], "spec", causes);
    let Some(old) = old else { return };
    // A pod is what a revision made it; only where it runs, once, and how long it may take to stop can be set later.
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(map) = spec.as_object_mut() {
            map.remove("terminationGracePeriodSeconds");
            if old["spec"]["nodeName"].is_null() {
                map.remove("nodeName");
            }
        }
        spec
    };
    if fixed(&object["spec"]) != fixed(&old["spec"]) {
        causes.push(Cause::forbidden("spec", "a pod cannot be changed; change its Deployment, or delete it and make another"));
    }
}

pub(super) fn pod_spec(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    let containers = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
    match containers {
        [one] => {
            container(one, &format!("{at}.containers[0]"), causes);
            volumes::check(spec, one, at, causes);
        }
        [] => causes.push(Cause::required(format!("{at}.containers"), "one container is required: the component to run")),
        [_, more @ ..] => {
            let name = more[0]["name"].as_str().unwrap_or_default();
            let what = format!("a pod runs one component; deploy {name:?} as a service of its own");
            causes.push(Cause::forbidden(format!("{at}.containers[1]"), what));
        }
    }
}

fn container(container: &Value, at: &str, causes: &mut Vec<Cause>) {
    let name = container["name"].as_str().unwrap_or_default();
    if !is_label_name(name) {
        causes.push(Cause::invalid(
            format!("{at}.name"),
            format!("{name:?} cannot be a container's name: 1 to 63 lower-case letters, digits or '-'"),
        ));
    }
    image(&container["image"], &format!("{at}.image"), causes);
    for (index, env) in container["env"].as_array().into_iter().flatten().enumerate() {
        variable(env, &format!("{at}.env[{index}]"), causes);
    }
    for probe in ["readinessProbe", "livenessProbe"] {
        let given = &container[probe];
        if given.is_object() && given["httpGet"].is_null() {
            causes.push(Cause::required(format!("{at}.{probe}.httpGet"), "a probe asks by HTTP"));
        }
    }
    let (limits, requests) = (&container["resources"]["limits"], &container["resources"]["requests"]);
    for amount in ["memory", "cpu"] {
        if let (Some(limit), Some(request)) = (quantity::of(&limits[amount]), quantity::of(&requests[amount]))
            && request > limit
        {
            causes.push(Cause::invalid(
                format!("{at}.resources.requests.{amount}"),
                format!("must not be more than the limit, {}", limits[amount]),
            ));
        }
    }
}

fn image(image: &Value, at: &str, causes: &mut Vec<Cause>) {
    let text = image.as_str().unwrap_or_default();
    if text.is_empty() {
        causes.push(Cause::required(at, "an image is required: a registry reference of a component"));
    } else if let Err(error) = text.parse::<artifact::Reference>() {
        causes.push(Cause::invalid(at, error.to_string()));
    }
}

fn variable(env: &Value, at: &str, causes: &mut Vec<Cause>) {
    let name = env["name"].as_str().unwrap_or_default();
    if name.is_empty() || name.contains(['=', '\0']) || name.chars().any(char::is_control) {
        causes.push(Cause::invalid(format!("{at}.name"), format!("{name:?} cannot be the name of a variable")));
    }
    if env["value"].as_str().is_some_and(|v| v.contains('\0')) {
        causes.push(Cause::invalid(format!("{at}.value"), "a variable cannot hold a NUL character"));
    }
    if env["value"].as_str().is_some_and(|v| !v.is_empty()) && env["valueFrom"].is_object() {
        causes.push(Cause::invalid(format!("{at}.valueFrom"), "write either value or valueFrom"));
    }
    let from = &env["valueFrom"];
    if from.is_object() && ["secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"].iter().all(|source| from[source].is_null()) {
        causes.push(Cause::required(format!("{at}.valueFrom"), "name a secretKeyRef, a configMapKeyRef, a fieldRef or a resourceFieldRef"));
    }
    let resource = from["resourceFieldRef"]["resource"].as_str().unwrap_or_default();
    if from["resourceFieldRef"].is_object() && !RESOURCES.contains(&resource) {
        let what = format!("{resource:?} is not offered; there are {}", RESOURCES.join(", "));
        causes.push(Cause::invalid(format!("{at}.valueFrom.resourceFieldRef.resource"), what));
    }
    let path = from["fieldRef"]["fieldPath"].as_str().unwrap_or_default();
    if from["fieldRef"].is_object() && !FIELD_PATHS.contains(&path) {
        let what = format!("{path:?} is not offered; there are {}", FIELD_PATHS.join(", "));
        causes.push(Cause::invalid(format!("{at}.valueFrom.fieldRef.fieldPath"), what));
    }
}
