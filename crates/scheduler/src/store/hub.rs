//! Brings each commit to the watchers of its keys, and lets a slow watcher catch up from the engine's history.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{BOOKMARK, Error, Event, Result, Revision};

/// Commits that may wait for one watcher; one that is slower than this reads the history instead.
const BUFFER: usize = 256;
/// Events that a watcher reads from the history at once.
const PAGE: usize = 512;

/// What an engine remembers.
#[async_trait]
pub(super) trait History: Send + Sync + 'static {
    /// The events of whole revisions in `after..=upto` (without `after`) under `prefix`, or at [`BOOKMARK`], in order, stopping
    /// after the revision that fills `limit`; and the revision reached.
    async fn replay(self: Arc<Self>, prefix: String, after: Revision, upto: Revision, limit: usize) -> Result<(Vec<Event>, Revision)>;
}

/// Whether a watch of `prefix` is told of a change of `key`.
pub(super) fn concerns(prefix: &str, key: &str) -> bool {
    key.starts_with(prefix) || key == BOOKMARK
}

/// The events of one commit that concern one prefix.
#[derive(Clone)]
struct Batch {
    revision: Revision,
    events: Arc<[Event]>,
}

/// All live watchers of one engine, by prefix.
#[derive(Default)]
pub(super) struct Hub {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    published: Revision,
    ended: bool,
    next_id: u64,
    watchers: HashMap<String, HashMap<u64, mpsc::Sender<Batch>>>,
    /// How many prefixes there are of each length, so that a key is looked up once for each length that is watched.
    lengths: BTreeMap<usize, usize>,
}

impl Hub {
    /// A hub of an engine whose newest revision is `published`.
    pub(super) fn new(published: Revision) -> Hub {
        Hub { inner: Mutex::new(Inner { published, ..Inner::default() }) }
    }

    /// Hands a durable commit to everyone whom it concerns, without waiting for anyone. Commits must come in order.
    pub(super) fn publish(&self, revision: Revision, events: &[Event]) {
        let mut inner = self.inner.lock();
        inner.published = revision;
        for (prefix, events) in inner.concerned(events) {
            inner.send(&prefix, &Batch { revision, events: events.into() });
        }
    }

    /// The newest revision that watchers were told of.
    pub(super) fn published(&self) -> Revision {
        self.inner.lock().published
    }

    /// Nobody will be told of what came up to this revision: every watcher looks into the history, which says so.
    pub(super) fn skip(&self, revision: Revision) {
        let mut inner = self.inner.lock();
        inner.published = inner.published.max(revision);
        inner.watchers.clear();
        inner.lengths.clear();
    }

    /// There is nothing to come any more.
    pub(super) fn end(&self) {
        let mut inner = self.inner.lock();
        inner.ended = true;
        inner.watchers.clear();
        inner.lengths.clear();
    }

    fn subscribe(self: &Arc<Self>, prefix: &str) -> Result<(Revision, Live)> {
        let (sender, receiver) = mpsc::channel(BUFFER);
        let mut inner = self.inner.lock();
        if inner.ended {
            return Err(closed());
        }
        let id = inner.next_id;
        inner.next_id += 1;
        if !inner.watchers.contains_key(prefix) {
            *inner.lengths.entry(prefix.len()).or_default() += 1;
        }
        inner.watchers.entry(prefix.to_owned()).or_default().insert(id, sender);
        Ok((inner.published, Live { hub: Arc::downgrade(self), prefix: prefix.to_owned(), id, receiver }))
    }

    /// How many watchers are live.
    #[cfg(test)]
    pub(super) fn watchers(&self) -> usize {
        self.inner.lock().watchers.values().map(HashMap::len).sum()
    }
}

impl Inner {
    fn concerned(&self, events: &[Event]) -> BTreeMap<String, Vec<Event>> {
        let mut found: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for event in events {
            if event.key() == BOOKMARK {
                for prefix in self.watchers.keys() {
                    found.entry(prefix.clone()).or_default().push(event.clone());
                }
                continue;
            }
            for length in self.lengths.keys() {
                let Some(prefix) = event.key().get(..*length) else { continue };
                if self.watchers.contains_key(prefix) {
                    found.entry(prefix.to_owned()).or_default().push(event.clone());
                }
            }
        }
        found
    }

    fn send(&mut self, prefix: &str, batch: &Batch) {
        let Some(watchers) = self.watchers.get_mut(prefix) else { return };
        // Whoever is full loses its channel, drains what it holds and goes on from the history.
        watchers.retain(|_, sender| sender.try_send(batch.clone()).is_ok());
        self.forget_if_empty(prefix);
    }

    fn forget_if_empty(&mut self, prefix: &str) {
        if self.watchers.get(prefix).is_none_or(|watchers| !watchers.is_empty()) {
            return;
        }
        self.watchers.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }
}

/// One watcher's place in the hub, given up when dropped.
struct Live {
    hub: Weak<Hub>,
    prefix: String,
    id: u64,
    receiver: mpsc::Receiver<Batch>,
}

impl Drop for Live {
    fn drop(&mut self) {
        let Some(hub) = self.hub.upgrade() else { return };
        let mut inner = hub.inner.lock();
        if let Some(watchers) = inner.watchers.get_mut(&self.prefix) {
            watchers.remove(&self.id);
            inner.forget_if_empty(&self.prefix);
        }
    }
}

struct Watch<H> {
    hub: Weak<Hub>,
    history: Weak<H>,
    prefix: String,
    /// Every event up to this revision was handed out, or waits in `ready`.
    cursor: Revision,
    /// The history is read up to here; what is later comes from `live`.
    upto: Revision,
    live: Option<Live>,
    ready: VecDeque<Event>,
    ended: bool,
}

/// The watch of an engine: first its history, then what is published. Neither hub nor history is kept alive by it.
pub(super) fn watch<H: History>(hub: &Arc<Hub>, history: &Arc<H>, prefix: &str, after: Revision) -> BoxStream<'static, Result<Event>> {
    let watch = Watch {
        hub: Arc::downgrade(hub),
        history: Arc::downgrade(history),
        prefix: prefix.to_owned(),
        cursor: after,
        upto: after,
        live: None,
        ready: VecDeque::new(),
        ended: false,
    };
    stream::unfold(watch, |mut watch| async move {
        if watch.ended {
            return None;
        }
        let next = watch.next().await;
        watch.ended = next.is_err();
        Some((next, watch))
    })
    .boxed()
}

impl<H: History> Watch<H> {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.cursor < self.upto {
                self.catch_up().await?;
            } else if let Some(live) = &mut self.live {
                match live.receiver.recv().await {
                    Some(batch) if batch.revision > self.cursor => {
                        self.cursor = batch.revision;
                        self.ready.extend(batch.events.iter().cloned());
                    }
                    Some(_) => {}
                    None => self.live = None,
                }
            } else {
                let (published, live) = self.hub.upgrade().ok_or_else(closed)?.subscribe(&self.prefix)?;
                self.upto = published;
                self.live = Some(live);
            }
        }
    }

    async fn catch_up(&mut self) -> Result<()> {
        let history = self.history.upgrade().ok_or_else(closed)?;
        let (events, reached) = history.replay(self.prefix.clone(), self.cursor, self.upto, PAGE).await?;
        self.ready.extend(events);
        self.cursor = reached;
        Ok(())
    }
}

fn closed() -> Error {
    Error::Unavailable("it was closed".to_owned())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::store::memory::Memory;
    use crate::store::{Op, Store};

    #[tokio::test]
    async fn a_dropped_watch_leaves_nothing_behind() {
        struct Nothing;
        #[async_trait]
        impl History for Nothing {
            async fn replay(self: Arc<Self>, _: String, _: Revision, upto: Revision, _: usize) -> Result<(Vec<Event>, Revision)> {
                Ok((Vec::new(), upto))
            }
        }
        let (hub, history) = (Arc::new(Hub::new(0)), Arc::new(Nothing));
        let mut watches: Vec<_> = ["/a", "/a", "/b/c"].iter().map(|prefix| watch(&hub, &history, prefix, 0)).collect();
        watches.iter_mut().for_each(|watch| assert!(watch.next().now_or_never().is_none()));
        assert_eq!(hub.watchers(), 3);
        drop(watches.remove(0));
        assert_eq!(hub.watchers(), 2);
        drop(watches);
        assert_eq!(hub.watchers(), 0);
        assert!(hub.inner.lock().lengths.is_empty());
    }

    #[tokio::test]
    async fn a_watch_of_a_closed_store_ends_with_an_error() {
        let store = Memory::new();
        store.commit(vec![], vec![Op::Put { key: "/a".to_owned(), value: "1".into(), lease: None }]).await.unwrap();
        let mut watch = store.watch("/", 1);
        assert!(watch.next().now_or_never().is_none());
        drop(store);
        assert!(matches!(watch.next().await, Some(Err(Error::Unavailable(_)))));
        assert!(watch.next().await.is_none());
    }
}
