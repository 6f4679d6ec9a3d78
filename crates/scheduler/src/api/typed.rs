//! A Deployment whose template comes from one of its ReplicaSets, as `kubectl rollout undo` sends it, gets it as it was typed.
//!
//! A ReplicaSet holds digests and carries the typed template as an annotation; what a client copies from there into the Deployment
//! would show as a new template, with an image that nobody wrote.

use serde_json::Value;

use crate::kinds::{DEPLOYMENT, Kind, REPLICA_SET};
use crate::model::template_text;
use crate::names;
use crate::objects::Object;

use super::status::Result;
use super::{Api, reply};

/// Puts the typed template in the place of the exact one.
pub(super) async fn restore(api: &Api, kind: &Kind, object: &mut Object, old: &Object) -> Result<()> {
    if kind != &DEPLOYMENT {
        return Ok(());
    }
    for ours in [names::TYPED_TEMPLATE, names::TYPED_IMAGE, names::EXACT_IMAGE] {
        if let Some(annotations) = object.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(ours);
        }
    }
    let template = &object.spec()["template"];
    if template["metadata"]["annotations"].get(names::TYPED_IMAGE).is_none() || *template == old.spec()["template"] {
        return Ok(());
    }
    let wanted = template_text(template);
    let sets = api.0.objects.list(&REPLICA_SET, Some(old.namespace()), 0, None).await;
    let sets = sets.map_err(|e| reply::refusal(&REPLICA_SET, "", e))?.items;
    let mut own = sets.iter().filter(|set| set.controller_uid() == Some(old.uid()));
    let found = own.find(|set| template_text(&set.spec()["template"]) == wanted);
    let typed = found.and_then(|set| serde_json::from_str::<Value>(set.annotation(names::TYPED_TEMPLATE)?).ok());
    if let Some(typed) = typed {
        object.0["spec"]["template"] = typed;
    }
    Ok(())
}
