//! Commits of one group, applied one after another within one write of redb.

use redb::{ReadableTable, Table, WriteTransaction};

use super::Read;
use super::record::{Place, Pointer, Put, Record};
use super::view::{COMPACTED, CURRENT, LAST_LEASE, LEASE_KEYS, LEASES, META, RECORDS, REVISION, SWEPT, item, number, record};
use crate::store::{Commit, Event, Guard, Item, LeaseId, MAX_OPS, Op, Revision};

/// What a group has done so far.
pub(super) struct Staging<'t> {
    current: Table<'t, &'static str, u64>,
    records: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, u64>,
    leases: Table<'t, i64, u64>,
    lease_keys: Table<'t, (i64, &'static str), ()>,
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    /// Of each revision that the group made.
    pub(super) commits: Vec<(Revision, Vec<Event>)>,
    /// Whether there is anything to make durable.
    pub(super) changed: bool,
}

impl<'t> Staging<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Read<Staging<'t>> {
        let meta = transaction.open_table(META)?;
        Ok(Staging {
            current: transaction.open_table(CURRENT)?,
            records: transaction.open_table(RECORDS)?,
            leases: transaction.open_table(LEASES)?,
            lease_keys: transaction.open_table(LEASE_KEYS)?,
            revision: number(&meta, REVISION)?,
            compacted: number(&meta, COMPACTED)?,
            meta,
            commits: Vec::new(),
            changed: false,
        })
    }

    /// Commits if the guards hold now, the group's earlier commits included.
    pub(super) fn commit(&mut self, guards: &[Guard], ops: &[Op]) -> Read<Commit> {
        for guard in guards {
            let newest = self.newest(guard.key())?.filter(|pointer| !pointer.deleted);
            if !guard.holds(newest.map(|pointer| pointer.place.revision())) {
                return Ok(Commit::Conflict(guard.key().to_owned()));
            }
        }
        self.apply(ops)?;
        Ok(Commit::Done(self.revision))
    }

    pub(super) fn lease(&mut self, ttl: u64) -> Read<LeaseId> {
        let id = number(&self.meta, LAST_LEASE)? + 1;
        self.meta.insert(LAST_LEASE, id)?;
        let id = id as LeaseId;
        self.leases.insert(id, ttl)?;
        self.changed = true;
        Ok(id)
    }

    /// Ends a lease and deletes its keys; whether there was such a lease.
    pub(super) fn end(&mut self, lease: LeaseId) -> Read<bool> {
        if self.leases.remove(lease)?.is_none() {
            return Ok(false);
        }
        self.changed = true;
        let mut ops = Vec::new();
        for entry in self.lease_keys.range((lease, "")..(lease + 1, ""))? {
            ops.push(Op::Delete { key: entry?.0.value().1.to_owned() });
        }
        for ops in ops.chunks(MAX_OPS) {
            self.apply(ops)?;
        }
        Ok(true)
    }

    pub(super) fn compact(&mut self, revision: Revision) -> Read<()> {
        let revision = revision.min(self.revision);
        if revision > self.compacted {
            self.meta.insert(COMPACTED, revision)?;
            self.compacted = revision;
            self.changed = true;
        }
        Ok(())
    }

    /// Looks at up to `budget` changes of the forgotten history and removes what they replaced; whether there is more to look at.
    pub(super) fn sweep(&mut self, budget: usize) -> Read<bool> {
        let (from, end) = (number(&self.meta, SWEPT)?, Place::first_of(self.compacted + 1).0);
        if from >= end {
            return Ok(false);
        }
        let mut swept = Vec::new();
        for entry in self.records.range(from..end)?.take(budget) {
            let (place, bytes) = entry?;
            let place = Place(place.value());
            let Record { key, put, before } = Record::from_bytes(place, bytes.value())?;
            swept.push((place, key, put.is_none(), before));
        }
        let more = swept.len() == budget;
        let next = swept.last().filter(|_| more).map_or(end, |(place, ..)| place.0 + 1);
        for (place, key, deleted, before) in swept {
            self.forget(place, &key, deleted, before)?;
        }
        self.meta.insert(SWEPT, next)?;
        self.changed = true;
        Ok(more)
    }

    /// Writes down how far the group came.
    pub(super) fn finish(&mut self) -> Read<()> {
        if !self.commits.is_empty() {
            self.meta.insert(REVISION, self.revision)?;
        }
        Ok(())
    }

    fn forget(&mut self, place: Place, key: &str, deleted: bool, before: Option<Pointer>) -> Read<()> {
        // A deletion goes with itself, so that only a put is left to go with what replaced it.
        if let Some(before) = before.filter(|before| !before.deleted) {
            self.records.remove(before.place.0)?;
        }
        if deleted {
            self.records.remove(place.0)?;
            if self.newest(key)? == Some(Pointer { place, deleted }) {
                self.current.remove(key)?;
            }
        }
        Ok(())
    }

    fn newest(&self, key: &str) -> Read<Option<Pointer>> {
        Ok(self.current.get(key)?.map(|stored| Pointer::from_stored(stored.value())))
    }

    fn apply(&mut self, ops: &[Op]) -> Read<()> {
        let revision = self.revision + 1;
        let mut events = Vec::with_capacity(ops.len());
        for (ordinal, op) in (0u8..).zip(ops) {
            events.extend(self.op(Place::new(revision, ordinal), op)?);
        }
        if !events.is_empty() {
            self.revision = revision;
            self.commits.push((revision, events));
            self.changed = true;
        }
        Ok(())
    }

    fn op(&mut self, place: Place, op: &Op) -> Read<Option<Event>> {
        let key = op.key();
        let before = self.newest(key)?;
        let previous = self.previous(key, before)?;
        let put = match op {
            Op::Put { value, lease, .. } => {
                let created = previous.as_ref().map_or(place.revision(), |item| item.created);
                if let Some(lease) = lease {
                    self.lease_keys.insert((*lease, key), ())?;
                }
                Some(Put { value: value.clone(), created, lease: *lease })
            }
            Op::Delete { .. } if previous.is_none() => return Ok(None),
            Op::Delete { .. } => None,
        };
        let record = Record { key: key.to_owned(), put, before };
        self.records.insert(place.0, record.to_bytes(place).as_slice())?;
        self.current.insert(key, Pointer { place, deleted: record.put.is_none() }.to_stored())?;
        Ok(Some(Event { revision: place.revision(), ordinal: place.ordinal(), item: record.into_item(place), previous }))
    }

    /// The state before; the key is taken from the lease that it lived by.
    fn previous(&mut self, key: &str, before: Option<Pointer>) -> Read<Option<Item>> {
        let Some(before) = before.filter(|before| !before.deleted) else { return Ok(None) };
        let lease = record(&self.records, before.place)?.put.and_then(|put| put.lease);
        if let Some(lease) = lease {
            self.lease_keys.remove((lease, key))?;
        }
        item(&self.records, key, Some(before))
    }
}
