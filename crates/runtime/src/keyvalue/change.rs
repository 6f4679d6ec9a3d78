//! What a write does to the tables, within the one transaction that many writes share.

use bytes::Bytes;
use redb::{ReadableTable, Table, TableDefinition};

use super::{Error, Limits, Versioned};

/// Bucket and key → version and value.
pub const VALUES: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("values 1");

/// Bucket → bytes in it. The empty name → the last version given.
pub const SIZES: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("sizes 1");

/// Bytes that a key costs beside itself and its value, so that empty values are not free.
const OVERHEAD: u64 = 32;

/// One write, and how it is answered.
pub enum Change {
    /// Several keys, all or none.
    Set(Vec<(String, Option<Bytes>)>),
    /// A key, if its version still is the expected one.
    Swap(String, Option<u64>, Bytes),
    /// A number.
    Increment(String, i64),
    /// Everything whose name begins with the prefix.
    Forget,
}

/// What came of a change.
pub enum Outcome {
    Done,
    Stale(Option<Versioned>),
    Sum(i64),
}

/// The tables during a transaction.
pub struct Tables<'a> {
    pub values: Table<'a, &'static [u8], &'static [u8]>,
    pub sizes: Table<'a, &'static [u8], u64>,
    pub limits: Limits,
}

/// Version and value as they are stored.
pub fn decode(stored: &[u8]) -> Result<Versioned, Error> {
    let (version, value) = stored.split_first_chunk::<8>().ok_or_else(|| Error::Store("a stored value is damaged".into()))?;
    Ok(Versioned { version: u64::from_le_bytes(*version), value: Bytes::copy_from_slice(value) })
}

/// The name of a key in the table: keys of a bucket lie together, in order.
pub fn address(prefix: &[u8], key: &str) -> Vec<u8> {
    [prefix, key.as_bytes()].concat()
}

/// The first name that does not begin with `prefix`, whose last byte is a name's and so never 255.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    if let Some(last) = after.last_mut() {
        *last = last.saturating_add(1);
    }
    after
}

fn cost(key: &str, value: usize) -> u64 {
    (key.len() + value) as u64 + OVERHEAD
}

impl Tables<'_> {
    /// Applies a change, or nothing of it.
    pub fn apply(&mut self, prefix: &[u8], change: Change) -> Result<Outcome, Error> {
        match change {
            Change::Set(changes) => self.set(prefix, changes).map(|()| Outcome::Done),
            Change::Swap(key, expected, value) => {
                let seen = self.get(prefix, &key)?;
                if seen.as_ref().map(|seen| seen.version) != expected {
                    return Ok(Outcome::Stale(seen));
                }
                self.set(prefix, vec![(key, Some(value))]).map(|()| Outcome::Done)
            }
            Change::Increment(key, delta) => {
                let number = self.get(prefix, &key)?.map_or(Ok(0), |seen| number(&key, &seen.value))?;
                let sum =
                    number.checked_add(delta).ok_or_else(|| Error::NotANumber(format!("the number at {key:?} would leave its range")))?;
                self.set(prefix, vec![(key, Some(sum.to_string().into()))])?;
                Ok(Outcome::Sum(sum))
            }
            Change::Forget => self.forget(prefix).map(|()| Outcome::Done),
        }
    }

    fn forget(&mut self, prefix: &[u8]) -> Result<(), Error> {
        let end = after(prefix);
        self.values.retain_in(prefix..end.as_slice(), |_, _| false).map_err(store)?;
        self.sizes.retain_in(prefix..end.as_slice(), |_, _| false).map_err(store)
    }

    fn get(&self, prefix: &[u8], key: &str) -> Result<Option<Versioned>, Error> {
        let found = self.values.get(address(prefix, key).as_slice()).map_err(store)?;
        found.map(|found| decode(found.value())).transpose()
    }

    /// Everything that can be refused is refused before the first write.
    fn set(&mut self, prefix: &[u8], changes: Vec<(String, Option<Bytes>)>) -> Result<(), Error> {
        let before = self.sizes.get(prefix).map_err(store)?.map_or(0, |size| size.value());
        let after = self.size_after(prefix, before, &changes)?;
        let mut version = self.sizes.get(&b""[..]).map_err(store)?.map_or(0, |last| last.value());
        for (key, value) in changes {
            let address = address(prefix, &key);
            match value {
                Some(value) => {
                    version += 1;
                    let stored = [&version.to_le_bytes()[..], &value].concat();
                    self.values.insert(address.as_slice(), stored.as_slice()).map_err(store)?;
                }
                None => {
                    self.values.remove(address.as_slice()).map_err(store)?;
                }
            }
        }
        self.sizes.insert(&b""[..], version).map_err(store)?;
        self.sizes.insert(prefix, after).map_err(store)?;
        Ok(())
    }

    fn size_after(&self, prefix: &[u8], before: u64, changes: &[(String, Option<Bytes>)]) -> Result<u64, Error> {
        let mut sizes = std::collections::HashMap::new();
        for (key, value) in changes {
            self.limits.check(key, value.as_ref())?;
            sizes.insert(key.as_str(), value.as_ref().map(Bytes::len));
        }
        let (mut after, mut grows) = (before, false);
        for (key, new) in sizes {
            let old = self.values.get(address(prefix, key).as_slice()).map_err(store)?.map_or(0, |old| cost(key, old.value().len() - 8));
            let new = new.map_or(0, |len| cost(key, len));
            grows |= new > old;
            after = after.saturating_sub(old) + new;
        }
        // What only frees space always works, so that a full bucket can be emptied.
        if after > self.limits.bucket && grows {
            return Err(Error::TooLarge(format!("the bucket would hold {after} bytes, {} are allowed", self.limits.bucket)));
        }
        Ok(after)
    }
}

fn number(key: &str, value: &[u8]) -> Result<i64, Error> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Error::NotANumber(format!("the value at {key:?} is not a number")))
}

/// The store's own errors, in words.
pub fn store(error: impl std::error::Error) -> Error {
    Error::Store(format!("the key-value store failed: {error}"))
}
