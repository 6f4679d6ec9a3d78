//! `/openapi/v2`, for clients that look there for what the newer document does not tell: which kinds can be patched, and that their
//! fields are checked here. It defines no types; who finds none leaves the check to the server.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::kinds::{KINDS, Kind};

use super::super::discovery;

/// What kubectl asks for.
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What it is answered, since a media type holds no `@`.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PARAMETERS: [&str; 4] = ["dryRun", "fieldManager", "fieldValidation", "force"];

/// The document, as protobuf where that is asked for.
pub(in crate::api) fn answer(headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.split(',').any(|form| form.split(';').next().is_some_and(|form| [ASKED, PROTOBUF].contains(&form.trim()))) {
        ([(header::CONTENT_TYPE, PROTOBUF)], protobuf()).into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], json().to_string()).into_response()
    }
}

fn patched() -> impl Iterator<Item = (String, &'static Kind)> {
    KINDS.iter().copied().filter(|kind| discovery::verbs(kind).contains(&"patch")).map(|kind| {
        let root = if kind.group.is_empty() { "/api" } else { "/apis" };
        let namespace = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        (format!("{root}/{}{namespace}/{}/{{name}}", kind.api_version(), kind.plural), kind)
    })
}

fn title() -> String {
    discovery::version()["gitVersion"].as_str().unwrap_or_default().to_owned()
}

fn json() -> Value {
    let parameter = |name: &&str| json!({ "name": name, "in": "query", "type": "string", "uniqueItems": true });
    let patch = |kind: &Kind| {
        json!({
            "operationId": format!("patch{}{}", kind.group, kind.kind), "parameters": PARAMETERS.iter().map(parameter).collect::<Vec<_>>(),
            "responses": { "200": { "description": "OK" } }, "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": { "group": kind.group, "version": kind.version, "kind": kind.kind },
        })
    };
    let paths: serde_json::Map<_, _> = patched().map(|(path, kind)| (path, json!({ "patch": patch(kind) }))).collect();
    json!({ "swagger": "2.0", "info": { "title": "wctl", "version": title() }, "paths": paths, "definitions": {} })
}

/// The same as `openapi.v2.Document` of gnostic; the numbers are those of its messages' fields.
fn protobuf() -> Vec<u8> {
    let parameter = |name: &&str| {
        let query = [field(2, b"query"), field(4, name.as_bytes()), field(6, b"string")].concat();
        // Of the kinds of parameters, one that is no body and stands in the query.
        field(8, &field(1, &field(2, &field(3, &query))))
    };
    let paths = patched().map(|(path, kind)| {
        let gvk = format!("group: {:?}\nversion: {}\nkind: {}\n", kind.group, kind.version, kind.kind);
        let gvk = [field(1, b"x-kubernetes-group-version-kind"), field(2, &field(2, gvk.as_bytes()))].concat();
        let parameters = PARAMETERS.iter().map(parameter).collect::<Vec<_>>().concat();
        let operation = [parameters, field(9, &[]), field(13, &gvk)].concat();
        let item = field(7, &operation);
        field(2, &[field(1, path.as_bytes()), field(2, &item)].concat())
    });
    let paths = paths.collect::<Vec<_>>().concat();
    let info = [field(1, b"wctl"), field(2, title().as_bytes())].concat();
    [field(1, b"2.0"), field(2, &info), field(8, &paths), field(9, &[])].concat()
}

/// A field that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_kinds_that_can_be_patched() {
        let json = json();
        let patch = &json["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
        assert!(json["paths"].get("/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}").is_none());
        let bytes = protobuf();
        let named = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(json["paths"].as_object().unwrap().keys().all(|path| named(path)));
        assert!(named("group: \"apps\"\nversion: v1\nkind: Deployment\n") && named("fieldValidation"));
    }
}
