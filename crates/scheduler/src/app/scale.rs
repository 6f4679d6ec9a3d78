//! Between how many pods a service is scaled, and by what.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::file::Unknown;
use super::quantity::{Share, Time};
use crate::names;

/// Between how many pods a service is scaled, and by what: the aim that wants the most counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// The fewest pods.
    #[serde(default = "Scale::min")]
    pub min: u32,
    /// The most pods.
    pub max: u32,
    /// Requests that each pod works on at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Requests in a second for each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// The share of its CPU that each pod uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Share>,
    /// How long the load must have been lower before pods go; whole seconds.
    #[serde(default = "Scale::window")]
    pub window: Time,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

impl Scale {
    fn min() -> u32 {
        1
    }

    fn window() -> Time {
        Time::seconds(60)
    }

    /// The `spec` of a HorizontalPodAutoscaler of this Deployment.
    pub fn spec(&self, deployment: &str) -> Value {
        let pods = |name: &str, value: u32| json!({ "type": "Pods", "pods": { "metric": { "name": name }, "target": { "type": "AverageValue", "averageValue": value.to_string() } } });
        let cpu = |share: Share| {
            let percent = match share {
                Share::Percent(percent) | Share::Count(percent) => percent,
            };
            json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": percent } } })
        };
        let aimless = self.requests.is_none() && self.cpu.is_none();
        // Between 0 and 1 any aim does, and none would be taken for Kubernetes' own, which is of CPU.
        let concurrency = self.concurrency.or(aimless.then_some(100)).map(|value| pods(names::CONCURRENCY_METRIC, value));
        let requests = self.requests.map(|value| pods(names::REQUESTS_METRIC, value));
        let metrics: Vec<Value> = [concurrency, requests, self.cpu.map(cpu)].into_iter().flatten().collect();
        json!({
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment },
            "minReplicas": self.min, "maxReplicas": self.max, "metrics": metrics,
            "behavior": { "scaleDown": { "stabilizationWindowSeconds": self.window.0.as_secs() } },
        })
    }
}
