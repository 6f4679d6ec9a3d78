//! An engine that forgets everything when it is dropped: for simulations and tests.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::hub::{self, History, Hub};
use super::{Commit, Error, Event, Guard, Item, LeaseId, MAX_OPS, Next, Op, Page, Result, Revision, Store, check_limits};

/// A store in memory. Leases need a tokio runtime with a clock.
#[derive(Clone, Default)]
pub struct Memory {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    data: Mutex<Data>,
    hub: Arc<Hub>,
}

#[derive(Default)]
struct Data {
    revision: Revision,
    compacted: Revision,
    items: BTreeMap<String, (Item, Option<LeaseId>)>,
    log: VecDeque<Event>,
    leases: HashMap<LeaseId, Lease>,
    last_lease: LeaseId,
}

struct Lease {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<String>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Memory {
        Memory::default()
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<(Revision, Option<Item>)> {
        let data = self.state.data.lock();
        Ok((data.revision, data.items.get(key).map(|(item, _)| item.clone())))
    }

    async fn list(&self, prefix: &str, limit: usize, next: Option<Next>) -> Result<Page> {
        let data = self.state.data.lock();
        let revision = next.as_ref().map_or(data.revision, |next| next.revision);
        let mut items = data.at(prefix, revision)?;
        if let Some(next) = next {
            items = items.split_off(&next.after);
            items.remove(&next.after);
        }
        let more = limit > 0 && items.len() > limit;
        let items: Vec<Item> = items.into_values().take(if limit == 0 { usize::MAX } else { limit }).collect();
        let next = items.last().filter(|_| more).map(|last| Next { revision, after: last.key.clone() });
        Ok(Page { revision, items, next })
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<Commit> {
        check_limits(&guards, &ops)?;
        let mut data = self.state.data.lock();
        if let Some(failed) = guards.iter().find(|guard| !guard.holds(data.items.get(guard.key()).map(|(item, _)| item.modified))) {
            return Ok(Commit::Conflict(failed.key().to_owned()));
        }
        let leases = ops.iter().filter_map(|op| if let Op::Put { lease, .. } = op { *lease } else { None });
        for lease in leases {
            data.living(lease)?;
        }
        let events = data.apply(ops);
        // Published under the lock, so that commits reach the hub in order.
        if !events.is_empty() {
            self.state.hub.publish(data.revision, &events);
        }
        Ok(Commit::Done(data.revision))
    }

    fn watch(&self, prefix: &str, after: Revision) -> BoxStream<'static, Result<Event>> {
        hub::watch(&self.state.hub, &self.state, prefix, after)
    }

    async fn lease(&self, ttl: u64) -> Result<LeaseId> {
        let ttl = Duration::from_secs(ttl);
        let mut data = self.state.data.lock();
        data.last_lease += 1;
        let id = data.last_lease;
        let ends = Instant::now() + ttl;
        data.leases.insert(id, Lease { ttl, ends, keys: BTreeSet::new() });
        tokio::spawn(expire(Arc::downgrade(&self.state), id, ends));
        Ok(id)
    }

    async fn keep(&self, lease: LeaseId) -> Result<bool> {
        let mut data = self.state.data.lock();
        Ok(data.living(lease).map(|lease| lease.ends = Instant::now() + lease.ttl).is_ok())
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.state.end(lease, |_| true).ok_or(Error::NoLease(lease))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        let mut data = self.state.data.lock();
        data.compacted = data.compacted.max(revision.min(data.revision));
        let kept = data.log.partition_point(|event| event.revision <= data.compacted);
        data.log.drain(..kept);
        Ok(())
    }
}

async fn expire(state: std::sync::Weak<State>, id: LeaseId, mut ends: Instant) {
    loop {
        tokio::time::sleep_until(ends).await;
        let Some(state) = state.upgrade() else { return };
        if state.end(id, |lease| lease.ends <= Instant::now()).is_some() {
            return;
        }
        let Some(later) = state.data.lock().leases.get(&id).map(|lease| lease.ends) else { return };
        ends = later;
    }
}

impl State {
    /// Ends a lease that is there and for which `when` says so.
    fn end(&self, id: LeaseId, when: impl Fn(&Lease) -> bool) -> Option<()> {
        let mut data = self.data.lock();
        data.leases.get(&id).filter(|lease| when(lease))?;
        let keys: Vec<String> = data.leases.remove(&id)?.keys.into_iter().collect();
        for keys in keys.chunks(MAX_OPS) {
            let events = data.apply(keys.iter().map(|key| Op::Delete { key: key.clone() }).collect());
            self.hub.publish(data.revision, &events);
        }
        Some(())
    }
}

impl Data {
    fn living(&mut self, id: LeaseId) -> Result<&mut Lease> {
        self.leases.get_mut(&id).filter(|lease| lease.ends > Instant::now()).ok_or(Error::NoLease(id))
    }

    /// What was under `prefix` at `revision`: what is there now, with every later event undone.
    fn at(&self, prefix: &str, revision: Revision) -> Result<BTreeMap<String, Item>> {
        self.check_compacted(revision)?;
        let under = self.items.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let mut items: BTreeMap<String, Item> = under.map(|(key, (item, _))| (key.clone(), item.clone())).collect();
        let later = self.log.iter().rev().take_while(|event| event.revision > revision);
        for event in later.filter(|event| event.key().starts_with(prefix)) {
            match &event.previous {
                Some(previous) => items.insert(previous.key.clone(), previous.clone()),
                None => items.remove(event.key()),
            };
        }
        Ok(items)
    }

    fn check_compacted(&self, asked: Revision) -> Result<()> {
        if asked < self.compacted { Err(Error::Compacted { asked, oldest: self.compacted }) } else { Ok(()) }
    }

    fn apply(&mut self, ops: Vec<Op>) -> Vec<Event> {
        let revision = self.revision + 1;
        let mut events = Vec::with_capacity(ops.len());
        for (ordinal, op) in (0u8..).zip(ops) {
            let (item, previous) = match op {
                Op::Put { key, value, lease } => self.put(key, value, lease, revision),
                Op::Delete { key } => (None, self.remove(&key)),
            };
            if item.is_some() || previous.is_some() {
                events.push(Event { revision, ordinal, item, previous });
            }
        }
        if !events.is_empty() {
            self.revision = revision;
            self.log.extend(events.iter().cloned());
        }
        events
    }

    fn put(&mut self, key: String, value: Bytes, lease: Option<LeaseId>, revision: Revision) -> (Option<Item>, Option<Item>) {
        let previous = self.remove(&key);
        let created = previous.as_ref().map_or(revision, |item| item.created);
        if let Some(lease) = lease.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.insert(key.clone());
        }
        let item = Item { key: key.clone(), value, created, modified: revision };
        self.items.insert(key, (item.clone(), lease));
        (Some(item), previous)
    }

    fn remove(&mut self, key: &str) -> Option<Item> {
        let (item, lease) = self.items.remove(key)?;
        if let Some(lease) = lease.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.remove(key);
        }
        Some(item)
    }
}

#[async_trait]
impl History for State {
    async fn replay(self: Arc<Self>, prefix: String, after: Revision, upto: Revision, limit: usize) -> Result<(Vec<Event>, Revision)> {
        let data = self.data.lock();
        data.check_compacted(after)?;
        let mut events: Vec<Event> = Vec::new();
        let start = data.log.partition_point(|event| event.revision <= after);
        for event in data.log.range(start..).take_while(|event| event.revision <= upto) {
            if let Some(last) = events.last().filter(|last| events.len() >= limit && last.revision < event.revision) {
                let reached = last.revision;
                return Ok((events, reached));
            }
            if hub::concerns(&prefix, event.key()) {
                events.push(event.clone());
            }
        }
        Ok((events, upto))
    }
}
