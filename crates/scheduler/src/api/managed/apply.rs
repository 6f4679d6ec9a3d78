//! Server-side apply: what a manager wants, over what is there.

use serde_json::Value;

use crate::api::lists::{self, Row, Sharing};
use crate::api::status::{Cause, Refusal, Result};
use crate::kinds::Kind;
use crate::names::LAST_APPLIED;
use crate::objects::Object;

use super::set::{self, Set, item_names};
use super::{By, Entry, Managers, bare};

/// How kubectl names itself when it applies; what it applied in its older way is its own.
const KUBECTL: &str = "kubectl";

/// The object that `live` becomes when `config` is applied, without managedFields, and who owns its fields then.
///
/// # Errors
/// 409 that names managers and fields, where others set them otherwise and `force` is not given.
pub(in crate::api) fn applied(
    by: &By,
    kind: &Kind,
    live: Option<&Object>,
    config: &Object,
    force: bool,
    now: &str,
) -> Result<(Object, Managers)> {
    let Some(manager) = by.manager.clone() else {
        return Err(Refusal::bad_request("fieldManager is required to apply: it names who owns the fields"));
    };
    let root = lists::root(kind);
    let wanted = Set::of(root, &bare(config));
    let mut managers = live.and_then(|live| Managers::of(&live.0)).unwrap_or_default();
    let is_mine = |entry: &Entry| entry.manager == manager && entry.applies && entry.part == by.part;
    let mine = managers.0.iter().position(is_mine).map(|at| managers.0.remove(at));
    let mut merged = match live {
        Some(live) => Object(merge(root, &live.0, &config.0)),
        None => config.clone(),
    };
    merged.metadata_mut().remove("managedFields");
    if let Some(live) = live {
        let (changed, _) = set::compare(root, &bare(live), &bare(&merged));
        let own = if manager == KUBECTL && mine.is_none() { last_applied(root, live) } else { Set::default() };
        yield_to(&mut managers, &changed, &own, force)?;
        if let Some(mine) = &mine {
            let others = managers.0.iter().fold(Set::default(), |all, entry| all.with(&entry.set));
            let kept = others.with(&wanted);
            prune(root, &mut merged.0, &mine.set.without(&wanted), &kept);
        }
    }
    keep_last_applied(&manager, config, live, &mut merged);
    // The time moves with what is applied, so that to apply the same again changes nothing.
    let time = mine.as_ref().filter(|mine| mine.set == wanted).map_or_else(|| now.to_owned(), |mine| mine.time.clone());
    let time = if live.is_some_and(|live| bare(live) == bare(&merged)) { time } else { now.to_owned() };
    managers.0.push(Entry { manager, applies: true, api_version: kind.api_version(), part: by.part.clone(), time, set: wanted });
    managers.settle();
    Ok((merged, managers))
}

/// What kubectl applied before it did so on the server.
fn last_applied(root: &str, live: &Object) -> Set {
    let config = live.annotation(LAST_APPLIED).and_then(|text| serde_json::from_str(text).ok());
    config.map_or_else(Set::default, |config: Value| Set::of(root, &bare(&Object(config))))
}

/// The note that plain `kubectl apply` compares with stays true, where there is one.
fn keep_last_applied(manager: &str, config: &Object, live: Option<&Object>, merged: &mut Object) {
    if manager == KUBECTL && live.is_some_and(|live| live.annotation(LAST_APPLIED).is_some()) {
        let mut plain = config.clone();
        if let Some(annotations) = plain.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
        merged.set_annotation(LAST_APPLIED, &format!("{}\n", plain.0));
    }
}

/// Takes what changes from its owners, who have to be asked first: 409, unless it is forced or was one's own.
fn yield_to(managers: &mut Managers, changed: &Set, own: &Set, force: bool) -> Result<()> {
    let mut causes = Vec::new();
    for entry in &mut managers.0 {
        let taken = entry.set.common(changed);
        for field in taken.without(own).paths() {
            causes.push(Cause { reason: "FieldManagerConflict", field, message: format!("conflict with {}", entry.title()) });
        }
        entry.set = entry.set.without(&taken);
    }
    if force || causes.is_empty() { Ok(()) } else { Err(conflict(causes)) }
}

fn conflict(causes: Vec<Cause>) -> Refusal {
    let message = match causes.as_slice() {
        [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
        several => {
            let mut text = format!("Apply failed with {} conflicts: ", several.len());
            for (at, cause) in several.iter().enumerate() {
                if at == 0 || several[at - 1].message != cause.message {
                    let line = if at == 0 { "" } else { "\n" };
                    text.push_str(&format!("{line}{}:", cause.message.replacen("conflict", "conflicts", 1)));
                }
                text.push_str(&format!("\n- {}", cause.field));
            }
            text
        }
    };
    Refusal { causes, ..Refusal::new(409, "Conflict", message) }
}

fn merge(of: &str, live: &Value, config: &Value) -> Value {
    let (Value::Object(live), Value::Object(config)) = (live, config) else { return config.clone() };
    let mut out = live.clone();
    for (field, value) in config {
        let row = lists::row(of, field);
        let value = out.get(field).map_or_else(|| value.clone(), |there| merge_field(row, there, value));
        out.insert(field.clone(), value);
    }
    Value::Object(out)
}

fn merge_field(row: Option<&Row>, live: &Value, config: &Value) -> Value {
    let holds = row.map_or("", |row| row.holds);
    let whole = row.is_some_and(|row| row.sharing == Sharing::Whole);
    match (live, config) {
        (Value::Object(_), Value::Object(_)) if !whole => merge(holds, live, config),
        (Value::Array(there), Value::Array(wanted)) => {
            let Some((names, new_names)) = item_names(row, there).zip(item_names(row, wanted)) else { return config.clone() };
            let mut out = there.clone();
            for (name, item) in new_names.iter().zip(wanted) {
                match names.iter().position(|other| other == name) {
                    Some(at) => out[at] = merge(holds, &there[at], item),
                    None => out.push(item.clone()),
                }
            }
            Value::Array(out)
        }
        _ => config.clone(),
    }
}

/// Removes the fields `gone` from a value of the type `of`, but for what is in `kept`.
fn prune(of: &str, value: &mut Value, gone: &Set, kept: &Set) {
    let Some(map) = value.as_object_mut() else { return };
    for (branch, below) in gone.branches() {
        let Some(field) = branch.strip_prefix("f:") else { continue };
        let Some(there) = map.get_mut(field) else { continue };
        let stays = kept.at(branch);
        let removed = below.is_own() && stays.is_none();
        if !removed {
            let nobody = Set::default();
            prune_field(lists::row(of, field), there, below, stays.unwrap_or(&nobody));
        }
        let hollow = there.as_object().is_some_and(|map| map.is_empty()) || there.as_array().is_some_and(Vec::is_empty);
        if removed || (hollow && stays.is_none()) {
            map.remove(field);
        }
    }
}

fn prune_field(row: Option<&Row>, value: &mut Value, gone: &Set, kept: &Set) {
    let holds = row.map_or("", |row| row.holds);
    let Some(items) = value.as_array_mut() else { return prune(holds, value, gone, kept) };
    let Some(names) = item_names(row, items) else { return };
    let mut names = names.into_iter();
    let keys = row.map_or(&[][..], |row| if let Sharing::Keys(keys) = row.sharing { keys } else { &[] });
    items.retain_mut(|item| {
        let Some((below, name)) = names.next().and_then(|name| gone.at(&name).map(|below| (below, name))) else { return true };
        match kept.at(&name) {
            None if below.is_own() => false,
            stays => {
                let before = item.clone();
                prune(holds, item, below, stays.unwrap_or(&Set::default()));
                // What tells it from the others stays as long as it does.
                for key in keys {
                    if let Some(value) = before.get(*key) {
                        item[*key] = value.clone();
                    }
                }
                true
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::DEPLOYMENT;

    fn by(name: &str) -> By {
        By { manager: Some(name.to_owned()), part: String::new() }
    }

    fn object(spec: Value) -> Object {
        Object(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": spec }))
    }

    fn pods(containers: Value) -> Value {
        json!({ "template": { "spec": { "containers": containers } } })
    }

    /// Applies and stores.
    fn apply(manager: &str, live: Option<&Object>, spec: Value, force: bool) -> Result<Object> {
        let (mut object, managers) = applied(&by(manager), &DEPLOYMENT, live, &object(spec), force, "t")?;
        managers.put_into(&mut object);
        Ok(object)
    }

    #[test]
    fn each_manager_keeps_its_own_and_takes_nobody_elses() {
        let first = apply("a", None, json!({ "replicas": 1, "paused": true }), false).unwrap();
        let second = apply("b", Some(&first), json!({ "minReadySeconds": 5 }), false).unwrap();
        assert_eq!(second.spec(), &json!({ "replicas": 1, "paused": true, "minReadySeconds": 5 }));
        let refusal = apply("b", Some(&second), json!({ "replicas": 3 }), false).unwrap_err();
        assert_eq!((refusal.code, refusal.message.as_str()), (409, "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas"));
        assert_eq!((refusal.causes[0].reason, refusal.causes[0].field.as_str()), ("FieldManagerConflict", ".spec.replicas"));
        let forced = apply("b", Some(&second), json!({ "replicas": 3 }), true).unwrap();
        // What b no longer applies is gone, what a applies is there, and a has lost the one that b took.
        assert_eq!(forced.spec(), &json!({ "replicas": 3, "paused": true }));
        assert_eq!(apply("a", Some(&forced), json!({ "paused": true, "replicas": 1 }), false).unwrap_err().code, 409);
        let without = apply("a", Some(&forced), json!({ "minReadySeconds": 1 }), false).unwrap();
        assert_eq!(without.spec(), &json!({ "replicas": 3, "minReadySeconds": 1 }));
    }

    #[test]
    fn two_that_want_the_same_share_it() {
        let first = apply("a", None, json!({ "replicas": 2 }), false).unwrap();
        let shared = apply("b", Some(&first), json!({ "replicas": 2 }), false).unwrap();
        let left = apply("a", Some(&shared), json!({ "paused": true }), false).unwrap();
        assert_eq!(left.spec(), &json!({ "replicas": 2, "paused": true }));
        let gone = apply("b", Some(&left), json!({ "minReadySeconds": 1 }), false).unwrap();
        assert_eq!(gone.spec(), &json!({ "paused": true, "minReadySeconds": 1 }));
    }

    #[test]
    fn items_are_told_apart_by_their_keys() {
        let first =
            apply("a", None, pods(json!([{ "name": "x", "image": "x:1", "env": [{ "name": "A", "value": "1" }] }])), false).unwrap();
        let env = json!([{ "name": "x", "env": [{ "name": "B", "value": "2" }] }]);
        let both = apply("b", Some(&first), pods(env), false).unwrap();
        let wanted = json!([{ "name": "x", "image": "x:1", "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }] }]);
        assert_eq!(both.0.pointer("/spec/template/spec/containers"), Some(&wanted));
        let less = apply("b", Some(&both), json!({ "replicas": 1 }), false).unwrap();
        let wanted = json!([{ "name": "x", "image": "x:1", "env": [{ "name": "A", "value": "1" }] }]);
        assert_eq!(less.0.pointer("/spec/template/spec/containers"), Some(&wanted));
        let other = apply("a", Some(&less), pods(json!([{ "name": "y", "image": "y:1" }])), false).unwrap();
        assert_eq!(other.0.pointer("/spec/template/spec/containers"), Some(&json!([{ "name": "y", "image": "y:1" }])));
    }

    #[test]
    fn to_apply_the_same_again_changes_nothing() {
        let spec = || json!({ "replicas": 1, "selector": { "matchLabels": { "a": "b" } } });
        let first = apply("a", None, spec(), false).unwrap();
        let (mut again, managers) = applied(&by("a"), &DEPLOYMENT, Some(&first), &object(spec()), false, "later").unwrap();
        managers.put_into(&mut again);
        assert_eq!(again, first);
    }

    #[test]
    fn what_kubectl_applied_on_its_own_side_is_no_conflict_for_it() {
        let note = json!({ "spec": { "replicas": 1 } }).to_string();
        let mut live = object(json!({ "replicas": 1 }));
        live.set_annotation(LAST_APPLIED, &note);
        let managers = Managers::default().updated(&by("kubectl-client-side-apply"), &DEPLOYMENT, None, &live, "t");
        managers.put_into(&mut live);
        assert_eq!(apply("other", Some(&live), json!({ "replicas": 2 }), false).unwrap_err().code, 409);
        let moved = apply("kubectl", Some(&live), json!({ "replicas": 2 }), false).unwrap();
        assert_eq!(moved.spec()["replicas"], 2);
        assert!(moved.annotation(LAST_APPLIED).unwrap().contains("\"replicas\":2"));
    }

    #[test]
    fn several_conflicts_are_listed_for_each_manager() {
        let first = apply("a", None, json!({ "replicas": 1, "paused": true }), false).unwrap();
        let message = apply("b", Some(&first), json!({ "replicas": 2, "paused": false }), false).unwrap_err().message;
        assert_eq!(message, "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.paused\n- .spec.replicas");
    }
}
