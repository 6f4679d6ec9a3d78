//! One Kubernetes object as JSON, with the parts of its metadata that everybody reads.

use serde_json::{Map, Value, json};

use super::{Error, Result};
use crate::kinds::Kind;

/// An object as it stands in a manifest: `apiVersion`, `kind`, `metadata`, and what its kind adds. Fields that this binary does
/// not know stay where they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Object(pub Value);

impl Object {
    /// `apps/v1`; `""` where it is missing.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// `Deployment`; `""` where it is missing.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// The kind that the API serves it as.
    pub fn known_kind(&self) -> Result<&'static Kind> {
        let (version, kind) = (self.api_version(), self.kind());
        Kind::of(version, kind)
            .ok_or_else(|| Error::Invalid(format!("an object of kind {kind:?} in {version:?} cannot be kept: no such kind is served")))
    }

    /// Its name; `""` where it is missing.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Its namespace; `""` where there is none.
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// `namespace/name`, or the name of what lives in no namespace: for people and for maps.
    pub fn full_name(&self) -> String {
        if self.namespace().is_empty() { self.name().to_owned() } else { format!("{}/{}", self.namespace(), self.name()) }
    }

    /// Where it is kept in the store. Names become parts of keys, so what could leave its part is refused.
    pub fn key(&self) -> Result<String> {
        let kind = self.known_kind()?;
        if !is_path_element(self.name()) {
            return Err(Error::Invalid(format!("a {} cannot be named {:?}", kind.kind, self.name())));
        }
        if kind.namespaced && !is_path_element(self.namespace()) {
            return Err(Error::Invalid(format!("the {} {} cannot live in namespace {:?}", kind.kind, self.name(), self.namespace())));
        }
        Ok(kind.key(self.namespace(), self.name()))
    }

    /// Its uid; `""` before it is stamped.
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// When it was last written; 0 for an object that does not come from the store.
    pub fn resource_version(&self) -> u64 {
        self.text("/metadata/resourceVersion").parse().unwrap_or(0)
    }

    /// How often what is asked for (all but metadata and status) has changed; 0 before it is stamped.
    pub fn generation(&self) -> i64 {
        self.0.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0)
    }

    /// Its `metadata`, where there is one.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.0.get("metadata")?.as_object()
    }

    /// Its `metadata`, made where it is missing.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        child(root(&mut self.0), "metadata")
    }

    /// Its `spec`; null where it is missing.
    pub fn spec(&self) -> &Value {
        &self.0["spec"]
    }

    /// Its `status`; null where it is missing.
    pub fn status(&self) -> &Value {
        &self.0["status"]
    }

    /// Replaces its `status`.
    pub fn set_status(&mut self, status: Value) {
        root(&mut self.0).insert("status".to_owned(), status);
    }

    /// One of its labels.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.entry("labels", name)
    }

    /// One of its annotations.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.entry("annotations", name)
    }

    /// All of its labels.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries("labels")
    }

    /// All of its annotations.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries("annotations")
    }

    /// Sets one label.
    pub fn set_label(&mut self, name: &str, value: &str) {
        child(self.metadata_mut(), "labels").insert(name.to_owned(), json!(value));
    }

    /// Sets one annotation.
    pub fn set_annotation(&mut self, name: &str, value: &str) {
        child(self.metadata_mut(), "annotations").insert(name.to_owned(), json!(value));
    }

    /// Takes an annotation away.
    pub fn remove_annotation(&mut self, name: &str) {
        if let Some(all) = self.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut) {
            all.remove(name);
        }
    }

    /// Its owner references, as they stand there.
    pub fn owners(&self) -> &[Value] {
        self.0.pointer("/metadata/ownerReferences").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The owner reference that says `controller: true`.
    pub fn controller(&self) -> Option<&Value> {
        self.owners().iter().find(|owner| owner["controller"] == true)
    }

    /// The uid of its controller.
    pub fn controller_uid(&self) -> Option<&str> {
        self.controller()?["uid"].as_str()
    }

    /// An owner reference to this object, as its controller's children carry it.
    pub fn controller_reference(&self) -> Value {
        json!({
            "apiVersion": self.api_version(), "kind": self.kind(), "name": self.name(), "uid": self.uid(),
            "controller": true, "blockOwnerDeletion": true,
        })
    }

    /// When its deletion was asked for, where somebody still has to finish something before it goes.
    pub fn deletion_timestamp(&self) -> Option<&str> {
        self.0.pointer("/metadata/deletionTimestamp").and_then(Value::as_str)
    }

    /// Who still has to finish something before it goes.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.0.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// When it was made, RFC 3339; `""` before it is stamped.
    pub fn created(&self) -> &str {
        self.text("/metadata/creationTimestamp")
    }

    /// What every new object gets: uid, time of creation (whole seconds, as Kubernetes writes it), generation 1.
    pub fn stamp_new(&mut self, uid: &str, now: jiff::Timestamp) {
        let metadata = self.metadata_mut();
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("creationTimestamp".to_owned(), json!(seconds(now)));
        metadata.insert("generation".to_owned(), json!(1));
        for unset in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            metadata.remove(unset);
        }
    }

    /// What every changed object keeps from the one before: uid, time of creation, mark of deletion, and its generation, one more
    /// if what is asked for differs.
    pub fn stamp_changed(&mut self, before: &Object) {
        let generation = before.generation().max(1) + i64::from(!self.asks_the_same(before));
        let metadata = self.metadata_mut();
        for kept in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            match before.metadata().and_then(|metadata| metadata.get(kept)) {
                Some(value) => metadata.insert(kept.to_owned(), value.clone()),
                None => metadata.remove(kept),
            };
        }
        metadata.insert("generation".to_owned(), json!(generation));
    }

    /// Whether both are the same but for `metadata` and `status`.
    pub fn asks_the_same(&self, other: &Object) -> bool {
        let asked = |object: &Object| {
            let fields = object.0.as_object().into_iter().flatten();
            fields
                .filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Map<_, _>>()
        };
        asked(self) == asked(other)
    }

    pub(super) fn set_resource_version(&mut self, version: u64) {
        self.metadata_mut().insert("resourceVersion".to_owned(), json!(version.to_string()));
    }

    pub(super) fn take_resource_version(&mut self) -> Result<Option<u64>> {
        let version = match self.metadata_mut().remove("resourceVersion") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        let name = self.full_name();
        version
            .map(Some)
            .ok_or_else(|| Error::Invalid(format!("the resourceVersion of {} {name} is not one that this server gave", self.kind())))
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    fn entry(&self, map: &str, name: &str) -> Option<&str> {
        self.metadata()?.get(map)?.get(name)?.as_str()
    }

    fn entries(&self, map: &str) -> impl Iterator<Item = (&str, &str)> {
        let map = self.metadata().and_then(|metadata| metadata.get(map)).and_then(Value::as_object);
        map.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }
}

/// RFC 3339 in whole seconds, as Kubernetes writes a time.
fn seconds(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn is_path_element(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// What is no object cannot be kept anyhow, so it may become one here.
fn root(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

fn child<'a>(map: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    root(map.entry(name).or_insert(Value::Null))
}
