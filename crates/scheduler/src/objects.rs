//! Kubernetes objects in the store: names, versions and guards over plain keys and values.

use std::sync::Arc;

use futures::stream::BoxStream;

use crate::kinds::Kind;
use crate::store::{self, Commit, Guard, MAX_OPS, Next, Op, Revision, Store};

mod envelope;
mod object;
mod parts;
mod seal;
#[cfg(test)]
mod tests;
mod watch;

pub use envelope::check;
pub use object::Object;
pub use parts::Part;
pub use seal::{DATA_KEY, Seal};
pub use watch::{Change, Event};

/// Most writes that one commit may hold.
pub const MAX_WRITES: usize = MAX_OPS;
/// Ops of one commit are told apart by the low byte of a resourceVersion; a list has the last one of its revision.
const ORDINALS: u64 = 256;

/// What can go wrong with an object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("there is no {kind} {name}")]
    NotFound {
        /// Its kind, as in a manifest.
        kind: &'static str,
        /// Its name, with its namespace before a slash where it has one.
        name: String,
    },
    /// The name is taken.
    #[error("the {kind} {name} exists already")]
    AlreadyExists {
        /// Its kind, as in a manifest.
        kind: &'static str,
        /// Its name, with its namespace before a slash where it has one.
        name: String,
    },
    /// The object has another resourceVersion by now.
    #[error("the {kind} {name} has changed since it was read: read it again, then repeat the change")]
    Conflict {
        /// Its kind, as in a manifest.
        kind: &'static str,
        /// Its name, with its namespace before a slash where it has one.
        name: String,
    },
    /// A [`Write::Guard`] did not hold.
    #[error("the guard on {key} did not hold")]
    GuardFailed {
        /// The key in the store.
        key: String,
    },
    /// More writes or bytes than fit in one commit.
    #[error("the change is too large: {0}")]
    TooLarge(String),
    /// The resourceVersion is older than what the store remembers: list again, then watch from there.
    #[error("resourceVersion {asked} is too old; the oldest that can be asked for is {oldest}")]
    Gone {
        /// What was asked for.
        asked: u64,
        /// The oldest that can still be asked for.
        oldest: u64,
    },
    /// Not an object that can be kept: no kind, no name, a resourceVersion that is no number, twice in one commit.
    #[error("{0}")]
    Invalid(String),
    /// What the store holds under a key is no object, or one that this cluster key cannot open.
    #[error("reading {key}: {why}")]
    Unreadable {
        /// The key in the store.
        key: String,
        /// What is wrong, and what to do where something can be done.
        why: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        match error {
            store::Error::Compacted { asked, oldest } => Error::Gone { asked: list_version(asked), oldest: list_version(oldest) },
            store::Error::Refused(why) => Error::TooLarge(why),
            other => Error::Store(other),
        }
    }
}

/// A `Result` about objects.
pub type Result<T> = std::result::Result<T, Error>;

/// One part of a commit.
#[derive(Debug, Clone)]
pub enum Write {
    /// Makes an object whose name is free.
    Create(Object),
    /// Replaces an object that still has this one's `metadata.resourceVersion`; where that is absent, whatever is there.
    Update(Object),
    /// Removes an object.
    Delete {
        /// Its kind.
        kind: &'static Kind,
        /// Its namespace; `""` for kinds without.
        namespace: String,
        /// Its name.
        name: String,
        /// Only while it has this resourceVersion.
        resource_version: Option<u64>,
    },
    /// Changes nothing, and the whole commit fails with [`Error::GuardFailed`] where this does not hold (the leader's key).
    Guard(Guard),
    /// Of all commits that took this turn at once, one is done; the others fail with [`Error::GuardFailed`].
    Turn(Turn),
}

impl Write {
    /// Holds while an object is as it was read.
    pub fn same(kind: &'static Kind, object: &Object) -> Write {
        let key = kind.key(object.namespace(), object.name());
        Write::Guard(Guard::Modified(key, object.resource_version() / ORDINALS))
    }
}

/// A key that every commit of a sort moves on: what such a commit had read before still holds when it is done.
#[derive(Debug, Clone)]
pub struct Turn(Guard);

/// One page of a list.
#[derive(Debug, Clone)]
pub struct List {
    /// Of all pages of this list; a watch from here misses nothing.
    pub resource_version: u64,
    /// In order of namespace and name.
    pub items: Vec<Object>,
    /// Where there is more: hand it to `list` for the next page.
    pub next: Option<Continue>,
}

/// Where a list goes on, good until the history before its first page is compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continue(Next);

impl std::fmt::Display for Continue {
    /// As the `continue` of a list's metadata.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use base64::Engine;
        let text = format!("{} {}", self.0.revision, self.0.after);
        f.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text))
    }
}

impl std::str::FromStr for Continue {
    type Err = Error;

    fn from_str(text: &str) -> Result<Continue> {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok();
        let plain = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let parts = plain.as_deref().and_then(|plain| plain.split_once(' '));
        let next = parts.and_then(|(revision, after)| Some(Next { revision: revision.parse().ok()?, after: after.to_owned() }));
        next.map(Continue)
            .ok_or_else(|| Error::Invalid("the continue token is not one that this server gave: list from the start".to_owned()))
    }
}

/// The objects of a cluster: a view of its store. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn Store>,
    seal: Seal,
}

impl Objects {
    /// Objects in `store`; Secrets are sealed with `seal`.
    pub fn new(store: Arc<dyn Store>, seal: Seal) -> Objects {
        Objects { store, seal }
    }

    /// The store beneath, for what is no object: the leader's key, leases, compaction.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The object, if it is there. `namespace` is ignored for kinds without.
    pub async fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Result<Option<Object>> {
        let (_, item) = self.store.get(&kind.key(namespace, name)).await?;
        item.map(|item| envelope::open(&self.seal, &item)).transpose()
    }

    /// Up to `limit` objects (0: all) of a namespace, or of all; later pages show the same moment as the first.
    pub async fn list(&self, kind: &'static Kind, namespace: Option<&str>, limit: usize, next: Option<Continue>) -> Result<List> {
        self.list_parts(kind, namespace, limit, next, &[]).await
    }

    /// The same, with these parts of each object alone; none named: all. What is read so must not be written back.
    pub async fn list_parts(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
        limit: usize,
        next: Option<Continue>,
        parts: &[Part],
    ) -> Result<List> {
        let prefix = kind.prefix(namespace);
        if next.as_ref().is_some_and(|next| !next.0.after.starts_with(&prefix)) {
            return Err(Error::Invalid(format!("the continue token belongs to another list than {}: list from the start", kind.plural)));
        }
        let page = self.store.list(&prefix, limit, next.map(|next| next.0)).await?;
        let items = page.items.iter().map(|item| envelope::open_parts(&self.seal, item, parts)).collect::<Result<_>>()?;
        Ok(List { resource_version: list_version(page.revision), items, next: page.next.map(Continue) })
    }

    /// All writes or none. Gives the objects of `Create` and `Update`, in that order, as they are now stored.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Object>> {
        let mut draft = Draft::default();
        for write in writes {
            draft.add(&self.seal, write)?;
        }
        match self.store.commit(draft.guards, draft.ops).await? {
            Commit::Done(revision) => {
                let stamp = |(ordinal, mut object): (u64, Object)| {
                    object.set_resource_version(revision * ORDINALS + ordinal);
                    object
                };
                Ok(draft.objects.into_iter().map(stamp).collect())
            }
            Commit::Conflict(key) => Err(self.explain(&key, draft.targets).await?),
        }
    }

    /// To be taken before what a commit depends on is read; all who write what others of them read have to name the same `key`.
    pub async fn turn(&self, key: String) -> Result<Turn> {
        let (_, item) = self.store.get(&key).await?;
        Ok(Turn(match item {
            Some(item) => Guard::Modified(key, item.modified),
            None => Guard::Absent(key),
        }))
    }

    /// Every change after `after` (a resourceVersion) to the kinds (none named: to all), in one namespace or in all, in the order
    /// of their commits. Ends after an error; [`Error::Gone`] asks for a new list.
    pub fn watch(&self, kinds: &[&'static Kind], namespace: Option<&str>, after: u64) -> BoxStream<'static, Result<Event>> {
        watch::watch(self, kinds, namespace, after, false)
    }

    /// Like [`Objects::watch`], with a [`Change::Bookmark`] whenever somebody calls [`Objects::bookmark`].
    pub fn watch_with_bookmarks(&self, kinds: &[&'static Kind], namespace: Option<&str>, after: u64) -> BoxStream<'static, Result<Event>> {
        watch::watch(self, kinds, namespace, after, true)
    }

    /// Tells every watcher that wants bookmarks how far it has seen: to be called by the server about once a minute.
    pub async fn bookmark(&self) -> Result<()> {
        let put = Op::Put { key: store::BOOKMARK.to_owned(), value: Default::default(), lease: None };
        self.store.commit(Vec::new(), vec![put]).await?;
        Ok(())
    }

    /// The resourceVersion of a list made now.
    pub async fn resource_version(&self) -> Result<u64> {
        Ok(list_version(self.store.get(store::BOOKMARK).await?.0))
    }

    /// Why a guard failed, in terms of the object that it stood for.
    async fn explain(&self, key: &str, targets: Vec<Target>) -> Result<Error> {
        let Some(target) = targets.into_iter().find(|target| target.key == key) else {
            return Ok(Error::GuardFailed { key: key.to_owned() });
        };
        let Target { kind, name, create, .. } = target;
        if create {
            return Ok(Error::AlreadyExists { kind, name });
        }
        let there = self.store.get(key).await?.1.is_some();
        Ok(if there { Error::Conflict { kind, name } } else { Error::NotFound { kind, name } })
    }
}

/// The object that a guard stands for.
struct Target {
    key: String,
    kind: &'static str,
    name: String,
    create: bool,
}

/// A commit in the making.
#[derive(Default)]
struct Draft {
    guards: Vec<Guard>,
    ops: Vec<Op>,
    targets: Vec<Target>,
    objects: Vec<(u64, Object)>,
}

impl Draft {
    fn add(&mut self, seal: &Seal, write: Write) -> Result<()> {
        match write {
            Write::Create(object) => self.put(seal, object, true),
            Write::Update(object) => self.put(seal, object, false),
            Write::Delete { kind, namespace, name, resource_version } => self.delete(kind, &namespace, &name, resource_version),
            Write::Guard(guard) => {
                self.guards.push(guard);
                Ok(())
            }
            Write::Turn(Turn(guard)) => {
                self.ops.push(Op::Put { key: guard.key().to_owned(), value: Default::default(), lease: None });
                self.guards.push(guard);
                Ok(())
            }
        }
    }

    fn put(&mut self, seal: &Seal, mut object: Object, create: bool) -> Result<()> {
        let kind = object.known_kind()?;
        let key = object.key()?;
        let version = object.take_resource_version()?;
        self.target(&key, kind, object.namespace(), object.name(), create)?;
        self.guards.push(if create { Guard::Absent(key.clone()) } else { unchanged(&key, version) });
        let ordinal = self.ops.len();
        let value = envelope::close(seal, kind, &key, ordinal, &object)?;
        self.ops.push(Op::Put { key, value, lease: None });
        self.objects.push((ordinal as u64, object));
        Ok(())
    }

    fn delete(&mut self, kind: &'static Kind, namespace: &str, name: &str, version: Option<u64>) -> Result<()> {
        let key = kind.key(namespace, name);
        self.target(&key, kind, namespace, name, false)?;
        self.guards.push(unchanged(&key, version));
        self.ops.push(Op::Delete { key });
        Ok(())
    }

    fn target(&mut self, key: &str, kind: &'static Kind, namespace: &str, name: &str, create: bool) -> Result<()> {
        let name = if kind.namespaced { format!("{namespace}/{name}") } else { name.to_owned() };
        if self.targets.iter().any(|target| target.key == key) {
            return Err(Error::Invalid(format!("the {} {name} stands in one change twice", kind.kind)));
        }
        self.targets.push(Target { key: key.to_owned(), kind: kind.kind, name, create });
        Ok(())
    }
}

fn unchanged(key: &str, resource_version: Option<u64>) -> Guard {
    match resource_version {
        Some(version) => Guard::Modified(key.to_owned(), version / ORDINALS),
        None => Guard::Exists(key.to_owned()),
    }
}

/// The resourceVersion of a list at a revision: later than each of its objects.
fn list_version(revision: Revision) -> u64 {
    revision * ORDINALS + ORDINALS - 1
}
