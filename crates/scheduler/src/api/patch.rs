//! Changes to an object that a client sends instead of the whole object.

use http::HeaderMap;
use json_patch::PatchOperation;
use serde_json::Value;

use crate::kinds::Kind;

use super::body::MOST_BYTES;
use super::lists;
use super::status::{Refusal, Result};

mod strategic;

/// Most operations that one JSON patch may hold, as in Kubernetes.
const MOST_OPERATIONS: usize = 10_000;
/// Most of them that may copy: copies of copies grow without the patch growing.
const MOST_COPIES: usize = 100;
/// Deepest place that an operation may name.
const DEEPEST: usize = 64;

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// RFC 7396: `application/merge-patch+json`.
    Merge,
    /// RFC 6902: `application/json-patch+json`.
    Json,
    /// Kubernetes' own: `application/strategic-merge-patch+json`.
    Strategic,
    /// Server-side apply: `application/apply-patch+yaml`.
    Apply,
}

impl Form {
    /// The form that the content type names; the others are refused with what to use instead.
    pub fn of(headers: &HeaderMap) -> Result<Form> {
        let given = headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        match given.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" => Ok(Form::Merge),
            "application/json-patch+json" => Ok(Form::Json),
            "application/strategic-merge-patch+json" => Ok(Form::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Form::Apply),
            other => Err(Refusal::media_type(format!(
                "a patch of type {other:?} is not supported; send application/strategic-merge-patch+json, application/merge-patch+json, \
                 application/json-patch+json or application/apply-patch+yaml"
            ))),
        }
    }
}

/// An object of a kind, or the Scale of one, with the patch applied. What is applied server-side goes another way.
pub fn apply(form: Form, kind: &Kind, object: &Value, patch: &[u8]) -> Result<Value> {
    let mut object = object.clone();
    match form {
        Form::Merge => {
            let patch = whole(patch)?;
            json_patch::merge(&mut object, &patch);
        }
        Form::Strategic => object = strategic::merge(lists::root(kind), &object, &whole(patch)?)?,
        Form::Apply => return Err(Refusal::media_type("nothing can be applied here; send application/merge-patch+json")),
        Form::Json => {
            let patch: json_patch::Patch = serde_json::from_slice(patch).map_err(|e| unreadable(&e))?;
            bounded(&patch)?;
            for operation in &patch.0 {
                let done = json_patch::patch(&mut object, std::slice::from_ref(operation));
                done.map_err(|e| Refusal::new(422, "Invalid", format!("the patch does not fit the object: {e}")))?;
                if matches!(operation, PatchOperation::Copy(_)) && (is_deeper(&object, DEEPEST) || object.to_string().len() > MOST_BYTES) {
                    return Err(Refusal::too_large(MOST_BYTES));
                }
            }
        }
    }
    if object.is_object() { Ok(object) } else { Err(Refusal::bad_request("the patch leaves no object")) }
}

fn bounded(patch: &json_patch::Patch) -> Result<()> {
    let copies = patch.0.iter().filter(|operation| matches!(operation, PatchOperation::Copy(_))).count();
    if patch.0.len() > MOST_OPERATIONS || copies > MOST_COPIES {
        let message =
            format!("a JSON patch may hold {MOST_OPERATIONS} operations and {MOST_COPIES} copies, not {} and {copies}", patch.0.len());
        return Err(Refusal::new(413, "RequestEntityTooLarge", message));
    }
    if patch.0.iter().any(|operation| operation.path().count() > DEEPEST) {
        return Err(Refusal::bad_request(format!("an operation names a place that is more than {DEEPEST} levels deep")));
    }
    Ok(())
}

/// Whether a value has more than `levels` levels. Looks no deeper than that.
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|item| is_deeper(item, levels - 1)),
        _ => false,
    }
}

/// What a client applies: an object in YAML, of which JSON is a part.
pub fn config(body: &[u8]) -> Result<Value> {
    let value = serde_json::from_slice(body).or_else(|_| crate::app::json_of_yaml(body)).map_err(Refusal::bad_request)?;
    if is_deeper(&value, DEEPEST) {
        return Err(Refusal::bad_request(format!("the object has more than {DEEPEST} levels")));
    }
    if value.is_object() { Ok(value) } else { Err(Refusal::bad_request("what is applied must be an object")) }
}

/// A patch that is written as the object that it changes.
fn whole(patch: &[u8]) -> Result<Value> {
    let patch: Value = serde_json::from_slice(patch).map_err(|e| unreadable(&e))?;
    if is_deeper(&patch, DEEPEST) {
        return Err(Refusal::bad_request(format!("the patch has more than {DEEPEST} levels")));
    }
    if patch.is_object() { Ok(patch) } else { Err(Refusal::bad_request("a merge patch must be a JSON object")) }
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    Refusal::bad_request(format!("the patch cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::POD;

    #[test]
    fn a_merge_patch_sets_and_removes() {
        let object = json!({ "spec": { "replicas": 1, "paused": true }, "unknown": [1] });
        let patched = apply(Form::Merge, &POD, &object, br#"{"spec":{"replicas":3,"paused":null}}"#).unwrap();
        assert_eq!(patched, json!({ "spec": { "replicas": 3 }, "unknown": [1] }));
        for bad in [&b"[1]"[..], b"3", b"{", b""] {
            assert_eq!(apply(Form::Merge, &POD, &object, bad).unwrap_err().code, 400);
        }
    }

    #[test]
    fn a_json_patch_is_done_whole_or_refused() {
        let object = json!({ "a": 1 });
        let patched =
            apply(Form::Json, &POD, &object, br#"[{"op":"test","path":"/a","value":1},{"op":"add","path":"/b","value":2}]"#).unwrap();
        assert_eq!(patched, json!({ "a": 1, "b": 2 }));
        assert_eq!(apply(Form::Json, &POD, &object, br#"[{"op":"test","path":"/a","value":2}]"#).unwrap_err().code, 422);
        assert_eq!(apply(Form::Json, &POD, &object, br#"[{"op":"replace","path":"","value":7}]"#).unwrap_err().code, 400);
    }

    #[test]
    fn copies_of_copies_are_bounded() {
        let doubling = vec![r#"{"op":"copy","from":"","path":"/a"}"#; 90].join(",");
        let object = json!({ "a": "x".repeat(100_000) });
        assert_eq!(apply(Form::Json, &POD, &object, format!("[{doubling}]").as_bytes()).unwrap_err().code, 413);
        let wide = r#"{"op":"copy","from":"","path":"/b"},{"op":"copy","from":"/b","path":"/c"}"#;
        let wide = vec![wide; 20].join(",");
        assert_eq!(apply(Form::Json, &POD, &object, format!("[{wide}]").as_bytes()).unwrap_err().code, 413);
        let many = vec![r#"{"op":"copy","from":"/a","path":"/b"}"#; 101].join(",");
        assert_eq!(apply(Form::Json, &POD, &json!({ "a": 1 }), format!("[{many}]").as_bytes()).unwrap_err().code, 413);
        let deep = format!(r#"[{{"op":"add","path":"{}","value":1}}]"#, "/a".repeat(65));
        assert_eq!(apply(Form::Json, &POD, &json!({ "a": 1 }), deep.as_bytes()).unwrap_err().code, 400);
    }

    #[test]
    fn other_patches_are_refused_with_what_to_send() {
        for kind in ["application/vnd.kubernetes.protobuf", "application/json", ""] {
            let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind.parse().unwrap())]);
            let refusal = Form::of(&headers).unwrap_err();
            assert_eq!(refusal.code, 415);
            assert!(refusal.message.contains("merge-patch+json"), "{}", refusal.message);
        }
    }
}
