//! Keys and values with revisions, guards and watches: one trait, several engines, one conformance test.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub mod etcd;
mod hub;
pub mod memory;
pub mod redb;
pub mod retain;

/// Counts commits: each commit that changes something makes the next one. The first is 1.
pub type Revision = u64;

/// Names a lease while it lives; never reused.
pub type LeaseId = i64;

/// Most ops, and most guards, that one commit may hold (etcd's limit, kept by every engine).
pub const MAX_OPS: usize = 128;
/// Most bytes of keys and values that one commit may hold (etcd's limit is for a request).
pub const MAX_COMMIT_BYTES: usize = 1_500_000;

/// Every watch, whatever its prefix, is told of puts to this key: a server writes it now and then, so that an idle watcher
/// learns how far it has seen.
pub const BOOKMARK: &str = "/bookmark";

/// A key, its value and when it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The whole key.
    pub key: String,
    /// What was put.
    pub value: Bytes,
    /// The revision that made it.
    pub created: Revision,
    /// The revision that last put it.
    pub modified: Revision,
}

/// What must be true for a commit to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The key has a value.
    Exists(String),
    /// The key has no value.
    Absent(String),
    /// The key was last put by this revision.
    Modified(String, Revision),
}

/// One change of a commit. A key stands in at most one op of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a value; with a lease, the key goes when the lease does.
    Put {
        /// The whole key.
        key: String,
        /// Any bytes.
        value: Bytes,
        /// The lease that the key lives by, if any.
        lease: Option<LeaseId>,
    },
    /// Removes a key; nothing happens (and no event is made) where it is absent.
    Delete {
        /// The whole key.
        key: String,
    },
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// All ops are durable under this revision.
    Done(Revision),
    /// A guard did not hold and nothing was changed; the key of the first such guard.
    Conflict(String),
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The revision that all pages of this list show.
    pub revision: Revision,
    /// In order of key.
    pub items: Vec<Item>,
    /// Hand this to `list` for the next page.
    pub next: Option<Next>,
}

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// The revision of the first page.
    pub revision: Revision,
    /// The last key already given.
    pub after: String,
}

/// One change, as a watch tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The commit that made it.
    pub revision: Revision,
    /// Its place among the ops of that commit, from 0.
    pub ordinal: u8,
    /// The key's new state; of a deletion `None`.
    pub item: Option<Item>,
    /// The key's state before.
    pub previous: Option<Item>,
}

/// What can go wrong. After any error a caller may read again; after [`Error::Broken`] nothing will be acknowledged any more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// History before this revision is gone: list again, then watch from there.
    #[error("revision {asked} was compacted; the oldest that can be read is {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can still be asked for.
        oldest: Revision,
    },
    /// More than [`MAX_OPS`] or [`MAX_COMMIT_BYTES`], or a key twice.
    #[error("the commit was refused: {0}")]
    Refused(String),
    /// The lease ended or never was.
    #[error("there is no lease {0}")]
    NoLease(LeaseId),
    /// A write or fsync failed (disk full, device gone); reads go on, and nothing was acknowledged.
    #[error("the store cannot write: {0}")]
    Unwritable(String),
    /// The data on disk is not what was written.
    #[error("the store is damaged: {0}")]
    Broken(String),
    /// The engine did not answer in time, was closed, or is held by another process.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// A newer wctl wrote this store; it was left as it is.
    #[error("the store has format {found}, and this wctl knows formats up to {known}: use the newer wctl again")]
    Newer {
        /// The format on disk.
        found: u64,
        /// The newest that this binary reads.
        known: u64,
    },
}

/// A `Result` of the store.
pub type Result<T> = std::result::Result<T, Error>;

/// What every engine does, and the conformance test checks.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The key's item, with the revision at which this was so.
    async fn get(&self, key: &str) -> Result<(Revision, Option<Item>)>;

    /// Up to `limit` items (0: all) whose keys start with `prefix`, in order; later pages show the revision of the first.
    async fn list(&self, prefix: &str, limit: usize, next: Option<Next>) -> Result<Page>;

    /// All ops or none, under one new revision, durable before the answer. A commit whose ops change nothing makes no revision.
    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<Commit>;

    /// Every event after revision `after` for keys that start with `prefix`: in order, once, none skipped. The stream ends
    /// after an error.
    fn watch(&self, prefix: &str, after: Revision) -> BoxStream<'static, Result<Event>>;

    /// A new lease that ends `ttl` seconds after it was last kept.
    async fn lease(&self, ttl: u64) -> Result<LeaseId>;

    /// Whether the lease still lived, and now lives on.
    async fn keep(&self, lease: LeaseId) -> Result<bool>;

    /// Ends a lease, and deletes its keys, now.
    async fn revoke(&self, lease: LeaseId) -> Result<()>;

    /// Forgets history up to `revision` (later than the newest means the newest): watches after an older revision, and pages
    /// of one, get [`Error::Compacted`]; what is current stays.
    async fn compact(&self, revision: Revision) -> Result<()>;

    /// Whether other processes may use the same store at the same time.
    fn shared(&self) -> bool {
        false
    }

    /// Ends the store for everybody who has it: what was asked before is answered, its files are closed, and what is asked from now on
    /// gets [`Error::Unavailable`]. An engine that holds nothing open has nothing to do.
    async fn close(&self) {}
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &str {
        self.item.as_ref().or(self.previous.as_ref()).map_or("", |item| &item.key)
    }
}

/// Refuses what etcd would refuse, before an engine looks at it.
fn check_limits(guards: &[Guard], ops: &[Op]) -> Result<()> {
    if ops.len() > MAX_OPS || guards.len() > MAX_OPS {
        let (ops, guards) = (ops.len(), guards.len());
        return Err(Error::Refused(format!("it has {ops} ops and {guards} guards; at most {MAX_OPS} of each fit in one")));
    }
    let bytes: usize = guards.iter().map(|guard| guard.key().len()).sum::<usize>() + ops.iter().map(Op::bytes).sum::<usize>();
    if bytes > MAX_COMMIT_BYTES {
        return Err(Error::Refused(format!("its {bytes} bytes are more than the {MAX_COMMIT_BYTES} that fit in one")));
    }
    let mut keys = std::collections::HashSet::new();
    match ops.iter().find(|op| !keys.insert(op.key())) {
        Some(op) => Err(Error::Refused(format!("the key {} stands in it twice", op.key()))),
        None => Ok(()),
    }
}

impl Guard {
    /// The key that it looks at.
    pub fn key(&self) -> &str {
        match self {
            Guard::Exists(key) | Guard::Absent(key) | Guard::Modified(key, _) => key,
        }
    }

    /// Whether it holds for a key that was last put by `modified`, `None` where it is absent.
    fn holds(&self, modified: Option<Revision>) -> bool {
        match self {
            Guard::Exists(_) => modified.is_some(),
            Guard::Absent(_) => modified.is_none(),
            Guard::Modified(_, revision) => modified == Some(*revision),
        }
    }
}

impl Op {
    /// The key that it changes.
    pub fn key(&self) -> &str {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        }
    }
}
