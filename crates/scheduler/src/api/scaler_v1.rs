//! `autoscaling/v1`, which `kubectl autoscale` writes: read and answered as the v2 that is kept.

use axum::body::Body;
use axum::response::Response;
use http::{Request, Uri, header, request};
use serde_json::{Value, json};

use super::status::{Refusal, Result};
use super::{Api, body};

/// Where clients find it.
const V1: &str = "/apis/autoscaling/v1/namespaces/";

/// The request as it is for v2; none where it is about something else.
pub(super) fn is_meant(uri: &Uri) -> bool {
    uri.path().strip_prefix(V1).is_some_and(|rest| rest.split('/').nth(1) == Some("horizontalpodautoscalers"))
}

/// Answers it through v2.
pub(super) async fn answer(api: Api, head: request::Parts, given: Body) -> Result<Response> {
    // Who is not known learns nothing, not even what is wrong with a body.
    api.who(&head.headers, &head.extensions).await?;
    let target = head.uri.to_string().replacen("/apis/autoscaling/v1/", "/apis/autoscaling/v2/", 1);
    let reads = matches!(head.method, http::Method::GET | http::Method::HEAD | http::Method::DELETE);
    let patch = head.method == http::Method::PATCH;
    if patch {
        return Err(Refusal::new(405, "MethodNotAllowed", "patches of autoscaling/v1 are not taken; patch the autoscaling/v2 object"));
    }
    let given = if reads { given } else { Body::from(to_v2(body::json(&head.headers, given).await?).to_string()) };
    let mut request = Request::from_parts(head, given);
    *request.uri_mut() = target.parse().map_err(|_| Refusal::no_such_path())?;
    request.headers_mut().remove(header::CONTENT_LENGTH);
    if !reads {
        // It may have come as protobuf.
        request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    }
    let (head, body) = request.into_parts();
    let (mut head, body) = Box::pin(super::route(api, head, body)).await?.into_parts();
    let bytes = axum::body::to_bytes(body, body::MOST_BYTES).await.map_err(|e| Refusal::internal(e.to_string()))?;
    let shown = match serde_json::from_slice::<Value>(&bytes) {
        Ok(value) if value["kind"] == "HorizontalPodAutoscaler" => to_v1(value).to_string().into(),
        _ => bytes,
    };
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Body::from(shown)))
}

/// The percentage of v1 is the only metric that it knows.
fn to_v2(mut scaler: Value) -> Value {
    scaler["apiVersion"] = json!("autoscaling/v2");
    let percent = scaler["spec"].as_object_mut().and_then(|spec| spec.remove("targetCPUUtilizationPercentage"));
    if let Some(percent) = percent.filter(Value::is_number) {
        let target = json!({ "type": "Utilization", "averageUtilization": percent });
        scaler["spec"]["metrics"] = json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]);
    }
    if let Some(map) = scaler.as_object_mut() {
        map.remove("status");
    }
    scaler
}

fn to_v1(mut scaler: Value) -> Value {
    scaler["apiVersion"] = json!("autoscaling/v1");
    let percent = |of: &Value, at: &str| {
        let all = of.as_array().into_iter().flatten().filter(|metric| metric["resource"]["name"] == "cpu");
        all.filter_map(|metric| metric.pointer(at).cloned()).next()
    };
    let aim = percent(&scaler["spec"]["metrics"], "/resource/target/averageUtilization");
    let now = percent(&scaler["status"]["currentMetrics"], "/resource/current/averageUtilization");
    if let Some(spec) = scaler["spec"].as_object_mut() {
        spec.remove("metrics");
        spec.remove("behavior");
        spec.extend(aim.map(|aim| ("targetCPUUtilizationPercentage".to_owned(), aim)));
    }
    let number = |at: &str| scaler["status"][at].as_u64().unwrap_or(0);
    let mut status = json!({ "currentReplicas": number("currentReplicas"), "desiredReplicas": number("desiredReplicas") });
    if let Some(now) = now {
        status["currentCPUUtilizationPercentage"] = now;
    }
    scaler["status"] = status;
    scaler
}
