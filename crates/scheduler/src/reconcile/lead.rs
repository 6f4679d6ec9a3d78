//! Who of several servers leads: a key that goes with its lease when nobody keeps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;

use crate::store::{Commit, Error, Guard, LeaseId, Op, Result, Store};

/// Whoever put this key last leads.
pub const LEADER: &str = "/leader";
/// Seconds after which a leader that is not heard of has lost.
const TTL: u64 = 5;
/// How often it is heard of.
const KEEP: Duration = Duration::from_millis(1500);
/// A follower looks this often, should it have missed that the leader is gone.
const LOOK: Duration = Duration::from_secs(5);

/// Whether this process leads. Cheap to clone; all clones tell the same.
#[derive(Clone, Default)]
pub struct Leading(Arc<AtomicBool>);

impl Leading {
    /// Whether it does now, as far as it knows.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, leads: bool) {
        self.0.store(leads, Ordering::Relaxed);
    }
}

/// The lead, for as long as its key stays as it is.
pub struct Lead {
    store: Arc<dyn Store>,
    guard: Guard,
    lease: Option<LeaseId>,
}

impl Lead {
    /// Waits until nobody leads, and does so then. A store that belongs to one process is led by whoever has it.
    pub async fn take(store: &Arc<dyn Store>) -> Result<Lead> {
        let value = uuid::Uuid::new_v4().to_string();
        let put = |lease| Op::Put { key: LEADER.to_owned(), value: value.clone().into(), lease };
        let lead = |revision, lease| Lead { store: store.clone(), guard: Guard::Modified(LEADER.to_owned(), revision), lease };
        if !store.shared() {
            return match store.commit(Vec::new(), vec![put(None)]).await? {
                Commit::Done(revision) => Ok(lead(revision, None)),
                Commit::Conflict(_) => Err(Error::Unavailable("the leader's key".to_owned())),
            };
        }
        loop {
            let (seen, there) = store.get(LEADER).await?;
            if there.is_some() {
                gone(store, seen).await;
                continue;
            }
            let lease = store.lease(TTL).await?;
            match store.commit(vec![Guard::Absent(LEADER.to_owned())], vec![put(Some(lease))]).await {
                Ok(Commit::Done(revision)) => return Ok(lead(revision, Some(lease))),
                Ok(Commit::Conflict(_)) => drop(store.revoke(lease).await),
                Err(error) => {
                    // It may have been done; without its lease it is not for long.
                    let _ = store.revoke(lease).await;
                    return Err(error);
                }
            }
        }
    }

    /// Holds while this leads; every commit of a leader has it.
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Until the lead is lost.
    pub async fn keep(&self) -> Error {
        let Some(lease) = self.lease else { return std::future::pending().await };
        loop {
            tokio::time::sleep(KEEP).await;
            match self.store.keep(lease).await {
                Ok(true) => {}
                Ok(false) => return Error::NoLease(lease),
                // The store may be back before the lease ends; the guard tells who leads.
                Err(error) => tracing::debug!(%error, "the leader is not heard"),
            }
        }
    }

    /// Lets the next one lead at once.
    pub async fn give_up(&self) {
        if let Some(lease) = self.lease {
            // Where this does not work the lease ends by itself.
            let _ = self.store.revoke(lease).await;
        }
    }
}

/// Until the leader's key is gone, or may be.
async fn gone(store: &Arc<dyn Store>, seen: u64) {
    let mut watch = store.watch(LEADER, seen);
    let gone = async {
        while let Some(Ok(event)) = watch.next().await {
            if event.key() == LEADER && event.item.is_none() {
                return;
            }
        }
        // The watch broke: do not ask in a tight loop.
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    // Either way it is looked at again.
    let _ = tokio::time::timeout(LOOK, gone).await;
}
