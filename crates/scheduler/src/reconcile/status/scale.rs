//! The status of an autoscaler.

use super::{Said, condition, find, seconds};
use crate::model::ScalerStatus;
use crate::objects::Object;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Writes it; the current metrics stand in the order of the spec's.
pub fn write_scaler(object: &mut Object, status: &ScalerStatus, now: Timestamp) {
    let parts = [("AbleToScale", &status.able), ("ScalingActive", &status.active), ("ScalingLimited", &status.limited)];
    let said = parts.into_iter().filter(|(_, said)| !said.status.is_empty());
    let mut conditions: Vec<Value> =
        said.map(|(kind, said)| condition(&Said { kind, condition: said.clone() }, find(object, kind), false, now)).collect();
    for condition in &mut conditions {
        condition.as_object_mut().and_then(|map| map.remove("lastUpdateTime"));
    }
    let metrics = object.spec()["metrics"].as_array().cloned().unwrap_or_default();
    // Clients pair them by their place, so what is not known has one too.
    let unknown = |metric: &Value| json!({ "type": metric["type"] });
    let shown = |(metric, value): (&Value, &Option<u64>)| value.and_then(|value| current(metric, value)).unwrap_or_else(|| unknown(metric));
    let current: Vec<Value> = metrics.iter().zip(&status.now).map(shown).collect();
    let mut value = json!({
        "observedGeneration": status.observed, "currentReplicas": status.current, "desiredReplicas": status.desired,
        "currentMetrics": current, "conditions": conditions,
    });
    if let Some(time) = status.scaled.and_then(|at| Timestamp::from_second(at).ok()) {
        value["lastScaleTime"] = json!(seconds(time));
    }
    object.set_status(value);
}

/// What the pods have on average of one metric.
fn current(metric: &Value, value: u64) -> Option<Value> {
    let amount = if value.is_multiple_of(1000) { (value / 1000).to_string() } else { format!("{value}m") };
    Some(match metric["type"].as_str()? {
        "Resource" => {
            let name = &metric["resource"]["name"];
            let current = if metric.pointer("/resource/target/averageUtilization").is_some() {
                json!({ "averageUtilization": value })
            } else {
                json!({ "averageValue": amount })
            };
            json!({ "type": "Resource", "resource": { "name": name, "current": current } })
        }
        _ => json!({ "type": "Pods", "pods": { "metric": metric["pods"]["metric"], "current": { "averageValue": amount } } }),
    })
}
