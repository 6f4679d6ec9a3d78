//! The `scale` subresource: how many replicas something has and should have.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::objects::Object;

use super::admit::Manner;
use super::managed::By;
use super::status::{Cause, Refusal, Result};
use super::{Call, Target, body, patch, read, reply, write};

/// GET, PUT and PATCH of `…/scale`.
pub(super) async fn answer(call: Call, verb: &str) -> Result<Response> {
    let Call { api, who, target, query, headers, body, .. } = call;
    let by = By::of(&who, target.kind, "scale", &query, &headers)?;
    let whole = Target { kind: target.kind, namespace: target.namespace, name: target.name, part: String::new() };
    let change = match verb {
        "get" => {
            let object = read::object(&api, &whole).await?;
            return Ok(reply::json(StatusCode::OK, &scale_of(&object), &[]));
        }
        "update" => Change::Whole(body::json(&headers, body).await?),
        "patch" => Change::Patch(patch::Form::of(&headers)?, body::whole(&headers, body).await?),
        _ => return Err(Refusal::method(whole.kind, verb)),
    };
    let manner = Manner::of(&query)?;
    let done = write::change(&api, &who, manner, &by, &whole, |old| scaled(old, &change)).await?;
    Ok(reply::json(StatusCode::OK, &scale_of(&done.object), &done.warnings))
}

enum Change {
    Whole(Value),
    Patch(patch::Form, bytes::Bytes),
}

/// The object with the number of replicas that a new Scale asks for.
fn scaled(old: &Object, change: &Change) -> Result<Value> {
    let scale = match change {
        Change::Whole(scale) => scale.clone(),
        // A Scale has one field, so that what is applied is what is merged.
        Change::Patch(patch::Form::Apply, bytes) => {
            let (mut scale, config) = (scale_of(old), patch::config(bytes)?);
            scale["spec"] = config["spec"].clone();
            scale
        }
        Change::Patch(form, bytes) => {
            let kind = old.known_kind().map_err(|e| Refusal::bad_request(e.to_string()))?;
            patch::apply(*form, kind, &scale_of(old), bytes)?
        }
    };
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => json!(0),
        number => number.clone(),
    };
    if replicas.as_i64().is_none_or(|n| n < 0) {
        return Err(super::admit::wrong(old, Cause::invalid("spec.replicas", format!("{replicas} is not a whole number from 0"))));
    }
    let mut object = old.0.clone();
    object["spec"]["replicas"] = replicas;
    // Only a version that the client named ties the write to it.
    if let (Change::Whole(_), Some(version)) = (change, scale["metadata"]["resourceVersion"].as_str().filter(|v| !v.is_empty())) {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    Ok(object)
}

fn scale_of(object: &Object) -> Value {
    let labels = object.spec()["selector"]["matchLabels"].as_object().into_iter().flatten();
    let selector: Vec<String> = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let meta = &object.0["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": { "replicas": object.spec()["replicas"].as_u64().unwrap_or(1) },
        "status": { "replicas": object.status()["replicas"].as_u64().unwrap_or(0), "selector": selector.join(",") },
    })
}
