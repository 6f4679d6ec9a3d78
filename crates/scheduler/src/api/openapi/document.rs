//! One document: the schemas that a group and version needs, with what is known beyond them, and its paths.

use serde_json::{Map, Value, json};

use crate::kinds::{KINDS, Kind};

use super::super::lists::{self, Sharing};
use super::{KUBERNETES, own, paths};

const SCHEMAS: &str = "#/components/schemas/";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const GVK: &str = "x-kubernetes-group-version-kind";

/// The document of `api/v1` or `apis/GROUP/VERSION`.
pub(super) fn of(place: &str) -> Result<Value, String> {
    let (group, version) = match place.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return Err(format!("{place} is no group and version")),
    };
    let kinds: Vec<&Kind> = KINDS.iter().copied().filter(|kind| kind.group == group && kind.version == version).collect();
    let mut known: Map<String, Value> = serde_json::from_str(KUBERNETES).map_err(|e| e.to_string())?;
    known.extend(own::all());
    for kind in &kinds {
        let name = schema_of(&known, kind).ok_or_else(|| format!("{} has no schema", kind.kind))?;
        known.insert(format!("{name}List"), list_of(kind, &name));
        known[&name][GVK] = json!([gvk(kind)]);
    }
    let names: Vec<String> = known.keys().cloned().collect();
    let named = |title: &str| names.iter().filter(|name| name.ends_with(title)).cloned().collect::<Vec<_>>();
    let mut wanted: Vec<String> =
        kinds.iter().filter_map(|kind| schema_of(&known, kind)).flat_map(|name| [format!("{name}List"), name]).collect();
    for (kind, _) in own::asked(&group) {
        let names = named(&format!(".{kind}"));
        names.iter().for_each(|name| known[name][GVK] = json!([{ "group": group, "version": "v1", "kind": kind }]));
        wanted.extend(names);
    }
    wanted.extend(named(".meta.v1.DeleteOptions"));
    wanted.extend(named(".meta.v1.Status"));
    let mut paths = paths::of(&kinds, |kind| schema_of(&known, kind).unwrap_or_default());
    paths.extend(paths::of_asked(&group, |kind| named(&format!(".{kind}")).pop().unwrap_or_default()));
    let schemas = closure(&known, wanted);
    Ok(json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes API of wctl", "version": super::super::discovery::version()["gitVersion"] },
        "paths": paths,
        "components": { "schemas": schemas },
    }))
}

/// As documents name a kind.
pub(super) fn gvk(kind: &Kind) -> Value {
    json!({ "group": kind.group, "version": kind.version, "kind": kind.kind })
}

/// The definition of a kind: `io.k8s.api.apps.v1.Deployment`.
fn schema_of(known: &Map<String, Value>, kind: &Kind) -> Option<String> {
    let group = match kind.group {
        "" => "core",
        // Kubernetes' own groups are named by their first word there.
        group => group.split('.').next().unwrap_or(group),
    };
    let (kubernetes, ours) =
        (format!("io.k8s.api.{group}.{}.{}", kind.version, kind.kind), format!("dev.wctl.{}.{}", kind.version, kind.kind));
    [kubernetes, ours].into_iter().find(|name| known.contains_key(name))
}

fn list_of(kind: &Kind, name: &str) -> Value {
    let text = json!({ "type": "string" });
    json!({
        "description": format!("{}List is a list of {}.", kind.kind, kind.plural), "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": text, "kind": text, "items": { "type": "array", "items": { "$ref": format!("{SCHEMAS}{name}") } },
            "metadata": { "$ref": format!("{SCHEMAS}{LIST_META}") },
        },
        GVK: [{ "group": kind.group, "version": kind.version, "kind": format!("{}List", kind.kind) }],
    })
}

/// The definitions that are wanted and all that these name, each with how it merges.
fn closure(known: &Map<String, Value>, mut wanted: Vec<String>) -> Map<String, Value> {
    let mut out = Map::new();
    while let Some(name) = wanted.pop() {
        if out.contains_key(&name) {
            continue;
        }
        let Some(schema) = known.get(&name) else { continue };
        referenced(schema, &mut wanted);
        let mut schema = schema.clone();
        merging(name.rsplit('.').next().unwrap_or_default(), &mut schema);
        out.insert(name, schema);
    }
    out
}

fn referenced(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(SCHEMAS)).map(str::to_owned));
            map.values().for_each(|value| referenced(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| referenced(item, found)),
        _ => {}
    }
}

/// Writes to a type's fields how they merge.
fn merging(of: &str, schema: &mut Value) {
    let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (field, value) in fields {
        let is_list = value["type"] == "array";
        let Some(row) = lists::row(of, field) else {
            if is_list {
                value["x-kubernetes-list-type"] = json!("atomic");
            }
            continue;
        };
        match row.sharing {
            Sharing::Keys(keys) => {
                value["x-kubernetes-list-type"] = json!("map");
                value["x-kubernetes-list-map-keys"] = json!(keys);
            }
            Sharing::Values => value["x-kubernetes-list-type"] = json!("set"),
            Sharing::Whole if is_list => value["x-kubernetes-list-type"] = json!("atomic"),
            Sharing::Whole => value["x-kubernetes-map-type"] = json!("atomic"),
            Sharing::Fields => {}
        }
        if let Some(key) = row.merge_key {
            value["x-kubernetes-patch-merge-key"] = json!(key);
        }
        if !row.strategy.is_empty() {
            value["x-kubernetes-patch-strategy"] = json!(row.strategy);
        }
    }
}
