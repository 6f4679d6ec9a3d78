//! Past this edge nobody handles a tag: what a Pod, ReplicaSet, Job or CronJob written by hand calls by tag is looked up when it is made.

use std::time::Duration;

use serde_json::json;

use crate::names;
use crate::objects::Object;

use super::status::{Cause, Result};
use super::{Api, admit};

/// How long a registry may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which exact image a tag means is for the registry to say, not for whoever writes the annotation.
fn forget_exact(object: &mut Object) {
    if let Some(annotations) = object.metadata_mut().get_mut("annotations").and_then(serde_json::Value::as_object_mut) {
        annotations.remove(names::EXACT_IMAGE);
    }
}

/// A ReplicaSet whose image somebody changed forgets the exact image that it had, and the new one is looked up.
pub(super) async fn pin_again(api: &Api, object: &mut Object, old: &Object) -> Result<()> {
    let image = |object: &Object| object.0.pointer("/spec/template/spec/containers/0/image").cloned();
    if object.kind() != "ReplicaSet" {
        return Ok(());
    }
    forget_exact(object);
    if image(object) == image(old) {
        if let Some(exact) = old.annotation(names::EXACT_IMAGE) {
            object.set_annotation(names::EXACT_IMAGE, exact);
        }
        return Ok(());
    }
    if let Some(annotations) = object.0.pointer_mut("/spec/template/metadata/annotations").and_then(serde_json::Value::as_object_mut) {
        annotations.remove(names::TYPED_IMAGE);
    }
    pin(api, object).await
}

/// Replaces the image by its digest, and keeps what was typed in an annotation. A Deployment keeps its image as typed.
pub(super) async fn pin(api: &Api, object: &mut Object) -> Result<()> {
    if object.kind() == "ReplicaSet" {
        forget_exact(object);
    }
    let at = match object.kind() {
        "Pod" => "",
        "ReplicaSet" | "Job" => "/spec/template",
        "CronJob" => "/spec/jobTemplate/spec/template",
        _ => return Ok(()),
    };
    let pointer = format!("{at}/spec/containers/0/image");
    let Some(typed) = object.0.pointer(&pointer).and_then(|v| v.as_str()).map(str::to_owned) else { return Ok(()) };
    if typed.contains('@') {
        return Ok(());
    }
    let field = format!("{at}/spec/containers[0]/image").trim_start_matches('/').replace('/', ".");
    let found = tokio::time::timeout(PATIENCE, api.0.resolver.resolve(&typed)).await;
    let found = found.unwrap_or_else(|_| Err(format!("the registry did not say within {} s what {typed} is", PATIENCE.as_secs())));
    let exact = found.map_err(|why| admit::wrong(object, Cause::invalid(field, why)))?;
    if let Some(image) = object.0.pointer_mut(&pointer) {
        *image = json!(exact);
    }
    if let Some(template) = object.0.pointer_mut(at) {
        template["metadata"]["annotations"][names::TYPED_IMAGE] = json!(typed);
    }
    Ok(())
}
