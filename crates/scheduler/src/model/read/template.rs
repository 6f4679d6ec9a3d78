//! Pod templates in one form, so that two which mean the same are the same text.

use serde_json::Value;

use super::canonical;
use crate::names;

/// A template in one form, however it came: without the label that only tells ReplicaSets apart, and without what says nothing. Clients
/// that read a template into types of their own leave such fields out, or put them in (`resources: {}`).
pub fn template_text(value: &Value) -> String {
    let mut plain = value.clone();
    if let Some(labels) = plain.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(names::TEMPLATE_HASH);
    }
    if let Some(spec) = plain.get_mut("spec") {
        drop_unsaid(spec);
    }
    canonical(&plain)
}

/// A stored template in that form.
pub(super) fn typed_text(text: &str) -> String {
    serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value| template_text(&value))
}

/// Removes what a Go client leaves out when it writes: nothing, `false`, 0 and what is empty. The defaults are filled in by now, so
/// none of these means anything else than its absence; in maps of strings it does.
fn drop_unsaid(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut().filter(|(key, _)| !matches!(key.as_str(), "nodeSelector" | "matchLabels")) {
                if key != "emptyDir" {
                    drop_unsaid(value);
                }
            }
            map.retain(|key, value| key == "emptyDir" || key == "terminationGracePeriodSeconds" || !is_unsaid(value));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_unsaid),
        _ => {}
    }
}

fn is_unsaid(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
