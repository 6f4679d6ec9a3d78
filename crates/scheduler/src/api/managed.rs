//! `metadata.managedFields`: who set which field last, and who therefore must not be overwritten by an apply.
//!
//! Kept for writers that name themselves (`fieldManager`, or a `User-Agent` like `kubectl/…`). The scheduler's and the nodes' own
//! writes keep none, so that ten thousand pods do not carry a second copy of their field names.

use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::auth::Identity;
use crate::kinds::{ENDPOINT_SLICE, EVENT, Kind, LEASE, ROUTE_CLAIM};
use crate::objects::Object;

use super::lists;
use super::path::Query;
use super::status::{Refusal, Result};

mod apply;
mod set;

pub(super) use apply::applied;
use set::Set;

/// Longest name of a manager, as in Kubernetes.
const LONGEST: usize = 128;
/// Most managers that an object remembers besides those that apply; older ones become one.
const MOST_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct By {
    /// `None`: nothing is kept of this writer.
    manager: Option<String>,
    /// `status`, `scale`; empty for the object itself.
    part: String,
}

impl By {
    /// The writer of a request.
    pub(super) fn of(who: &Identity, kind: &Kind, part: &str, query: &Query, headers: &HeaderMap) -> Result<By> {
        let own = who.node_name().is_some() || [&LEASE, &EVENT, &ENDPOINT_SLICE, &ROUTE_CLAIM].contains(&kind);
        let given = query.get("fieldManager").map(str::to_owned);
        if given.as_ref().is_some_and(|name| name.len() > LONGEST || name.chars().any(char::is_control)) {
            return Err(Refusal::bad_request(format!("fieldManager must be at most {LONGEST} printable characters")));
        }
        let agent = || {
            let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
            let (name, _) = agent.split_once('/')?;
            (!name.is_empty()).then(|| name.chars().take(LONGEST).collect())
        };
        Ok(By { manager: given.or_else(agent).filter(|_| !own), part: part.to_owned() })
    }

    /// Nobody in particular.
    #[cfg(test)]
    fn nobody() -> By {
        By { manager: None, part: String::new() }
    }
}

/// What one manager has set.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    manager: String,
    /// By applying, or by any other write.
    applies: bool,
    api_version: String,
    part: String,
    time: String,
    set: Set,
}

/// All managers of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Managers(Vec<Entry>);

impl Managers {
    /// Those that stand in `metadata.managedFields`; `None` where that is not there or cannot be read.
    pub(super) fn of(object: &Value) -> Option<Managers> {
        let entries = object.pointer("/metadata/managedFields")?.as_array()?;
        // One empty entry is how a client takes all of them away.
        let named = entries.iter().filter(|entry| entry.as_object().is_some_and(|map| !map.is_empty()));
        named.map(Entry::read).collect::<Option<Vec<_>>>().map(Managers)
    }

    /// Writes them into the object.
    pub(super) fn put_into(&self, object: &mut Object) {
        let metadata = object.metadata_mut();
        if self.0.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), self.0.iter().map(Entry::show).collect());
        }
    }

    /// After a new object was made, or after `old` became `new`, other than by apply.
    pub(super) fn updated(mut self, by: &By, kind: &Kind, old: Option<&Object>, new: &Object, now: &str) -> Managers {
        let root = lists::root(kind);
        let (changed, removed) = match old {
            Some(old) => set::compare(root, &bare(old), &bare(new)),
            None => (Set::of(root, &bare(new)), Set::default()),
        };
        if changed.is_empty() && removed.is_empty() {
            return self;
        }
        let is_mine = |entry: &Entry| Some(&entry.manager) == by.manager.as_ref() && !entry.applies && entry.part == by.part;
        let mine = self.0.iter().position(is_mine).map(|at| self.0.remove(at).set).unwrap_or_default();
        for entry in &mut self.0 {
            entry.set = entry.set.without(&changed).without(&removed);
        }
        if let Some(manager) = &by.manager {
            let set = mine.with(&changed).without(&removed);
            let (manager, part) = (manager.clone(), by.part.clone());
            self.0.push(Entry { manager, applies: false, api_version: kind.api_version(), part, time: now.to_owned(), set });
        }
        self.settle();
        self
    }

    /// In one order, whoever wrote last, so that what is the same is seen to be; bounded, and without those that own nothing.
    fn settle(&mut self) {
        self.0.retain(|entry| !entry.set.is_empty());
        self.forget_ancient();
        self.0.sort_by(|a, b| (!a.applies, &a.manager, &a.part).cmp(&(!b.applies, &b.manager, &b.part)));
    }

    fn forget_ancient(&mut self) {
        while self.0.iter().filter(|entry| !entry.applies).count() > MOST_UPDATERS {
            let updaters = self.0.iter().enumerate().filter(|(_, entry)| !entry.applies && entry.manager != ANCIENT);
            let Some(at) = updaters.min_by(|(_, a), (_, b)| a.time.cmp(&b.time)).map(|(at, _)| at) else { return };
            let mut entry = self.0.remove(at);
            match self.0.iter_mut().find(|entry| entry.manager == ANCIENT) {
                Some(ancient) => ancient.set = std::mem::take(&mut ancient.set).with(&entry.set),
                None => {
                    entry.manager = ANCIENT.to_owned();
                    self.0.insert(0, entry);
                }
            }
        }
    }
}

impl Entry {
    fn read(value: &Value) -> Option<Entry> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        if !matches!(value["fieldsType"].as_str(), None | Some("FieldsV1")) {
            return None;
        }
        Some(Entry {
            manager: text("manager"),
            applies: match value["operation"].as_str()? {
                "Apply" => true,
                "Update" => false,
                _ => return None,
            },
            api_version: text("apiVersion"),
            part: text("subresource"),
            time: text("time"),
            set: Set::read(&value["fieldsV1"])?,
        })
    }

    fn show(&self) -> Value {
        let mut value = json!({
            "manager": self.manager, "operation": if self.applies { "Apply" } else { "Update" }, "apiVersion": self.api_version,
            "fieldsType": "FieldsV1", "fieldsV1": self.set.show(),
        });
        for (field, text) in [("time", &self.time), ("subresource", &self.part)] {
            if !text.is_empty() {
                value[field] = json!(text);
            }
        }
        value
    }

    /// `"kubectl-client-side-apply" using apps/v1`, as Kubernetes names it in a conflict.
    fn title(&self) -> String {
        let part = if self.part.is_empty() { String::new() } else { format!(" with subresource {:?}", self.part) };
        let version = if self.applies { String::new() } else { format!(" using {}", self.api_version) };
        format!("{:?}{part}{version}", self.manager)
    }
}

/// An object without what nobody can own.
fn bare(object: &Object) -> Value {
    let mut value = object.0.clone();
    let Some(map) = value.as_object_mut() else { return value };
    map.remove("apiVersion");
    map.remove("kind");
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        const OURS: [&str; 11] = [
            "name",
            "generateName",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
            "selfLink",
        ];
        metadata.retain(|key, _| !OURS.contains(&key.as_str()));
        if metadata.is_empty() {
            map.remove("metadata");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::DEPLOYMENT;

    fn by(name: &str) -> By {
        By { manager: Some(name.to_owned()), part: String::new() }
    }

    fn deployment(image: &str, replicas: u32) -> Object {
        Object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "labels": { "app": "web" } },
            "spec": { "replicas": replicas, "template": { "spec": { "containers": [{ "name": "web", "image": image }] } } },
        }))
    }

    fn fields(managers: &Managers, manager: &str) -> Value {
        managers.0.iter().find(|entry| entry.manager == manager).map(|entry| entry.set.show()).unwrap_or_default()
    }

    #[test]
    fn who_makes_an_object_owns_its_fields_and_who_changes_one_takes_it() {
        let first = deployment("web:1", 1);
        let made = Managers::default().updated(&by("kubectl-create"), &DEPLOYMENT, None, &first, "t");
        let container = json!({ ".": {}, "f:image": {}, "f:name": {} });
        let wanted = json!({
            "f:metadata": { "f:labels": { "f:app": {} } },
            "f:spec": { "f:replicas": {}, "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": container } } } },
        });
        assert_eq!(fields(&made, "kubectl-create"), wanted);
        let changed = made.updated(&by("scaler"), &DEPLOYMENT, Some(&first), &deployment("web:1", 3), "t");
        assert_eq!(fields(&changed, "scaler"), json!({ "f:spec": { "f:replicas": {} } }));
        assert!(fields(&changed, "kubectl-create")["f:spec"].get("f:replicas").is_none());
        let by_nobody = changed.updated(&By::nobody(), &DEPLOYMENT, Some(&deployment("web:1", 3)), &deployment("web:1", 4), "t");
        assert_eq!(fields(&by_nobody, "scaler"), Value::Null);
    }

    #[test]
    fn an_object_remembers_a_bounded_number_of_writers() {
        let mut managers = Managers::default();
        let mut old = deployment("web:1", 0);
        for n in 0..30 {
            let mut new = old.clone();
            new.set_label(&format!("l{n}"), "x");
            managers = managers.updated(&by(&format!("m{n}")), &DEPLOYMENT, Some(&old), &new, "t");
            old = new;
        }
        assert_eq!(managers.0.len(), MOST_UPDATERS);
        let ancient = fields(&managers, ANCIENT);
        assert_eq!(ancient["f:metadata"]["f:labels"].as_object().map(|map| map.len()), Some(21));
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let managers = Managers::default().updated(&by("a"), &DEPLOYMENT, None, &deployment("x", 1), "2026-01-01T00:00:00Z");
        let mut object = deployment("x", 1);
        managers.put_into(&mut object);
        assert_eq!(Managers::of(&object.0), Some(managers));
        assert_eq!(Managers::of(&json!({ "metadata": { "managedFields": [{}] } })), Some(Managers::default()));
        assert_eq!(Managers::of(&json!({ "metadata": { "managedFields": [{ "operation": "Sing" }] } })), None);
    }

    #[test]
    fn nodes_and_the_unnamed_are_not_remembered() {
        let headers = |agent: &str| HeaderMap::from_iter([(header::USER_AGENT, agent.parse().unwrap())]);
        let of = |who: &Identity, agent: &str| By::of(who, &DEPLOYMENT, "", &Query::default(), &headers(agent)).unwrap().manager;
        assert_eq!(of(&Identity::admin(), "kubectl/v1.32.0 (linux)").as_deref(), Some("kubectl"));
        assert_eq!(of(&Identity::admin(), "curious"), None);
        assert_eq!(of(&Identity::node("edge-1"), "kubectl/v1"), None);
    }
}
