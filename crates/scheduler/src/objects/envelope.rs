//! The bytes of an object in the store: a format, how the rest is kept, its place in its commit, and canonical JSON.

use bytes::Bytes;

use super::{Error, ORDINALS, Object, Part, Result, Seal, parts};
use crate::kinds::{Kind, SECRET};
use crate::store::Item;

/// The newest envelope that this binary reads, and the one that it writes.
const FORMAT: u8 = 1;
/// The rest is canonical JSON: keys in order, no spaces.
const PLAIN: u8 = 0;
/// The rest is such JSON, sealed with the cluster's data key.
const SEALED: u8 = 1;
/// Format, kind of content, ordinal.
const HEADER: usize = 3;

/// The value to store for an object that has no resourceVersion in it.
pub(super) fn close(seal: &Seal, kind: &Kind, key: &str, ordinal: usize, object: &Object) -> Result<Bytes> {
    let ordinal = u8::try_from(ordinal).map_err(|_| Error::TooLarge(format!("more than {ORDINALS} writes")))?;
    let json = serde_json::to_vec(&object.0).map_err(|error| Error::Invalid(format!("writing {key} as JSON: {error}")))?;
    let (content, body) = if kind == &SECRET { (SEALED, seal.close(key, &json)?) } else { (PLAIN, json) };
    Ok([&[FORMAT, content, ordinal], body.as_slice()].concat().into())
}

/// Whether what is stored under a key can be read, and whether it is sealed; what is sealed is opened where there is a seal. Keys that
/// hold no object hold anything. The error is a sentence.
pub fn check(key: &str, value: &[u8], seal: Option<&Seal>) -> std::result::Result<bool, String> {
    if !key.starts_with("/objects/") {
        return Ok(false);
    }
    let is_sealed = value.get(1) == Some(&SEALED);
    if is_sealed && seal.is_none() {
        return if value.first() == Some(&FORMAT) { Ok(true) } else { Err(format!("{key} has another format")) };
    }
    let item = Item { key: key.to_owned(), value: Bytes::copy_from_slice(value), created: 1, modified: 1 };
    let nobodys = Seal::ephemeral().map_err(|error| error.to_string())?;
    open(seal.unwrap_or(&nobodys), &item).map_err(|error| error.to_string())?;
    Ok(is_sealed)
}

/// The object of a stored item, with its resourceVersion.
pub(super) fn open(seal: &Seal, item: &Item) -> Result<Object> {
    open_parts(seal, item, &[])
}

/// The same, with these parts of it alone; none named: all.
pub(super) fn open_parts(seal: &Seal, item: &Item, wanted: &[Part]) -> Result<Object> {
    let unreadable = |why: String| Error::Unreadable { key: item.key.clone(), why };
    let [format, content, ordinal, body @ ..] = item.value.as_ref() else {
        return Err(unreadable(format!("{} bytes are no object", item.value.len().min(HEADER))));
    };
    if *format != FORMAT {
        return Err(unreadable(format!("it has format {format}, and this wctl knows {FORMAT}: use the wctl that wrote it")));
    }
    let value = match *content {
        PLAIN => parts::read(body, wanted),
        SEALED => parts::read(&seal.open(&item.key, body)?, wanted),
        other => return Err(unreadable(format!("it is kept in a way ({other}) that this wctl does not know"))),
    };
    let mut object = Object(value.map_err(|error| unreadable(format!("it is no JSON: {error}")))?);
    object.set_resource_version(item.modified * ORDINALS + u64::from(*ordinal));
    Ok(object)
}
