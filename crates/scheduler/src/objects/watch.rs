//! Changes of the store told as changes of objects.

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::{ORDINALS, Object, Objects, Result, Seal, envelope, list_version};
use crate::kinds::{KINDS, Kind};
use crate::store;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Added,
    /// It was changed.
    Modified,
    /// It is gone; the event's object is its last state.
    Deleted,
    /// Nothing: everything up to the event's resourceVersion was told. Its object is null.
    Bookmark,
}

/// One change, as a watch tells it.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// To which kind of object; of a bookmark the kind that is watched, or the first of them.
    pub kind: &'static Kind,
    /// The object after the change; of a deletion its last state, with the deletion's resourceVersion.
    pub object: Object,
    /// The object before the change.
    pub previous: Option<Object>,
    /// A watch from here goes on after this event.
    pub resource_version: u64,
}

/// Which changes a watch wants.
struct Filter {
    kinds: Vec<&'static Kind>,
    namespace: Option<String>,
    after: u64,
    bookmarks: bool,
}

pub(super) fn watch(
    objects: &Objects,
    kinds: &[&'static Kind],
    namespace: Option<&str>,
    after: u64,
    bookmarks: bool,
) -> BoxStream<'static, Result<Event>> {
    let prefix = match kinds {
        [kind] => kind.prefix(namespace),
        _ => "/objects/".to_owned(),
    };
    // A version in the middle of a commit: that commit is read again, and its first part skipped.
    let revision = if after % ORDINALS == ORDINALS - 1 { after / ORDINALS } else { (after / ORDINALS).saturating_sub(1) };
    let filter = Filter { kinds: kinds.to_vec(), namespace: namespace.map(str::to_owned), after, bookmarks };
    let seal = objects.seal.clone();
    let events = objects.store.watch(&prefix, revision);
    let told = events.filter_map(move |event| {
        let told = event.map_err(super::Error::from).and_then(|event| filter.tell(&seal, &event)).transpose();
        futures::future::ready(told)
    });
    // An unreadable object ends the watch, as every error does: going on would skip a change.
    told.scan(false, |ended, event| {
        let over = std::mem::replace(ended, event.is_err());
        futures::future::ready(if over { None } else { Some(event) })
    })
    .chain(stream::empty())
    .boxed()
}

impl Filter {
    fn tell(&self, seal: &Seal, event: &store::Event) -> Result<Option<Event>> {
        if event.key() == store::BOOKMARK {
            return Ok(self.bookmarks.then(|| self.bookmark(event.revision)).filter(|bookmark| bookmark.resource_version > self.after));
        }
        let resource_version = event.revision * ORDINALS + u64::from(event.ordinal);
        let Some(kind) = self.kind_of(event.key()).filter(|_| resource_version > self.after) else { return Ok(None) };
        let previous = event.previous.as_ref().map(|item| envelope::open(seal, item)).transpose()?;
        let item = event.item.as_ref().map(|item| envelope::open(seal, item)).transpose()?;
        let (change, object) = match (item, &previous) {
            (Some(object), None) => (Change::Added, object),
            (Some(object), Some(_)) => (Change::Modified, object),
            (None, Some(last)) => (Change::Deleted, deleted(last, resource_version)),
            (None, None) => return Ok(None),
        };
        Ok(Some(Event { change, kind, object, previous, resource_version }))
    }

    fn bookmark(&self, revision: u64) -> Event {
        let kind = self.kinds.first().or(KINDS.first()).copied().unwrap_or(&crate::kinds::POD);
        let object = Object(serde_json::Value::Null);
        Event { change: Change::Bookmark, kind, object, previous: None, resource_version: list_version(revision) }
    }

    /// The kind of an object's key, `/objects/apps/deployments/default/hello`, where the watch wants it.
    fn kind_of(&self, key: &str) -> Option<&'static Kind> {
        let mut parts = key.strip_prefix("/objects/")?.split('/');
        let (group, plural) = (parts.next()?, parts.next()?);
        let group = if group == "core" { "" } else { group };
        let kind = KINDS.iter().find(|kind| kind.group == group && kind.plural == plural)?;
        let namespace = if kind.namespaced { parts.next() } else { None };
        let wanted = self.kinds.is_empty() || self.kinds.contains(kind);
        let inside = self.namespace.as_deref().is_none_or(|wanted| !kind.namespaced || namespace == Some(wanted));
        (wanted && inside).then_some(*kind)
    }
}

fn deleted(last: &Object, resource_version: u64) -> Object {
    let mut object = last.clone();
    object.set_resource_version(resource_version);
    object
}
