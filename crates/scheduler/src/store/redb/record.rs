//! The bytes of one change on disk, with a checksum that also covers where it lies.

use bytes::Bytes;

use crate::store::{Error, Item, LeaseId, Result, Revision};

/// Where a change lies among all changes: its revision × 256 + its ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub u64);

impl Place {
    pub(super) fn new(revision: Revision, ordinal: u8) -> Place {
        Place(revision << 8 | u64::from(ordinal))
    }

    /// The first place that a change of this revision can have.
    pub(super) fn first_of(revision: Revision) -> Place {
        Place::new(revision, 0)
    }

    pub(super) fn revision(self) -> Revision {
        self.0 >> 8
    }

    pub(super) fn ordinal(self) -> u8 {
        self.0 as u8
    }
}

/// The newest change of a key, as the table of keys points to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pointer {
    pub place: Place,
    /// That change was a deletion: the key is absent, and stays listed until history before it is forgotten.
    pub deleted: bool,
}

impl Pointer {
    pub(super) fn to_stored(self) -> u64 {
        self.place.0 << 1 | u64::from(self.deleted)
    }

    pub(super) fn from_stored(stored: u64) -> Pointer {
        Pointer { place: Place(stored >> 1), deleted: stored & 1 == 1 }
    }
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub key: String,
    /// Of a deletion `None`.
    pub put: Option<Put>,
    /// The change of this key before, if history reaches that far.
    pub before: Option<Pointer>,
}

/// The new state of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Put {
    pub value: Bytes,
    pub created: Revision,
    pub lease: Option<LeaseId>,
}

impl Record {
    /// Checksum, whether it is a put, what was before (0: nothing), created, lease (0: none), length of the key, key, value;
    /// numbers little-endian.
    pub(super) fn to_bytes(&self, place: Place) -> Vec<u8> {
        let value = self.put.as_ref().map_or(&[][..], |put| &put.value);
        let mut bytes = Vec::with_capacity(HEADER + self.key.len() + value.len());
        bytes.extend([0; 4]);
        bytes.push(u8::from(self.put.is_some()));
        bytes.extend(self.before.map_or(0, Pointer::to_stored).to_le_bytes());
        bytes.extend(self.put.as_ref().map_or(0, |put| put.created).to_le_bytes());
        bytes.extend(self.put.as_ref().and_then(|put| put.lease).unwrap_or(0).to_le_bytes());
        bytes.extend((self.key.len() as u32).to_le_bytes());
        bytes.extend(self.key.as_bytes());
        bytes.extend(value);
        let sum = checksum(place, &bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The record that was stored at `place`, or [`Error::Broken`].
    pub(super) fn from_bytes(place: Place, bytes: &[u8]) -> Result<Record> {
        Record::parse(place, bytes).ok_or_else(|| {
            let (revision, ordinal) = (place.revision(), place.ordinal());
            Error::Broken(format!("change {ordinal} of revision {revision} is not what was written: restore the data folder from a backup"))
        })
    }

    fn parse(place: Place, bytes: &[u8]) -> Option<Record> {
        let (sum, rest) = bytes.split_first_chunk()?;
        if u32::from_le_bytes(*sum) != checksum(place, rest) {
            return None;
        }
        let (&is_put, rest) = rest.split_first()?;
        let (before, rest) = rest.split_first_chunk()?;
        let (created, rest) = rest.split_first_chunk()?;
        let (lease, rest) = rest.split_first_chunk()?;
        let (key_len, rest) = rest.split_first_chunk()?;
        let (key, value) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
        let put =
            Put { value: Bytes::copy_from_slice(value), created: u64::from_le_bytes(*created), lease: some(i64::from_le_bytes(*lease)) };
        Some(Record {
            key: std::str::from_utf8(key).ok()?.to_owned(),
            put: (is_put == 1).then_some(put),
            before: some(u64::from_le_bytes(*before)).map(Pointer::from_stored),
        })
    }

    /// The state that it gave its key; `None` for a deletion.
    pub(super) fn into_item(self, place: Place) -> Option<Item> {
        let put = self.put?;
        Some(Item { key: self.key, value: put.value, created: put.created, modified: place.revision() })
    }
}

const HEADER: usize = 4 + 1 + 8 + 8 + 8 + 4;

fn some<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn checksum(place: Place, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.0.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let put = Put { value: Bytes::from_static(b"value"), created: 3, lease: Some(9) };
        Record { key: "/a".to_owned(), put: Some(put), before: Some(Pointer { place: Place::new(5, 2), deleted: true }) }
    }

    #[test]
    fn what_was_written_is_read() {
        let place = Place::new(7, 1);
        assert_eq!(Record::from_bytes(place, &record().to_bytes(place)).unwrap(), record());
        let gone = Record { put: None, before: None, ..record() };
        assert_eq!(Record::from_bytes(place, &gone.to_bytes(place)).unwrap(), gone);
    }

    #[test]
    fn c12_any_flipped_bit_is_found() {
        let place = Place::new(7, 1);
        let bytes = record().to_bytes(place);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Record::from_bytes(place, &flipped), Err(Error::Broken(_))), "bit {bit}");
        }
    }

    #[test]
    fn c12_a_record_in_another_place_is_found() {
        let bytes = record().to_bytes(Place::new(7, 1));
        assert!(Record::from_bytes(Place::new(7, 2), &bytes).is_err());
        assert!(Record::from_bytes(Place::new(7, 1), &bytes[..20]).is_err());
    }
}
