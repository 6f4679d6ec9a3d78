//! What may be done with each kind, as clients look for it before they send a patch or a parameter.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;

use super::super::discovery;
use super::document::gvk;
use super::own;

const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const REFERENCE: &str = "#/components/schemas/";

/// The paths of these kinds; `schema` names a kind's definition.
pub(super) fn of(kinds: &[&Kind], schema: impl Fn(&Kind) -> String) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in kinds {
        let root = if kind.group.is_empty() { format!("/api/{}", kind.version) } else { format!("/apis/{}/{}", kind.group, kind.version) };
        let all =
            if kind.namespaced { format!("{root}/namespaces/{{namespace}}/{}", kind.plural) } else { format!("{root}/{}", kind.plural) };
        let name = schema(kind);
        if kind.namespaced {
            paths.insert(format!("{root}/{}", kind.plural), json!({ "get": operation(kind, "list", &format!("{name}List"), &name) }));
        }
        paths.insert(all.clone(), many(kind, &name));
        paths.insert(format!("{all}/{{name}}"), one(kind, &name));
    }
    paths
}

/// The paths of reviews: made and answered, never kept.
pub(super) fn of_asked(group: &str, schema: impl Fn(&str) -> String) -> Map<String, Value> {
    let path = |(kind, plural): &(&str, &str)| {
        let reference = json!({ "application/json": { "schema": { "$ref": format!("{REFERENCE}{}", schema(kind)) } } });
        let parameters = ["dryRun", "fieldManager", "fieldValidation"]
            .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string" } }));
        let post = json!({
            "operationId": format!("create{kind}"), "parameters": parameters, "requestBody": { "required": true, "content": reference },
            "responses": { "201": { "description": "Created", "content": reference } }, "x-kubernetes-action": "post",
            "x-kubernetes-group-version-kind": { "group": group, "version": "v1", "kind": kind },
        });
        (format!("/apis/{group}/v1/{plural}"), json!({ "post": post }))
    };
    own::asked(group).iter().map(path).collect()
}

fn many(kind: &Kind, name: &str) -> Value {
    let mut path = Map::new();
    path.insert("get".to_owned(), operation(kind, "list", &format!("{name}List"), name));
    if discovery::verbs(kind).contains(&"create") {
        path.insert("post".to_owned(), operation(kind, "post", name, name));
        path.insert("delete".to_owned(), operation(kind, "deletecollection", "io.k8s.apimachinery.pkg.apis.meta.v1.Status", name));
    }
    parameters(path, kind.namespaced, false)
}

fn one(kind: &Kind, name: &str) -> Value {
    let mut path = Map::new();
    path.insert("get".to_owned(), operation(kind, "get", name, name));
    let verbs = discovery::verbs(kind);
    for (method, action, verb) in [("put", "put", "update"), ("patch", "patch", "patch"), ("delete", "delete", "delete")] {
        // kubectl looks at the patch whether the server validates fields; without one it gives up with words of its own, before the
        // server can say why there are no such objects.
        if verbs.contains(&verb) || (verb == "patch" && kind.is_read_only()) {
            let answers = if method == "delete" { "io.k8s.apimachinery.pkg.apis.meta.v1.Status" } else { name };
            path.insert(method.to_owned(), operation(kind, action, answers, name));
        }
    }
    parameters(path, kind.namespaced, true)
}

/// The path with the parameters that its placeholders stand for.
fn parameters(mut path: Map<String, Value>, namespaced: bool, named: bool) -> Value {
    let holder = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    let holders: Vec<Value> =
        [(named, "name"), (namespaced, "namespace")].iter().filter(|(there, _)| *there).map(|(_, name)| holder(name)).collect();
    path.insert("parameters".to_owned(), json!(holders));
    Value::Object(path)
}

fn operation(kind: &Kind, action: &str, answers: &str, takes: &str) -> Value {
    let text =
        |name: &&str| json!({ "name": name, "in": "query", "schema": { "type": if *name == "force" { "boolean" } else { "string" } } });
    let parameters: &[&str] = match action {
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force", "pretty"],
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation", "pretty"],
        "delete" => &["dryRun", "gracePeriodSeconds", "propagationPolicy", "pretty"],
        "list" | "deletecollection" => {
            &["allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "watch", "pretty"]
        }
        _ => &["pretty"],
    };
    let reference = |name: &str| json!({ "schema": { "$ref": format!("{REFERENCE}{name}") } });
    let mut operation = json!({
        "operationId": format!("{action}{}{}", if kind.namespaced { "Namespaced" } else { "" }, kind.kind),
        "parameters": parameters.iter().map(text).collect::<Vec<_>>(),
        "responses": { "200": { "description": "OK", "content": { "application/json": reference(answers) } } },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(kind),
    });
    let body = |types: &[&str], content: Value| types.iter().map(|name| ((*name).to_owned(), content.clone())).collect::<Map<_, _>>();
    match action {
        "post" | "put" => operation["requestBody"] = json!({ "required": true, "content": body(&["application/json"], reference(takes)) }),
        "patch" => {
            // What has no type in Kubernetes has no rules for a strategic merge either.
            let forms = if own::is_ours(kind) { &PATCHES[..3] } else { &PATCHES };
            operation["requestBody"] = json!({ "required": true, "content": body(forms, json!({ "schema": { "type": "object" } })) });
        }
        _ => {}
    }
    operation
}
