//! What must hold within an object, beyond the shape of its fields.

use serde_json::Value;

use crate::kinds::Kind;

use super::quantity;
use super::status::Cause;

/// Longest name of a part of DNS.
const LABEL: usize = 63;
/// Longest name of most objects.
const SUBDOMAIN: usize = 253;
/// Most bytes of all annotations together, as in Kubernetes.
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// Everything that is wrong with an object whose fields have the right shape; `old` is what it replaces.
pub fn check(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(kind, object, &mut causes);
    match kind.kind {
        "Deployment" | "ReplicaSet" => workload(object, old, &mut causes),
        "Pod" => pod(object, old, &mut causes),
        "Service" => service(object, &mut causes),
        "Ingress" => ingress(object, &mut causes),
        "ConfigMap" | "Secret" => keyed_data(kind, object, old, &mut causes),
        "Job" | "CronJob" | "HorizontalPodAutoscaler" => {
            causes.push(Cause::forbidden("kind", format!("{} objects are not run yet; deploy a service instead", kind.kind)));
        }
        _ => {}
    }
    causes
}

/// Lower-case letters, digits and `-`, starting and ending with a letter or digit, at most 63 long.
pub fn is_label_name(name: &str) -> bool {
    let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = name.as_bytes();
    bytes.len() <= LABEL && bytes.iter().all(|c| inside(*c)) && edge(bytes.first()) && edge(bytes.last())
}

/// Such parts, joined with dots, at most 253 long altogether.
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= SUBDOMAIN && name.split('.').all(|part| !part.is_empty() && is_label_name_of_any_length(part))
}

fn is_label_name_of_any_length(part: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && edge(part.chars().next())
        && edge(part.chars().next_back())
}

fn metadata(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    // Names that become parts of host names are held to the shorter form.
    let short = matches!(kind.kind, "Service" | "Namespace" | "App");
    let (fine, form) = if short {
        (is_label_name(name), "1 to 63 lower-case letters, digits or '-', with a letter or digit at both ends")
    } else {
        (is_subdomain(name), "lower-case letters, digits, '-' or '.', with a letter or digit at both ends, at most 253")
    };
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if !fine {
        causes.push(Cause::invalid("metadata.name", format!("{name:?} cannot be a name: it takes {form}")));
    }
    labels(&meta["labels"], "metadata.labels", causes);
    let annotations = meta["annotations"].as_object();
    for key in annotations.into_iter().flat_map(|a| a.keys()) {
        if !is_qualified(key) {
            causes.push(Cause::invalid("metadata.annotations", format!("{key:?} cannot be an annotation's key")));
        }
    }
    let size: usize = annotations.into_iter().flatten().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    if size > MOST_ANNOTATIONS {
        causes.push(Cause::invalid("metadata.annotations", format!("must have at most {MOST_ANNOTATIONS} bytes, not {size}")));
    }
}

fn labels(labels: &Value, at: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if !is_qualified(key) {
            causes.push(Cause::invalid(at, format!("{key:?} cannot be a label's key")));
        }
        let value = value.as_str().unwrap_or_default();
        if !value.is_empty() && !is_label_value(value) {
            causes.push(Cause::invalid(
                format!("{at}[{key}]"),
                format!("{value:?} cannot be a label's value: it takes up to 63 letters, digits, '-', '_' or '.'"),
            ));
        }
    }
}

fn is_label_value(value: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    value.len() <= LABEL
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && edge(value.chars().next())
        && edge(value.chars().next_back())
}

/// `name` or `example.com/name`.
fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(&prefix.to_ascii_lowercase()) && is_label_value(name),
        None => is_label_value(key),
    }
}

fn workload(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
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

fn pod(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
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

fn pod_spec(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    let containers = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
    match containers {
        [one] => container(one, &format!("{at}.containers[0]"), causes),
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
    let field = env["valueFrom"]["fieldRef"]["fieldPath"].as_str();
    let known = ["metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.podIP", "status.hostIP"];
    if let Some(path) =
        field.filter(|f| !known.contains(f) && !f.starts_with("metadata.labels['") && !f.starts_with("metadata.annotations['"))
    {
        causes.push(Cause::invalid(format!("{at}.valueFrom.fieldRef.fieldPath"), format!("{path:?} is not one of {}", known.join(", "))));
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
            if !text.starts_with('/') || text.contains("//") || text.split('/').any(|part| part == "." || part == "..") {
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
            let fine =
                !key.is_empty() && key.len() <= SUBDOMAIN && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
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
