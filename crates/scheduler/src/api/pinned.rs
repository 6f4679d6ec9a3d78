//! Past this edge nobody handles a tag: what a Pod or ReplicaSet written by hand calls by tag is looked up when it is made.

use std::time::Duration;

use serde_json::json;

use crate::names;
use crate::objects::Object;

use super::status::{Cause, Result};
use super::{Api, admit};

/// How long a registry may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Replaces the image by its digest, and keeps what was typed in an annotation. A Deployment keeps its image as typed.
pub(super) async fn pin(api: &Api, object: &mut Object) -> Result<()> {
    let at = match object.kind() {
        "Pod" => "",
        "ReplicaSet" => "/spec/template",
        _ => return Ok(()),
    };
    let pointer = format!("{at}/spec/containers/0/image");
    let Some(typed) = object.0.pointer(&pointer).and_then(|v| v.as_str()).map(str::to_owned) else { return Ok(()) };
    if typed.contains('@') {
        return Ok(());
    }
    let field = format!("{}spec.containers[0].image", if at.is_empty() { "" } else { "spec.template." });
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
