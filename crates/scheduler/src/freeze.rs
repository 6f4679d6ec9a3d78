//! Stops the scheduler, and lets it go on: a key in the store, which every decision's commit wants to be absent.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::store::{Commit, Error, Event, Guard, Op, Result, Store};

/// While there is something under it, nothing is decided.
pub const KEY: &str = "/frozen";

/// Who stopped the scheduler, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Who asks, as in the audit log.
    pub by: String,
    /// When, RFC 3339.
    pub since: String,
    /// Why, in words of whoever did it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The store was restored from a backup: until somebody has looked, nodes are told of no pods, and go on with those they run.
    #[serde(default)]
    pub restored: bool,
}

/// Whether the scheduler is stopped, and by whom.
pub async fn get(store: &dyn Store) -> Result<Option<Frozen>> {
    let (_, item) = store.get(KEY).await?;
    Ok(item.map(|item| {
        // Whatever is there stops the scheduler.
        let unread = || Frozen { by: "unknown".to_owned(), since: String::new(), why: String::new(), restored: false };
        serde_json::from_slice(&item.value).unwrap_or_else(|_| unread())
    }))
}

/// The write that stops the scheduler.
pub fn op(frozen: &Frozen) -> Op {
    Op::Put { key: KEY.to_owned(), value: serde_json::json!(frozen).to_string().into(), lease: None }
}

/// Stops the scheduler; what it does not say about an earlier stop stays. When this is answered, nothing more is decided.
pub async fn freeze(store: &dyn Store, mut frozen: Frozen) -> Result<Frozen> {
    if let Some(before) = get(store).await? {
        frozen.restored |= before.restored;
    }
    store.commit(Vec::new(), vec![op(&frozen)]).await?;
    Ok(frozen)
}

/// Lets the scheduler go on; false if it was not stopped.
pub async fn thaw(store: &dyn Store) -> Result<bool> {
    let done = store.commit(vec![Guard::Exists(KEY.to_owned())], vec![Op::Delete { key: KEY.to_owned() }]).await?;
    Ok(matches!(done, Commit::Done(_)))
}

/// Follows whether the scheduler is stopped.
pub(crate) struct Freezes {
    frozen: bool,
    events: BoxStream<'static, Result<Event>>,
}

impl Freezes {
    pub(crate) async fn start(store: &Arc<dyn Store>) -> Result<Freezes> {
        let (revision, item) = store.get(KEY).await?;
        Ok(Freezes { frozen: item.is_some(), events: store.watch(KEY, revision) })
    }

    /// For every commit of a decision.
    pub(crate) fn guard() -> Guard {
        Guard::Absent(KEY.to_owned())
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Waits until that changes.
    pub(crate) async fn changed(&mut self) -> Result<()> {
        loop {
            let event = self.events.next().await.ok_or_else(|| Error::Unavailable("the watch ended".to_owned()))??;
            if event.key() == KEY && event.item.is_some() != self.frozen {
                self.frozen = event.item.is_some();
                return Ok(());
            }
        }
    }
}
