//! What a component needs is offered: asked when its image is written, since a node would only find out when it starts it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::objects::Object;

use super::Api;
use super::status::{Cause, Refusal, Result};

/// Refuses images that import what no node offers, all at once; those of `old` run already, whatever they need.
pub(super) async fn check(api: &Api, object: &Object, old: Option<&Object>) -> Result<()> {
    let before = old.map(images).unwrap_or_default();
    let mut causes = Vec::new();
    for (field, image) in images(object) {
        if sleeps(object, &field) && api.0.resolver.is_program(&image).await {
            let why = "only services that answer HTTP sleep at 0 pods, and this component is a program that no request could wake: write `min: 1`";
            causes.push(Cause::invalid(field.replace(".image", ".scale.min"), why.to_owned()));
        }
        if before.values().any(|old| *old == image) {
            continue;
        }
        if let Some(why) = api.0.resolver.unsupported(&image).await {
            causes.push(Cause::invalid(field, why));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let kind = object.known_kind().map_err(|e| Refusal::bad_request(e.to_string()))?;
    Err(Refusal::invalid(kind, object.name(), causes))
}

/// Whether the service of an App that names its image in this field may have no pods.
fn sleeps(object: &Object, field: &str) -> bool {
    let service = field.strip_prefix("spec.services.").and_then(|rest| rest.strip_suffix(".image"));
    service.is_some_and(|service| object.kind() == "App" && object.spec()["services"][service]["scale"]["min"] == 0)
}

/// The images that an object names, by their fields.
fn images(object: &Object) -> BTreeMap<String, String> {
    let image = |field: String, holder: &Value| Some((field, holder["image"].as_str()?.to_owned()));
    let containers = |at: &str, spec: &Value| {
        let all = spec["containers"].as_array().into_iter().flatten().enumerate();
        all.filter_map(|(i, container)| image(format!("{at}.containers[{i}].image"), container)).collect()
    };
    match object.kind() {
        "App" => {
            let services = object.spec()["services"].as_object().into_iter().flatten();
            services.filter_map(|(name, service)| image(format!("spec.services.{name}.image"), service)).collect()
        }
        "CronJob" => {
            let template = &object.spec()["jobTemplate"]["spec"]["template"];
            containers("spec.jobTemplate.spec.template.spec", &template["spec"])
        }
        "Deployment" | "ReplicaSet" | "Job" => containers("spec.template.spec", &object.spec()["template"]["spec"]),
        "Pod" => containers("spec", object.spec()),
        _ => BTreeMap::new(),
    }
}
