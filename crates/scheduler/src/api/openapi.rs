//! `/openapi/v3`: the schemas of the kinds that are served, and what may be done with each, a document for each group and version.
//!
//! The schemas are Kubernetes' own, written to `openapi/kubernetes.json` by `crates/scheduler/schemas`, and those of our own kinds;
//! [`super::lists`] says how lists merge. Documents are made when they are first asked for and kept compressed: an idle server holds
//! none.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kinds::KINDS;

use super::path::Query;
use super::status::{Refusal, Result};
use super::{discovery, encode};

mod document;
mod own;
mod paths;
mod v2;

pub(super) use v2::answer as answer_v2;

/// One definition a line.
static KUBERNETES: &str = include_str!("openapi/kubernetes.json");

/// The documents that were asked for, compressed, by group and version.
static MADE: Mutex<BTreeMap<String, Bytes>> = Mutex::new(BTreeMap::new());

/// Answers `/openapi/v3`: where each document is, with a hash that changes with any of them.
pub(super) fn index() -> Value {
    let places = discovery::group_versions().into_iter().map(|place| {
        let url = format!("/openapi/v3/{place}?hash={}", hash());
        (place, json!({ "serverRelativeURL": url }))
    });
    json!({ "paths": places.collect::<Map<_, _>>() })
}

/// Answers `/openapi/v3/api/v1` and `/openapi/v3/apis/GROUP/VERSION`.
pub(super) fn answer(place: &str, headers: &HeaderMap, query: &Query) -> Result<Response> {
    if !discovery::group_versions().iter().any(|known| known == place) {
        return Err(Refusal::no_such_path());
    }
    let packed = packed(place)?;
    let mut response = if encode::takes_gzip(headers) {
        ([(header::CONTENT_ENCODING, "gzip")], packed).into_response()
    } else {
        encode::unpack(&packed).map_err(|e| Refusal::internal(format!("unpacking a schema: {e}")))?.into_response()
    };
    *response.status_mut() = StatusCode::OK;
    let head = response.headers_mut();
    head.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    head.insert(header::VARY, http::HeaderValue::from_static("Accept-Encoding"));
    if let Ok(tag) = http::HeaderValue::from_str(&format!("\"{}\"", hash())) {
        head.insert(header::ETAG, tag);
    }
    // Under its own hash a document never changes.
    if query.get("hash") == Some(hash()) {
        head.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("public, immutable, max-age=31536000"));
    }
    Ok(response)
}

/// Of all that documents are made from.
fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let mut hash = Sha256::new();
        hash.update(KUBERNETES);
        hash.update(env!("CARGO_PKG_VERSION"));
        KINDS.iter().for_each(|kind| hash.update(format!("{kind:?}")));
        super::lists::ROWS.iter().for_each(|row| hash.update(format!("{row:?}")));
        own::all().into_iter().for_each(|(_, schema)| hash.update(schema.to_string()));
        hex::encode_upper(&hash.finalize()[..16])
    })
}

fn packed(place: &str) -> Result<Bytes> {
    if let Some(made) = MADE.lock().get(place) {
        return Ok(made.clone());
    }
    let document = document::of(place).map_err(|why| Refusal::internal(format!("making the schema of {place}: {why}")))?;
    let packed: Bytes =
        encode::pack(document.to_string().as_bytes()).map_err(|e| Refusal::internal(format!("packing a schema: {e}")))?.into();
    MADE.lock().insert(place.to_owned(), packed.clone());
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(place: &str) -> Value {
        document::of(place).unwrap()
    }

    /// Every `$ref` of a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn each_document_stands_by_itself() {
        for place in discovery::group_versions() {
            let document = document(&place);
            let mut found = Vec::new();
            references(&document, &mut found);
            for reference in found {
                let name = reference.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{place}: {reference}"));
                assert!(document["components"]["schemas"].get(name).is_some(), "{place} lacks {name}");
            }
        }
    }

    #[test]
    fn each_kind_has_a_schema_and_a_patch_that_names_it() {
        for kind in KINDS {
            let place =
                if kind.group.is_empty() { format!("api/{}", kind.version) } else { format!("apis/{}/{}", kind.group, kind.version) };
            let document = document(&place);
            let gvk = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
            let schemas = document["components"]["schemas"].as_object().unwrap();
            assert!(schemas.values().any(|s| s["x-kubernetes-group-version-kind"][0] == gvk), "{}", kind.kind);
            let paths = document["paths"].as_object().unwrap();
            assert!(paths.values().any(|p| p["get"]["x-kubernetes-group-version-kind"] == gvk), "{}", kind.kind);
        }
    }

    #[test]
    fn lists_say_how_they_merge() {
        let document = document("apis/apps/v1");
        let containers = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(containers["x-kubernetes-list-type"], "map");
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    }
}
