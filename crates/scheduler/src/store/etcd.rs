//! The engine for several servers: an etcd (v3, 3.4 or newer) that they share.
//!
//! A revision of the store is etcd's less one, since an empty etcd is at 1. Each value is led by a byte: the place of its op in
//! its commit, which etcd does not tell. One watch of everything feeds a [`Hub`], as in the other engines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::hub::{self, Hub};
use super::{Commit, Error, Event, Guard, Item, LeaseId, Next, Op, Page, Result, Revision, Store, check_limits};

mod feed;
mod line;
mod members;
mod options;
mod past;
mod wire;

use members::{Again, Members};
pub use options::{Options, Tls};
use past::Past;
use wire::{Request, RequestOp, path};

/// The oldest etcd that is known to work.
const OLDEST: (u64, u64) = (3, 4);
/// Items that are asked for at once.
const PAGE: usize = 500;

/// A store in an etcd. Cheap to clone.
#[derive(Clone)]
pub struct Etcd {
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

/// What the engine, its watches and its feed have in common.
struct Shared {
    members: Members,
    names: Names,
    hub: Arc<Hub>,
    past: Arc<Past>,
    closed: AtomicBool,
    stop: CancellationToken,
}

/// How keys are called in etcd: under the cluster's name.
#[derive(Clone)]
struct Names(String);

impl Names {
    fn outer(&self, key: &str) -> Vec<u8> {
        format!("{}{key}", self.0).into_bytes()
    }

    /// The first key after all that start with this.
    fn end(&self, prefix: &str) -> Vec<u8> {
        let mut end = self.outer(prefix);
        // The name ends in a slash, so there is a byte, and no text has a byte of 0xff.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        end
    }

    fn inner(&self, key: &[u8]) -> Option<String> {
        std::str::from_utf8(key).ok()?.strip_prefix(&self.0).map(str::to_owned)
    }

    /// An item, and its op's place in its commit.
    fn item(&self, kv: &wire::KeyValue) -> Result<(Item, u8)> {
        let unreadable = || Error::Broken(format!("the key {} in etcd was not written by wctl", String::from_utf8_lossy(&kv.key)));
        let key = self.inner(&kv.key).ok_or_else(unreadable)?;
        let ordinal = *kv.value.first().ok_or_else(unreadable)?;
        let (created, modified) = (inner_revision(kv.create_revision), inner_revision(kv.mod_revision));
        Ok((Item { key, value: kv.value.slice(1..), created, modified }, ordinal))
    }
}

fn inner_revision(revision: i64) -> Revision {
    u64::try_from(revision - 1).unwrap_or(0)
}

fn outer_revision(revision: Revision) -> i64 {
    i64::try_from(revision).map_or(i64::MAX, |revision| revision.saturating_add(1))
}

fn header(header: Option<&wire::Header>) -> Result<Revision> {
    header.map(|header| inner_revision(header.revision)).ok_or_else(|| Error::Unavailable("etcd answers without a revision".to_owned()))
}

impl Etcd {
    /// Finds a member that answers, checks what it is, and begins to watch.
    pub async fn open(options: &Options) -> Result<Etcd> {
        let members = Members::new(options)?;
        let status: wire::Status = members.ask(path::STATUS, wire::Nothing {}, Again::Yes).await?;
        if version(&status.version).is_some_and(|found| found < OLDEST) {
            let (major, minor) = OLDEST;
            return Err(Error::Unavailable(format!("this etcd is {}; wctl needs {major}.{minor} or newer", status.version)));
        }
        let names = Names(format!("{}/", options.name));
        let base = newest(&members, &names).await?;
        let (past, stop) = (Arc::new(Past::new(base)), CancellationToken::new());
        let hub = Arc::new(Hub::new(base));
        let shared = Arc::new(Shared { members, names, hub, past, closed: AtomicBool::new(false), stop: stop.clone() });
        tokio::spawn(stop.clone().run_until_cancelled_owned(feed::run(shared.clone())));
        Ok(Etcd { shared, _stop: Arc::new(stop.drop_guard()) })
    }
}

fn version(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// The revision of the last change that is still there to be seen.
async fn newest(members: &Members, names: &Names) -> Result<Revision> {
    let (key, range_end) = (names.outer(""), names.end(""));
    let question = wire::RangeRequest { key, range_end, limit: 1, sort_order: 2, sort_target: 3, keys_only: true, ..Default::default() };
    let answer: wire::RangeResponse = members.ask(path::RANGE, question, Again::Yes).await?;
    Ok(answer.kvs.first().map_or(0, |kv| inner_revision(kv.mod_revision)))
}

impl Shared {
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) { Err(Error::Unavailable("it was closed".to_owned())) } else { Ok(()) }
    }

    async fn range(&self, question: wire::RangeRequest) -> Result<wire::RangeResponse> {
        self.check_open()?;
        let asked = inner_revision(question.revision);
        match self.members.ask(path::RANGE, question, Again::Yes).await {
            Err(Error::Compacted { .. }) => Err(Error::Compacted { asked, oldest: feed::oldest(self).await? }),
            answered => answered,
        }
    }

    /// Which of several leases it was that etcd does not know.
    async fn dead_lease(&self, ops: &[Op]) -> Result<Error> {
        let leases: Vec<LeaseId> = ops.iter().filter_map(|op| if let Op::Put { lease, .. } = op { *lease } else { None }).collect();
        for id in &leases {
            let left: wire::LeaseLeft = self.members.ask(path::LEASE_LEFT, wire::LeaseAsk { id: *id }, Again::Yes).await?;
            if left.ttl <= 0 {
                return Ok(Error::NoLease(*id));
            }
        }
        Ok(Error::NoLease(leases.first().copied().unwrap_or(0)))
    }

    fn compare(&self, guard: &Guard) -> wire::Compare {
        let (target, with) = match guard {
            // Whatever exists was made by a revision that is not 0: "not equal" is the 3 of the result.
            Guard::Exists(_) | Guard::Absent(_) => (1, wire::Compared::Created(0)),
            Guard::Modified(_, revision) => (2, wire::Compared::Modified(outer_revision(*revision))),
        };
        let result = if matches!(guard, Guard::Exists(_)) { 3 } else { 0 };
        wire::Compare { result, target, key: self.names.outer(guard.key()), with: Some(with) }
    }

    fn op(&self, ordinal: u8, op: &Op) -> RequestOp {
        let request = match op {
            Op::Put { key, value, lease } => {
                let mut led = BytesMut::with_capacity(value.len() + 1);
                led.put_u8(ordinal);
                led.extend_from_slice(value);
                Request::Put(wire::PutRequest { key: self.names.outer(key), value: led.freeze(), lease: lease.unwrap_or(0) })
            }
            Op::Delete { key } => Request::Delete(wire::DeleteRequest { key: self.names.outer(key) }),
        };
        RequestOp { request: Some(request) }
    }

    /// Asked where a guard did not hold, to find out which.
    fn look(&self, guard: &Guard) -> RequestOp {
        let key = self.names.outer(guard.key());
        RequestOp { request: Some(Request::Range(wire::RangeRequest { key, keys_only: true, ..Default::default() })) }
    }
}

#[async_trait]
impl Store for Etcd {
    async fn get(&self, key: &str) -> Result<(Revision, Option<Item>)> {
        let key = self.shared.names.outer(key);
        let answer = self.shared.range(wire::RangeRequest { key, ..Default::default() }).await?;
        let item = answer.kvs.first().map(|kv| self.shared.names.item(kv)).transpose()?;
        Ok((header(answer.header.as_ref())?, item.map(|(item, _)| item)))
    }

    async fn list(&self, prefix: &str, limit: usize, next: Option<Next>) -> Result<Page> {
        let names = &self.shared.names;
        let (range_end, limit) = (names.end(prefix), if limit == 0 { usize::MAX } else { limit });
        let (mut revision, mut key) = match &next {
            // The first key that is greater.
            Some(next) => (Some(next.revision), names.outer(&format!("{}\0", next.after))),
            None => (None, names.outer(prefix)),
        };
        let (mut items, mut page) = (Vec::new(), PAGE);
        loop {
            let asked = page.min(limit - items.len());
            let at = revision.map_or(0, outer_revision);
            let question = wire::RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                limit: asked as i64,
                revision: at,
                ..Default::default()
            };
            let answer = match self.shared.range(question).await {
                // The values are large: fewer at once.
                Err(Error::Refused(_)) if page > 1 => {
                    page /= 4;
                    page = page.max(1);
                    continue;
                }
                answered => answered?,
            };
            let revision = *revision.get_or_insert(header(answer.header.as_ref())?);
            for kv in &answer.kvs {
                items.push(names.item(kv)?.0);
            }
            let last = items.last().filter(|_| answer.more).map(|item: &Item| item.key.clone());
            match last {
                None => return Ok(Page { revision, items, next: None }),
                Some(after) if items.len() >= limit => return Ok(Page { revision, items, next: Some(Next { revision, after }) }),
                Some(after) => key = names.outer(&format!("{after}\0")),
            }
        }
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<Commit> {
        check_limits(&guards, &ops)?;
        let shared = &self.shared;
        shared.check_open()?;
        let question = wire::TxnRequest {
            compare: guards.iter().map(|guard| shared.compare(guard)).collect(),
            success: (0..).zip(&ops).map(|(ordinal, op)| shared.op(ordinal, op)).collect(),
            failure: guards.iter().map(|guard| shared.look(guard)).collect(),
        };
        let answer: wire::TxnResponse = match shared.members.ask(path::TXN, question, Again::No).await {
            Err(Error::NoLease(_)) => return Err(shared.dead_lease(&ops).await?),
            answered => answered?,
        };
        if answer.succeeded {
            return Ok(Commit::Done(header(answer.header.as_ref())?));
        }
        let seen = answer.responses.iter().map(|response| {
            let found = response.range.as_ref().and_then(|range| range.kvs.first());
            found.map(|kv| inner_revision(kv.mod_revision))
        });
        let failed = guards.iter().zip(seen).find(|(guard, modified)| !guard.holds(*modified));
        let failed = failed.map_or_else(|| guards.first().map_or("", Guard::key), |(guard, _)| guard.key());
        Ok(Commit::Conflict(failed.to_owned()))
    }

    fn watch(&self, prefix: &str, after: Revision) -> BoxStream<'static, Result<Event>> {
        match self.shared.check_open().and_then(|()| self.shared.past.check(after)) {
            Ok(()) => hub::watch(&self.shared.hub, &self.shared, prefix, after),
            Err(error) => stream::once(std::future::ready(Err(error))).boxed(),
        }
    }

    async fn lease(&self, ttl: u64) -> Result<LeaseId> {
        self.shared.check_open()?;
        let ttl = i64::try_from(ttl).unwrap_or(i64::MAX).max(1);
        // A grant that nobody heard of ends by itself.
        let granted: wire::LeaseGranted = self.shared.members.ask(path::LEASE_GRANT, wire::LeaseGrant { ttl }, Again::Yes).await?;
        Ok(granted.id)
    }

    async fn keep(&self, lease: LeaseId) -> Result<bool> {
        self.shared.check_open()?;
        let member = self.shared.members.current();
        let kept = feed::keep(&self.shared, member, lease).await;
        if kept.is_err() {
            self.shared.members.leave(member);
            return feed::keep(&self.shared, self.shared.members.current(), lease).await;
        }
        kept
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.shared.check_open()?;
        let asked = self.shared.members.ask::<_, wire::HeaderOnly>(path::LEASE_REVOKE, wire::LeaseAsk { id: lease }, Again::No).await;
        match asked {
            Err(Error::NoLease(_)) => Err(Error::NoLease(lease)),
            other => other.map(drop),
        }
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        let newest = self.get("").await?.0;
        let revision = revision.min(newest);
        if revision == 0 {
            return Ok(());
        }
        let question = wire::CompactRequest { revision: outer_revision(revision) };
        match self.shared.members.ask::<_, wire::HeaderOnly>(path::COMPACT, question, Again::Yes).await {
            // Somebody was here before.
            Ok(_) | Err(Error::Compacted { .. }) => {
                self.shared.past.forget(revision);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn shared(&self) -> bool {
        true
    }

    async fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.stop.cancel();
        self.shared.hub.end();
    }
}
