//! An app file to the Kubernetes manifests that its App stands for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Converted, Unfit, yaml};
use crate::app::{AppFile, Locked, Origin, app_object, expand};
use crate::names;

/// A digest for the time between: each image is written as it was typed in the end.
const NO_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// The Deployments, Services and Ingresses of an app, owned by nobody, with images as they were typed.
///
/// # Errors
/// When the app cannot be expanded.
pub fn manifests(app: AppFile) -> Result<Converted, Unfit> {
    let (name, namespace) = (app.name.clone(), app.namespace.clone());
    let mut notes = Vec::new();
    let mut typed = BTreeMap::new();
    for (service, file) in &app.services {
        let image = match &file.origin {
            Origin::Reference(image) => image.clone(),
            other => {
                let image = format!("{name}/{service}:latest");
                notes.push(format!("{service}: push {} as {image} first: `wctl build`, then `wctl push FILE.wasm {image}`", other.typed()));
                image
            }
        };
        typed.insert(crate::app::object_name(&name, service), image);
    }
    if app.services.values().any(|service| !service.settings.uses.secrets.is_empty()) {
        notes.push(format!("secrets are keys of the Secret {}; `wctl secret set NAME` keeps them there", names::SECRETS));
    }
    if app.services.values().any(|service| !service.settings.uses.call.is_empty() || !service.settings.uses.volumes.is_empty()) {
        notes.push("`uses.call` and `uses.volumes` belong to an App: deploy the app file itself where a service needs them".to_owned());
    }
    notes.push(
        "a rollout of plain Deployments is not taken back by itself when it fails, and routes are not claimed for the app".to_owned(),
    );
    let images =
        app.services.keys().map(|service| (service.clone(), Locked { image: format!("x@{NO_DIGEST}"), typed: String::new() })).collect();
    let spec = app.lock(images).map_err(|error| Unfit(error.to_string()))?;
    let mut object = app_object(&spec, &name, namespace.as_deref().unwrap_or(names::DEFAULT_NAMESPACE));
    object["metadata"]["uid"] = json!("none");
    let objects = expand(&object).map_err(|error| Unfit(error.to_string()))?;
    let mut text = String::new();
    for (at, mut object) in objects.into_iter().enumerate() {
        free(&mut object, namespace.is_none(), &typed);
        text.push_str(if at == 0 { "" } else { "---\n" });
        text.push_str(&yaml(&object)?);
    }
    Ok(Converted { text, notes })
}

/// Takes away what only an App's object has.
fn free(object: &mut Value, anywhere: bool, typed: &BTreeMap<String, String>) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("ownerReferences");
        if anywhere {
            metadata.remove("namespace");
        }
    }
    if let Some(image) = object.pointer_mut("/spec/template/spec/containers/0/image") {
        *image = json!(typed.get(&name));
    }
    if let Some(annotations) = object.pointer_mut("/spec/template/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(names::TYPED_IMAGE);
    }
}
