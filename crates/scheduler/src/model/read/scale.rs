//! HorizontalPodAutoscalers, and the loads that nodes tell with their Leases.

use super::{annotation, condition, count, count_or, find_condition, int, items, quantity, text};
use crate::model::{Aim, Key, Load, Loads, Measure, Meta, Scaler, ScalerStatus, parse_cpu};
use crate::names;
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// Kubernetes' own: how long the load must have been lower before pods go.
const WINDOW: u32 = 300;

pub(super) fn scaler(meta: Meta, object: &Value, now: Duration) -> Scaler {
    let spec = &object["spec"];
    let may = |way: &str| spec.pointer(&format!("/behavior/{way}/selectPolicy")).and_then(Value::as_str) != Some("Disabled");
    Scaler {
        target: Key { namespace: meta.key.namespace.clone(), name: text(spec, "/scaleTargetRef/name").into() },
        min: count_or(spec, "/minReplicas", 1),
        max: count(spec, "/maxReplicas"),
        aims: items(spec, "/metrics").iter().filter_map(aim).collect(),
        window: Duration::from_secs(u64::from(count_or(spec, "/behavior/scaleDown/stabilizationWindowSeconds", WINDOW))),
        may: (may("scaleUp"), may("scaleDown")),
        status: status(&object["status"]),
        told: now,
        meta,
    }
}

/// One metric of a spec; none where the API would have refused it.
fn aim(metric: &Value) -> Option<Aim> {
    let amount = |at: &str| parse_cpu(&quantity(metric.pointer(at)));
    match text(metric, "/type") {
        "Resource" if text(metric, "/resource/name") == "cpu" => match metric.pointer("/resource/target/averageUtilization") {
            Some(percent) => Some(Aim { measure: Measure::CpuShare, value: percent.as_u64()? }),
            None => Some(Aim { measure: Measure::Cpu, value: amount("/resource/target/averageValue")? }),
        },
        "Pods" => {
            let measure = match text(metric, "/pods/metric/name") {
                names::CONCURRENCY_METRIC => Measure::Concurrency,
                names::REQUESTS_METRIC => Measure::Requests,
                _ => return None,
            };
            Some(Aim { measure, value: amount("/pods/target/averageValue")? })
        }
        _ => None,
    }
}

fn status(status: &Value) -> ScalerStatus {
    let current = |metric: &Value| {
        let value = ["/pods/current/averageValue", "/resource/current/averageValue"].iter().find_map(|at| metric.pointer(at));
        match metric.pointer("/resource/current/averageUtilization") {
            Some(percent) => percent.as_u64(),
            None => parse_cpu(&quantity(value)),
        }
    };
    ScalerStatus {
        observed: int(status, "/observedGeneration"),
        current: count(status, "/currentReplicas"),
        desired: count(status, "/desiredReplicas"),
        now: items(status, "/currentMetrics").iter().map(current).collect(),
        scaled: text(status, "/lastScaleTime").parse::<Timestamp>().ok().map(Timestamp::as_second),
        able: find_condition(status, "AbleToScale").map(|_| condition(status, "AbleToScale")).unwrap_or_default(),
        active: condition(status, "ScalingActive"),
        limited: condition(status, "ScalingLimited"),
    }
}

/// `{"UID": [concurrency, requests, cpu, asked, failed]}`, the first three in thousandths.
pub(super) fn loads(lease: &Value) -> Loads {
    let told = annotation(lease, names::LOAD).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let load = |value: &Value| {
        let number = |at: usize| value.get(at).and_then(Value::as_u64).unwrap_or(0);
        Load { concurrency: number(0), requests: number(1), cpu: number(2), asked: number(3), failed: number(4) }
    };
    told.iter().filter_map(Value::as_object).flatten().map(|(uid, value)| (uid.as_str().into(), load(value))).collect()
}
