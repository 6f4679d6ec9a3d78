//! What is different between two versions of a Kubernetes object, a line for each field.

use serde_json::{Map, Value};

/// Longest value in a line.
const LONGEST: usize = 80;
/// Of metadata, what its author writes.
const WRITTEN: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// The fields that differ: `spec.replicas: 2 → 3`, `+ metadata.labels.tier: "front"`, `- spec.paused: true`. Status and what the server
/// writes are left out; of a Secret no values are shown.
pub fn difference(old: &Value, new: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let secret = new["kind"] == "Secret" || old["kind"] == "Secret";
    let (old, new) = (written(old), written(new));
    compare("", &Value::Object(old), &Value::Object(new), secret, &mut lines);
    lines
}

fn written(object: &Value) -> Map<String, Value> {
    let mut map = object.as_object().cloned().unwrap_or_default();
    map.remove("status");
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| WRITTEN.contains(&field.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| name != crate::names::REVISION && name != crate::names::LAST_APPLIED);
        }
        metadata.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
    }
    map
}

fn compare(at: &str, old: &Value, new: &Value, secret: bool, lines: &mut Vec<String>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(before), Value::Object(after)) => {
            let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                one(&path, before.get(key), after.get(key), secret, lines);
            }
        }
        (Value::Array(before), Value::Array(after)) => match named(before).zip(named(after)) {
            Some((old_names, new_names)) => {
                let names: std::collections::BTreeSet<&str> = old_names.iter().chain(&new_names).copied().collect();
                for name in names {
                    let find = |names: &[&str], items: &[Value]| names.iter().position(|other| *other == name).map(|at| items[at].clone());
                    let (old, new) = (find(&old_names, before), find(&new_names, after));
                    one(&format!("{at}[{name}]"), old.as_ref(), new.as_ref(), secret, lines);
                }
            }
            None => lines.push(format!("{at}: {} → {}", shown(old, at, secret), shown(new, at, secret))),
        },
        _ => lines.push(format!("{at}: {} → {}", shown(old, at, secret), shown(new, at, secret))),
    }
}

fn one(path: &str, old: Option<&Value>, new: Option<&Value>, secret: bool, lines: &mut Vec<String>) {
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, secret, lines),
        (None, Some(new)) => lines.push(format!("+ {path}: {}", shown(new, path, secret))),
        (Some(old), None) => lines.push(format!("- {path}: {}", shown(old, path, secret))),
        (None, None) => {}
    }
}

/// The names of a list's items, where each has one of its own.
fn named(items: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = items.iter().map(|item| item["name"].as_str()).collect::<Option<_>>()?;
    let distinct = names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len();
    distinct.then_some(names)
}

fn shown(value: &Value, at: &str, secret: bool) -> String {
    if secret && (at.starts_with("data") || at.starts_with("stringData")) {
        return "(hidden)".to_owned();
    }
    let text = value.to_string();
    if text.chars().count() <= LONGEST { text } else { format!("{}…", text.chars().take(LONGEST).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_has_a_line() {
        let old = json!({
            "kind": "Deployment", "metadata": { "name": "web", "uid": "u", "labels": { "a": "1" } }, "status": { "replicas": 1 },
            "spec": { "replicas": 2, "paused": true, "c": [{ "name": "x", "image": "x:1" }, { "name": "y" }], "args": ["a"] },
        });
        let new = json!({
            "kind": "Deployment", "metadata": { "name": "web", "labels": { "a": "1", "b": "2" } },
            "spec": { "replicas": 3, "c": [{ "name": "x", "image": "x:2" }], "args": ["b"] },
        });
        let wanted = [
            "+ metadata.labels.b: \"2\"",
            "spec.args: [\"a\"] → [\"b\"]",
            "spec.c[x].image: \"x:1\" → \"x:2\"",
            "- spec.c[y]: {\"name\":\"y\"}",
            "- spec.paused: true",
            "spec.replicas: 2 → 3",
        ];
        assert_eq!(difference(&old, &new), wanted);
        assert!(difference(&old, &old).is_empty());
    }

    #[test]
    fn no_value_of_a_secret_is_shown() {
        let secret = |value: &str| json!({ "kind": "Secret", "data": { "KEY": value } });
        assert_eq!(difference(&secret("YQ=="), &secret("Yg==")), ["data.KEY: (hidden) → (hidden)"]);
        assert_eq!(difference(&Value::Null, &secret("YQ==")), ["+ data: (hidden)", "+ kind: \"Secret\""]);
    }
}
