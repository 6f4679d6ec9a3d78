//! The tables, and what can be read from one snapshot of them.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition};

use super::record::{Place, Pointer, Record};
use super::{Fault, Read};
use crate::store::hub::concerns;
use crate::store::{Error, Event, Item, Next, Page, Revision};

/// From a key to its newest change (a stored [`Pointer`]). Deleted keys stay until history before their deletion is forgotten.
pub(super) const CURRENT: TableDefinition<&str, u64> = TableDefinition::new("current");
/// From a [`Place`] to the [`Record`] of what changed there: the log that watches resume from, and where values are kept.
pub(super) const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
/// Single numbers, by the names below.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// From a lease to its seconds.
pub(super) const LEASES: TableDefinition<i64, u64> = TableDefinition::new("leases");
/// The keys of each lease.
pub(super) const LEASE_KEYS: TableDefinition<(i64, &str), ()> = TableDefinition::new("lease-keys");

/// The layout of these tables.
pub(super) const FORMAT: &str = "format";
/// The newest revision.
pub(super) const REVISION: &str = "revision";
/// History up to this revision is forgotten.
pub(super) const COMPACTED: &str = "compacted";
/// Changes before this place that history need not hold any more were removed.
pub(super) const SWEPT: &str = "swept";
/// The newest lease.
pub(super) const LAST_LEASE: &str = "last-lease";

/// One of the single numbers; 0 where it was never set.
pub(super) fn number(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Read<u64> {
    Ok(meta.get(name)?.map_or(0, |value| value.value()))
}

/// The change at a place that something refers to.
pub(super) fn record(records: &impl ReadableTable<u64, &'static [u8]>, place: Place) -> Read<Record> {
    match records.get(place.0)? {
        Some(bytes) => Ok(Record::from_bytes(place, bytes.value())?),
        None => {
            let (revision, ordinal) = (place.revision(), place.ordinal());
            Err(Fault::Store(Error::Broken(format!(
                "change {ordinal} of revision {revision} is missing: restore the data folder from a backup"
            ))))
        }
    }
}

/// The change of `key` that a pointer in its chain names.
pub(super) fn record_of(records: &impl ReadableTable<u64, &'static [u8]>, key: &str, pointer: Pointer) -> Read<Record> {
    let record = record(records, pointer.place)?;
    if record.key == key && record.put.is_none() == pointer.deleted {
        return Ok(record);
    }
    Err(Fault::Store(Error::Broken(format!("the key {key} leads to a change of {}: restore the data folder from a backup", record.key))))
}

/// The state that a pointer names; `None` where it names nothing or a deletion.
pub(super) fn item(records: &impl ReadableTable<u64, &'static [u8]>, key: &str, pointer: Option<Pointer>) -> Read<Option<Item>> {
    match pointer {
        Some(pointer) if !pointer.deleted => Ok(record_of(records, key, pointer)?.into_item(pointer.place)),
        _ => Ok(None),
    }
}

/// One snapshot.
pub(super) struct View {
    current: ReadOnlyTable<&'static str, u64>,
    records: ReadOnlyTable<u64, &'static [u8]>,
    pub(super) revision: Revision,
    compacted: Revision,
}

impl View {
    pub(super) fn open(transaction: &ReadTransaction) -> Read<View> {
        let meta = transaction.open_table(META)?;
        Ok(View {
            current: transaction.open_table(CURRENT)?,
            records: transaction.open_table(RECORDS)?,
            revision: number(&meta, REVISION)?,
            compacted: number(&meta, COMPACTED)?,
        })
    }

    pub(super) fn get(&self, key: &str) -> Read<(Revision, Option<Item>)> {
        let pointer = self.current.get(key)?.map(|stored| Pointer::from_stored(stored.value()));
        Ok((self.revision, item(&self.records, key, pointer)?))
    }

    pub(super) fn list(&self, prefix: &str, limit: usize, next: Option<&Next>) -> Read<Page> {
        let revision = next.map_or(self.revision, |next| next.revision);
        self.check_compacted(revision)?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut page = Page { revision, items: Vec::new(), next: None };
        for entry in self.current.range(next.map_or(prefix, |next| next.after.as_str())..)? {
            let (key, stored) = entry?;
            let key = key.value();
            if next.is_some_and(|next| key == next.after) {
                continue;
            }
            if !key.starts_with(prefix) {
                break;
            }
            let Some(item) = self.at(key, Pointer::from_stored(stored.value()), revision)? else { continue };
            if let Some(last) = page.items.last().filter(|_| page.items.len() == limit) {
                page.next = Some(Next { revision, after: last.key.clone() });
                break;
            }
            page.items.push(item);
        }
        Ok(page)
    }

    /// The key's state at a revision: its newest change, with every later one undone.
    fn at(&self, key: &str, newest: Pointer, revision: Revision) -> Read<Option<Item>> {
        let mut pointer = Some(newest);
        while let Some(later) = pointer.filter(|pointer| pointer.place.revision() > revision) {
            pointer = record_of(&self.records, key, later)?.before;
        }
        item(&self.records, key, pointer)
    }

    /// See `History::replay`.
    pub(super) fn replay(&self, prefix: &str, after: Revision, upto: Revision, limit: usize) -> Read<(Vec<Event>, Revision)> {
        self.check_compacted(after)?;
        let mut events: Vec<Event> = Vec::new();
        for entry in self.records.range(Place::first_of(after + 1).0..Place::first_of(upto + 1).0)? {
            let (place, bytes) = entry?;
            let place = Place(place.value());
            if let Some(last) = events.last().filter(|last| events.len() >= limit && last.revision < place.revision()) {
                let reached = last.revision;
                return Ok((events, reached));
            }
            let record = Record::from_bytes(place, bytes.value())?;
            if concerns(prefix, &record.key) {
                let previous = item(&self.records, &record.key, record.before)?;
                events.push(Event { revision: place.revision(), ordinal: place.ordinal(), item: record.into_item(place), previous });
            }
        }
        Ok((events, upto))
    }

    fn check_compacted(&self, asked: Revision) -> Read<()> {
        if asked < self.compacted {
            return Err(Fault::Store(Error::Compacted { asked, oldest: self.compacted }));
        }
        Ok(())
    }
}
