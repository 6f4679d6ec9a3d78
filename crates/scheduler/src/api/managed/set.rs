//! A set of fields, kept as a tree whose branches are named as in Kubernetes' `FieldsV1`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::lists::{self, Row, Sharing};

/// Some fields: this one, where `own`, and those below. Branches are `f:FIELD`, `k:{"KEY":VALUE}` and `v:VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Set {
    own: bool,
    below: BTreeMap<String, Set>,
}

/// What a list's key is where an item does not name it: the one default that Kubernetes' keys have.
fn key_value(item: &Value, key: &str) -> Option<Value> {
    item.get(key).cloned().or_else(|| (key == "protocol").then(|| Value::from("TCP")))
}

/// `k:{"name":"web"}`; `None` where an item has no such key.
pub(super) fn item_name(keys: &[&str], item: &Value) -> Option<String> {
    let named: Option<BTreeMap<&str, Value>> = keys.iter().map(|key| Some((*key, key_value(item, key)?))).collect();
    serde_json::to_string(&named?).ok().map(|text| format!("k:{text}"))
}

/// The names of a list's items, where it is one whose items are owned one by one.
pub(super) fn item_names(row: Option<&Row>, items: &[Value]) -> Option<Vec<String>> {
    match row?.sharing {
        Sharing::Keys(keys) => items.iter().map(|item| item_name(keys, item)).collect(),
        Sharing::Values => Some(items.iter().map(|item| format!("v:{item}")).collect()),
        Sharing::Fields | Sharing::Whole => None,
    }
}

impl Set {
    fn leaf() -> Set {
        Set { own: true, below: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.own && self.below.is_empty()
    }

    /// Whether the field itself is in it, not only some below.
    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// What is below a branch.
    pub(super) fn at(&self, branch: &str) -> Option<&Set> {
        self.below.get(branch)
    }

    /// All branches.
    pub(super) fn branches(&self) -> impl Iterator<Item = (&str, &Set)> {
        self.below.iter().map(|(branch, set)| (branch.as_str(), set))
    }

    /// Every field of an object of the type `of`.
    pub(super) fn of(of: &str, object: &Value) -> Set {
        let mut set = Set::default();
        for (field, value) in object.as_object().into_iter().flatten() {
            set.below.insert(format!("f:{field}"), Set::of_field(lists::row(of, field), value));
        }
        set
    }

    fn of_field(row: Option<&Row>, value: &Value) -> Set {
        let holds = row.map_or("", |row| row.holds);
        let whole = row.is_some_and(|row| row.sharing == Sharing::Whole);
        match value {
            Value::Object(map) if !whole && !map.is_empty() => Set::of(holds, value),
            Value::Array(items) if !items.is_empty() => match item_names(row, items) {
                Some(names) => {
                    let below = names.into_iter().zip(items).map(|(name, item)| (name, Set { own: true, ..Set::of(holds, item) }));
                    Set { own: false, below: below.collect() }
                }
                None => Set::leaf(),
            },
            _ => Set::leaf(),
        }
    }

    /// Reads `fieldsV1`.
    pub(super) fn read(value: &Value) -> Option<Set> {
        let map = match value {
            Value::Null => return Some(Set::default()),
            other => other.as_object()?,
        };
        let mut set = Set::default();
        for (branch, below) in map {
            set.below.insert(branch.clone(), Set::read_below(below)?);
        }
        set.below.retain(|_, below| !below.is_empty());
        Some(set)
    }

    fn read_below(value: &Value) -> Option<Set> {
        let map = value.as_object()?;
        if map.is_empty() {
            return Some(Set::leaf());
        }
        let mut set = Set::default();
        for (branch, below) in map {
            match branch.as_str() {
                "." => set.own = true,
                _ if branch.starts_with("f:") || branch.starts_with("k:") || branch.starts_with("v:") || branch.starts_with("i:") => {
                    set.below.insert(branch.clone(), Set::read_below(below)?);
                }
                _ => return None,
            }
        }
        Some(set)
    }

    /// As `fieldsV1`.
    pub(super) fn show(&self) -> Value {
        let mut map: Map<String, Value> = self.below.iter().map(|(branch, below)| (branch.clone(), below.show())).collect();
        if self.own && !map.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        Value::Object(map)
    }

    /// The fields that are in either.
    pub(super) fn with(mut self, other: &Set) -> Set {
        self.own |= other.own;
        for (branch, below) in &other.below {
            let mine = self.below.remove(branch).unwrap_or_default();
            self.below.insert(branch.clone(), mine.with(below));
        }
        self
    }

    /// The fields that are not in the other.
    pub(super) fn without(&self, other: &Set) -> Set {
        let rest = |(branch, below): (&String, &Set)| match other.below.get(branch) {
            Some(gone) => (branch.clone(), below.without(gone)),
            None => (branch.clone(), below.clone()),
        };
        let below = self.below.iter().map(rest).filter(|(_, below)| !below.is_empty());
        Set { own: self.own && !other.own, below: below.collect() }
    }

    /// The fields that are in both.
    pub(super) fn common(&self, other: &Set) -> Set {
        let both = |(branch, below): (&String, &Set)| Some((branch.clone(), below.common(other.below.get(branch)?)));
        Set { own: self.own && other.own, below: self.below.iter().filter_map(both).filter(|(_, below)| !below.is_empty()).collect() }
    }

    /// `.spec.template.spec.containers[name="web"].image`, one for each field.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.add_paths("", &mut paths);
        paths
    }

    fn add_paths(&self, at: &str, paths: &mut Vec<String>) {
        if self.own {
            paths.push(at.to_owned());
        }
        for (branch, below) in &self.below {
            below.add_paths(&format!("{at}{}", step(branch)), paths);
        }
    }
}

/// One branch as a part of a path.
fn step(branch: &str) -> String {
    match branch.split_at_checked(2) {
        Some(("f:", field)) => format!(".{field}"),
        Some(("k:", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v:", value)) => format!("[={value}]"),
        _ => format!("[{branch}]"),
    }
}

/// The fields that are new or differ, and those that are gone, from one object of the type `of` to another.
pub(super) fn compare(of: &str, old: &Value, new: &Value) -> (Set, Set) {
    let (mut changed, mut removed) = (Set::default(), Set::default());
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (old, new) = (fields(old), fields(new));
    for (field, value) in &new {
        let row = lists::row(of, field);
        let branch = format!("f:{field}");
        let (more, less) = match old.get(field) {
            Some(before) if before == value => continue,
            Some(before) => compare_field(row, before, value),
            None => (Set::of_field(row, value), Set::default()),
        };
        changed.put(&branch, more);
        removed.put(&branch, less);
    }
    for (field, value) in old.iter().filter(|(field, _)| !new.contains_key(*field)) {
        removed.put(&format!("f:{field}"), Set::of_field(lists::row(of, field), value));
    }
    (changed, removed)
}

impl Set {
    fn put(&mut self, branch: &str, below: Set) {
        if !below.is_empty() {
            self.below.insert(branch.to_owned(), below);
        }
    }
}

fn compare_field(row: Option<&Row>, old: &Value, new: &Value) -> (Set, Set) {
    let holds = row.map_or("", |row| row.holds);
    let whole = row.is_some_and(|row| row.sharing == Sharing::Whole);
    match (old, new) {
        (Value::Object(_), Value::Object(_)) if !whole => compare(holds, old, new),
        (Value::Array(before), Value::Array(after)) => match item_names(row, before).zip(item_names(row, after)) {
            Some((old_names, new_names)) => compare_items(holds, (before, &old_names), (after, &new_names)),
            None => (Set::leaf(), Set::default()),
        },
        _ => (Set::of_field(row, new), Set::default()),
    }
}

fn compare_items(holds: &str, (old, old_names): (&[Value], &[String]), (new, new_names): (&[Value], &[String])) -> (Set, Set) {
    let (mut changed, mut removed) = (Set::default(), Set::default());
    for (name, item) in new_names.iter().zip(new) {
        let before = old_names.iter().position(|other| other == name).map(|at| &old[at]);
        let (more, less) = match before {
            Some(before) => compare(holds, before, item),
            None => (Set { own: true, ..Set::of(holds, item) }, Set::default()),
        };
        changed.put(name, more);
        removed.put(name, less);
    }
    for (name, item) in old_names.iter().zip(old).filter(|(name, _)| !new_names.contains(name)) {
        removed.put(name, Set { own: true, ..Set::of(holds, item) });
    }
    (changed, removed)
}
