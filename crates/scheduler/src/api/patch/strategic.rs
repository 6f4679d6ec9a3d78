//! Strategic merge: a patch that knows which lists merge, and by which key.
//!
//! As in Kubernetes: `null` removes, objects join, lists of [`lists`](super::super::lists) merge, other lists are replaced.
//! Directives: `$patch: delete | replace | merge`, `$deleteFromPrimitiveList/FIELD`, `$setElementOrder/FIELD`, `$retainKeys`.

use serde_json::{Map, Value};

use crate::api::lists::{self, Row, Sharing};
use crate::api::status::{Refusal, Result};

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// `object`, which is of the type `of`, with the patch applied.
pub(super) fn merge(of: &str, object: &Value, patch: &Value) -> Result<Value> {
    match (object.as_object(), patch.as_object()) {
        (Some(object), Some(patch)) => merge_maps(of, object, patch).map(Value::Object),
        _ => Err(Refusal::bad_request("a strategic merge patch must be a JSON object")),
    }
}

fn refused(what: impl Into<String>) -> Refusal {
    Refusal::bad_request(format!("the strategic merge patch cannot be done: {}", what.into()))
}

/// What `$patch` says, where it is there.
fn directive(patch: &Map<String, Value>) -> Result<Option<&str>> {
    match patch.get(PATCH) {
        None => Ok(None),
        Some(Value::String(word)) if matches!(word.as_str(), "delete" | "replace" | "merge") => Ok(Some(word)),
        Some(other) => Err(refused(format!("$patch is delete, replace or merge, not {other}"))),
    }
}

fn merge_maps(of: &str, object: &Map<String, Value>, patch: &Map<String, Value>) -> Result<Map<String, Value>> {
    match directive(patch)? {
        Some("delete") => return Ok(Map::new()),
        Some("replace") => return plain_map(patch),
        _ => {}
    }
    let mut out = object.clone();
    if let Some(retain) = patch.get(RETAIN) {
        let kept = retain.as_array().ok_or_else(|| refused("$retainKeys is a list of names"))?;
        out.retain(|key, _| kept.iter().any(|kept| kept == key));
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix(DELETE_FROM) {
            let gone = value.as_array().ok_or_else(|| refused(format!("{key} is a list")))?;
            if let Some(list) = out.get_mut(field).and_then(Value::as_array_mut) {
                list.retain(|item| !gone.contains(item));
            }
        }
    }
    for (key, value) in patch.iter().filter(|(key, _)| !is_directive(key)) {
        merge_field(of, key, value, &mut out)?;
    }
    for (key, order) in patch {
        let Some(field) = key.strip_prefix(ORDER) else { continue };
        let order = order.as_array().ok_or_else(|| refused(format!("{key} is a list")))?;
        let key = lists::row(of, field).and_then(|row| row.merge_key);
        let before = object.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if let Some(list) = out.get_mut(field).and_then(Value::as_array_mut) {
            *list = ordered(std::mem::take(list), order, before, key);
        }
    }
    Ok(out)
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN || key.starts_with(DELETE_FROM) || key.starts_with(ORDER)
}

fn merge_field(of: &str, key: &str, value: &Value, out: &mut Map<String, Value>) -> Result<()> {
    let row = lists::row(of, key);
    let holds = row.map_or("", |row| row.holds);
    let merged = match (value, out.get(key)) {
        (Value::Null, _) => {
            out.remove(key);
            return Ok(());
        }
        (Value::Object(patch), Some(Value::Object(there))) => {
            let merged = merge_maps(holds, there, patch)?;
            // What was taken away as a whole leaves no empty object behind.
            if merged.is_empty() && directive(patch)? == Some("delete") {
                out.remove(key);
                return Ok(());
            }
            Value::Object(merged)
        }
        (Value::Object(patch), _) => Value::Object(merge_maps(holds, &Map::new(), patch)?),
        (Value::Array(patch), there) => {
            let there = there.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            Value::Array(merge_lists(row, key, there, patch)?)
        }
        (plain, _) => plain.clone(),
    };
    out.insert(key.to_owned(), merged);
    Ok(())
}

fn merge_lists(row: Option<&Row>, field: &str, there: &[Value], patch: &[Value]) -> Result<Vec<Value>> {
    let row = row.filter(|row| row.merges());
    let replaces = patch.iter().any(|item| item[PATCH] == "replace");
    match row {
        Some(row) if row.sharing == Sharing::Values => {
            let mut out = there.to_vec();
            out.extend(patch.iter().filter(|item| !there.contains(item)).cloned());
            Ok(out)
        }
        Some(row) if !replaces => merge_items(row, field, there, patch),
        _ => patch.iter().filter(|item| item.get(PATCH).is_none()).map(plain).collect(),
    }
}

fn merge_items(row: &Row, field: &str, there: &[Value], patch: &[Value]) -> Result<Vec<Value>> {
    let key = row.merge_key.unwrap_or_default();
    let mut out = there.to_vec();
    for item in patch {
        let map = item.as_object().ok_or_else(|| refused(format!("an item of {field} is {item}, not an object")))?;
        let name = map.get(key).ok_or_else(|| refused(format!("an item of {field} does not name its {key}, by which it is found")))?;
        if directive(map)? == Some("delete") {
            out.retain(|other| other.get(key) != Some(name));
            continue;
        }
        let found = out.iter_mut().find(|other| other.get(key) == Some(name));
        match found {
            Some(Value::Object(old)) => *old = merge_maps(row.holds, old, map)?,
            _ => out.push(Value::Object(merge_maps(row.holds, &Map::new(), map)?)),
        }
    }
    Ok(out)
}

/// The items that `order` names in that order; the others among them, as they stood in the list before.
fn ordered(items: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let name = |item: &Value| key.map_or_else(|| item.clone(), |key| item[key].clone());
    let at = |list: &[Value], item: &Value| list.iter().position(|other| name(other) == name(item));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = items.into_iter().partition(|item| at(order, item).is_some());
    named.sort_by_key(|item| at(order, item));
    others.sort_by_key(|item| at(before, item));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(one), Some(other)) = (named.peek(), others.peek()) {
        let first = at(before, one).is_none_or(|index| at(before, other).is_none_or(|other| index < other));
        out.extend(if first { named.next() } else { others.next() });
    }
    out.extend(named);
    out.extend(others);
    out
}

/// A value of a patch that meets nothing to merge with, without its directives.
fn plain(value: &Value) -> Result<Value> {
    match value {
        Value::Object(map) => plain_map(map).map(Value::Object),
        Value::Array(items) => items.iter().map(plain).collect::<Result<_>>().map(Value::Array),
        other => Ok(other.clone()),
    }
}

fn plain_map(map: &Map<String, Value>) -> Result<Map<String, Value>> {
    directive(map)?;
    let fields = map.iter().filter(|(key, value)| !is_directive(key) && !value.is_null());
    fields.map(|(key, value)| Ok((key.clone(), plain(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod(spec: Value) -> Value {
        json!({ "spec": spec })
    }

    #[test]
    fn containers_merge_by_name_and_other_lists_are_replaced() {
        let object = pod(json!({ "containers": [{ "name": "a", "image": "a:1", "args": ["x"] }, { "name": "b", "image": "b:1" }] }));
        let patch = pod(json!({ "containers": [{ "name": "a", "image": "a:2", "args": ["y"] }, { "name": "c", "image": "c:1" }] }));
        let merged = merge("Pod", &object, &patch).unwrap();
        let wanted =
            json!([{ "name": "a", "image": "a:2", "args": ["y"] }, { "name": "b", "image": "b:1" }, { "name": "c", "image": "c:1" }]);
        assert_eq!(merged["spec"]["containers"], wanted);
    }

    #[test]
    fn directives_delete_replace_and_order() {
        let object = pod(json!({ "containers": [{ "name": "a" }, { "name": "b" }], "nodeSelector": { "x": "1" } }));
        let merged = |patch: Value| merge("Pod", &object, &pod(patch)).unwrap()["spec"].clone();
        let names = |spec: &Value| spec["containers"].as_array().unwrap().iter().map(|c| c["name"].to_string()).collect::<String>();
        assert_eq!(names(&merged(json!({ "containers": [{ "name": "a", "$patch": "delete" }] }))), "\"b\"");
        assert_eq!(names(&merged(json!({ "containers": [{ "$patch": "replace" }, { "name": "z" }] }))), "\"z\"");
        let order = json!({ "$setElementOrder/containers": [{ "name": "c" }, { "name": "b" }], "containers": [{ "name": "c" }] });
        assert_eq!(names(&merged(order)), "\"c\"\"a\"\"b\"");
        assert_eq!(merged(json!({ "nodeSelector": { "$patch": "replace", "y": "2" } }))["nodeSelector"], json!({ "y": "2" }));
        assert!(merged(json!({ "nodeSelector": { "$patch": "delete" } })).get("nodeSelector").is_none());
        assert!(merged(json!({ "nodeSelector": null })).get("nodeSelector").is_none());
    }

    #[test]
    fn a_strategy_keeps_only_the_keys_that_are_to_stay() {
        let object = json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } });
        let patch = json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } });
        assert_eq!(merge("Deployment", &object, &patch).unwrap()["spec"]["strategy"], json!({ "type": "Recreate" }));
    }

    #[test]
    fn values_are_added_and_taken_from_lists_that_merge() {
        let object = json!({ "metadata": { "finalizers": ["a", "b"] } });
        let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c", "b"] } });
        assert_eq!(merge("Pod", &object, &patch).unwrap()["metadata"]["finalizers"], json!(["b", "c"]));
    }

    #[test]
    fn nonsense_is_refused_with_what_is_wrong() {
        let object = pod(json!({ "containers": [{ "name": "a" }] }));
        for (bad, word) in [
            (json!({ "containers": [{ "image": "x" }] }), "does not name its name"),
            (json!({ "containers": [7] }), "not an object"),
            (json!({ "nodeSelector": { "$patch": "destroy" } }), "not \"destroy\""),
            (json!({ "$retainKeys": 7 }), "list of names"),
            (json!({ "$setElementOrder/containers": 7 }), "is a list"),
            (json!({ "$deleteFromPrimitiveList/x": {} }), "is a list"),
        ] {
            let refusal = merge("Pod", &object, &pod(bad.clone())).unwrap_err();
            assert!(refusal.code == 400 && refusal.message.contains(word), "{bad}: {}", refusal.message);
        }
        assert_eq!(merge("Pod", &object, &json!([1])).unwrap_err().code, 400);
    }

    /// The patch that makes `b` of `a`, as a client writes it.
    fn difference(of: &str, a: &Map<String, Value>, b: &Map<String, Value>) -> Map<String, Value> {
        let mut patch = Map::new();
        for key in a.keys().filter(|key| !b.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
        for (key, new) in b.iter().filter(|(key, new)| a.get(*key) != Some(new)) {
            let row = lists::row(of, key);
            let value = match (a.get(key), new, row.filter(|row| row.merges())) {
                (Some(Value::Object(old)), Value::Object(new), _) => Value::Object(difference(row.map_or("", |row| row.holds), old, new)),
                (Some(Value::Array(old)), Value::Array(new), Some(row)) => {
                    let id = |item: &Value| row.merge_key.map_or_else(|| item.clone(), |key| json!({ key: item[key] }));
                    patch.insert(format!("{ORDER}{key}"), new.iter().map(id).collect());
                    let gone: Vec<Value> = old.iter().filter(|o| !new.iter().any(|n| id(n) == id(o))).map(id).collect();
                    let Some(name) = row.merge_key else {
                        patch.insert(format!("{DELETE_FROM}{key}"), gone.into());
                        patch.insert(key.clone(), new.clone().into());
                        continue;
                    };
                    let mut items: Vec<Value> = new
                        .iter()
                        .map(|item| match old.iter().find(|old| id(old) == id(item)) {
                            Some(old) => {
                                let mut changed = difference(row.holds, old.as_object().unwrap(), item.as_object().unwrap());
                                changed.insert(name.to_owned(), item[name].clone());
                                Value::Object(changed)
                            }
                            None => item.clone(),
                        })
                        .collect();
                    items.extend(gone.into_iter().map(|mut item| {
                        item[PATCH] = json!("delete");
                        item
                    }));
                    items.into()
                }
                _ => new.clone(),
            };
            patch.insert(key.clone(), value);
        }
        patch
    }

    /// Some object of a type: its own fields, and others.
    fn any_object(of: &'static str, depth: u32) -> BoxedStrategy<Value> {
        let rows: Vec<&'static Row> = lists::ROWS.iter().filter(|row| row.of == of).collect();
        let scalar =
            prop_oneof![(0..3i64).prop_map(|n| json!(n)), "[a-c]{1,2}".prop_map(|s| json!(s)), any::<bool>().prop_map(|b| json!(b))];
        let other = prop_oneof![
            scalar.clone(),
            prop::collection::vec(scalar.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", scalar, 0..3).prop_map(|map| json!(map)),
        ];
        let mut fields = prop::collection::btree_map("[x-z]", other, 0..3).prop_map(|map| json!(map)).boxed();
        for row in rows.into_iter().filter(|_| depth > 0) {
            let value = match (row.sharing, row.merge_key) {
                (Sharing::Values, _) => prop::collection::btree_set("[a-d]", 0..4)
                    .prop_map(|set| set.into_iter().collect::<Vec<_>>())
                    .prop_shuffle()
                    .prop_map(|list| json!(list))
                    .boxed(),
                (_, Some(key)) => prop::collection::btree_map("[a-d]", any_object(row.holds, depth - 1), 0..4)
                    .prop_map(|map| map.into_iter().collect::<Vec<_>>())
                    .prop_shuffle()
                    .prop_map(move |items| {
                        items
                            .into_iter()
                            .map(|(name, mut item)| {
                                item[key] = json!(name);
                                item
                            })
                            .collect::<Value>()
                    })
                    .boxed(),
                _ => any_object(row.holds, depth - 1),
            };
            fields = (fields, prop::option::weighted(0.4, value))
                .prop_map(|(mut map, value)| {
                    if let Some(value) = value {
                        map[row.field] = value;
                    }
                    map
                })
                .boxed();
        }
        fields
    }

    /// Any JSON, with words that mean something here.
    fn any_patch() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "spec",
            "containers",
            "name",
            "env",
            "strategy",
            "metadata",
            "finalizers",
            "$patch",
            "$retainKeys",
            "$setElementOrder/containers",
            "$deleteFromPrimitiveList/finalizers",
            "$setElementOrder/env",
            "template",
            "ports",
            "containerPort",
            "x",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3i64).prop_map(Value::from),
            prop::sample::select(vec!["a", "b", "delete", "replace", "merge", "name"]).prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 48, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(word.clone().prop_map(str::to_owned), inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_difference_of_two_objects_makes_the_second_of_the_first(a in any_object("Deployment", 5), b in any_object("Deployment", 5)) {
            let patch = Value::Object(difference("Deployment", a.as_object().unwrap(), b.as_object().unwrap()));
            prop_assert_eq!(merge("Deployment", &a, &patch).unwrap(), b, "{}", patch);
        }

        #[test]
        fn no_patch_is_too_odd(object in any_object("Deployment", 4), patch in any_patch()) {
            if let Err(refusal) = merge("Deployment", &object, &patch) {
                prop_assert_eq!(refusal.code, 400);
            }
        }
    }
}
