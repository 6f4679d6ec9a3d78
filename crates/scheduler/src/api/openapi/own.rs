//! The schemas of what Kubernetes does not have: our own kinds, and what is measured.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::names;

const META: &str = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const TIME: &str = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const QUANTITY: &str = "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity";

/// Whether Kubernetes has no such kind.
pub(super) fn is_ours(kind: &Kind) -> bool {
    kind.group == names::GROUP
}

/// Kinds of a group that are asked and answered but never kept, and their plurals.
pub(super) fn asked(group: &str) -> &'static [(&'static str, &'static str)] {
    match group {
        "authorization.k8s.io" => {
            &[("SelfSubjectAccessReview", "selfsubjectaccessreviews"), ("SelfSubjectRulesReview", "selfsubjectrulesreviews")]
        }
        "authentication.k8s.io" => &[("SelfSubjectReview", "selfsubjectreviews")],
        _ => &[],
    }
}

/// All of them, by the names of their definitions.
pub(super) fn all() -> Vec<(String, Value)> {
    let mut all = vec![
        named("App", object("An app: its services, what they may do and how a change replaces their pods.", app_spec())),
        named("Policy", object("What a namespace allows its deployers; only an admin writes it.", policy_spec())),
        named(
            "RouteClaim",
            object(
                "A host and path that an App has; the API writes it.",
                texts(&[
                    ("host", "The host."),
                    ("path", "The path prefix."),
                    ("namespace", "Of the App."),
                    ("app", "The App's name."),
                    ("uid", "The App's uid."),
                ]),
            ),
        ),
    ];
    let usage = json!({ "type": "object", "additionalProperties": { "$ref": QUANTITY } });
    let window = json!({ "type": "string", "description": "Over how long it was measured." });
    let base = |more: Value| {
        let mut properties = json!({
            "apiVersion": { "type": "string" }, "kind": { "type": "string" }, "metadata": { "$ref": META }, "timestamp": { "$ref": TIME },
            "window": window,
        });
        merge(&mut properties, more);
        json!({ "type": "object", "description": "What was used lately.", "properties": properties })
    };
    let container = json!({ "type": "object", "properties": { "name": { "type": "string" }, "usage": usage } });
    all.push(("io.k8s.metrics.v1beta1.NodeMetrics".to_owned(), base(json!({ "usage": usage }))));
    all.push(("io.k8s.metrics.v1beta1.PodMetrics".to_owned(), base(json!({ "containers": { "type": "array", "items": container } }))));
    all
}

fn named(kind: &str, schema: Value) -> (String, Value) {
    (format!("dev.wctl.v1.{kind}"), schema)
}

fn object(about: &str, spec: Value) -> Value {
    json!({
        "description": about, "type": "object",
        "properties": {
            "apiVersion": { "type": "string", "description": "wctl.dev/v1" },
            "kind": { "type": "string", "description": "The kind." },
            "metadata": { "description": "Name, namespace, labels and annotations.", "allOf": [{ "$ref": META }] },
            "spec": spec,
            "status": { "type": "object", "description": "Written by the server.", "x-kubernetes-preserve-unknown-fields": true },
        },
    })
}

fn texts(fields: &[(&str, &str)]) -> Value {
    let properties = fields.iter().map(|(name, about)| ((*name).to_owned(), json!({ "type": "string", "description": about })));
    json!({ "type": "object", "description": "What it says.", "properties": properties.collect::<Map<_, _>>() })
}

/// What app.yaml may say, with digests for images.
fn app_spec() -> Value {
    let schema = crate::app::schema();
    let mut service = plain(&schema["$defs"]["service"], &Value::Null);
    let image = json!({ "type": "string", "description": "The image, with its digest." });
    merge(
        &mut service["properties"],
        json!({ "image": image, "typed": { "type": "string", "description": "The image as it stood in the file." } }),
    );
    let mut spec = json!({ "type": "object", "description": "The services, and what they share.", "properties": {} });
    for field in ["env", "rollout"] {
        spec["properties"][field] = plain(&schema["properties"][field], &Value::Null);
    }
    spec["properties"]["services"] = json!({ "type": "object", "description": "The services by name.", "additionalProperties": service });
    spec
}

/// The part of a JSON Schema that OpenAPI 3.0 has: one type, no alternatives.
fn plain(schema: &Value, above: &Value) -> Value {
    let first = |field: &str| schema[field].as_array().and_then(|any| any.first()).filter(|any| any.get("type").is_some());
    let alternative = first("anyOf").map(|any| plain(any, schema));
    let mut out = alternative.filter(|_| schema.get("type").is_none()).unwrap_or_else(|| json!({}));
    let kind = match &schema["type"] {
        Value::Array(types) => types.iter().find(|t| *t != "null").cloned(),
        Value::Null => None,
        one => Some(one.clone()),
    };
    if let Some(kind) = kind {
        out["type"] = kind;
    }
    for text in [&schema["description"], &above["description"]] {
        if text.is_string() && out.get("description").is_none() {
            out["description"] = text.clone();
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        out["properties"] = properties.iter().map(|(name, value)| (name.clone(), plain(value, &Value::Null))).collect::<Map<_, _>>().into();
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            out[below] = plain(&schema[below], &Value::Null);
        }
    }
    if out.get("type").is_none() {
        out["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    out
}

fn policy_spec() -> Value {
    let list = |about: &str| json!({ "type": "array", "items": { "type": "string" }, "description": about });
    let quantity = |about: &str| json!({ "description": about, "allOf": [{ "$ref": QUANTITY }] });
    let whole = |about: &str| json!({ "type": "integer", "format": "int64", "description": about });
    json!({
        "type": "object", "description": "What is absent is not limited.",
        "properties": {
            "connect": list("Hosts that guests may connect to: api.mail.example, *.mail.example, *."),
            "listen": list("Ports of a node that guests may listen on: 5000, 5000-5999."),
            "hosts": list("Hosts that routes may claim, in the form of connect."),
            "registries": list("Where images may come from: ghcr.io/acme, or embedded for the cluster's own registry."),
            "limits": { "type": "object", "description": "Most that one pod may have.", "properties": {
                "memory": quantity("Memory."), "cpu": quantity("Share of a CPU."),
                "time": { "type": "string", "description": "Time for a request: 5s." }, "concurrency": whole("Requests at once."),
            } },
            "quota": { "type": "object", "description": "Most that the namespace may have altogether.", "properties": {
                "pods": whole("Pods."), "memory": quantity("Memory."), "cpu": quantity("CPUs."),
            } },
        },
    })
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
