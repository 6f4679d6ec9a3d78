//! Reading from a bucket: objects in pieces, names one after the other.

use std::io;

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::{Path, PathPart};
use object_store::{Error as StoreError, GetOptions, ObjectMeta, ObjectStore};

use super::Bucket;
use crate::blobs::Error;

/// An object as it was when it was looked up: one that is replaced meanwhile cannot be read on.
pub struct Object {
    pub size: u64,
    pub created: u64,
    pub(super) bucket: Bucket,
    pub(super) key: Path,
    pub(super) tag: Option<String>,
}

impl Object {
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let range = offset..self.size.min(offset.saturating_add(into.len() as u64));
        if range.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let options = GetOptions { range: Some(range.into()), if_match: self.tag.clone(), ..GetOptions::default() };
        let read = self.bucket.wait(async {
            match self.bucket.0.store.get_opts(&self.key, options).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(StoreError::Precondition { .. } | StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let gone = || io::Error::other("the object was replaced or removed while it was read");
        let bytes = read.map_err(io::Error::other)?.ok_or_else(gone)?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let n = bytes.len().min(into.len());
        into[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }
}

/// The names in a container, as the bucket tells them.
pub struct Names {
    pub(super) found: BoxStream<'static, Result<ObjectMeta, StoreError>>,
    pub(super) bucket: Bucket,
    pub(super) container: Path,
}

impl Names {
    pub fn next_name(&mut self) -> Result<Option<String>, Error> {
        let next = self.bucket.wait(async { self.found.next().await.transpose() })?;
        let Some(meta) = next else { return Ok(None) };
        let parts = meta.location.prefix_match(&self.container).map(|parts| parts.map(|part| decoded(&part)).collect::<Vec<_>>());
        Ok(Some(parts.unwrap_or_default().join("/")))
    }
}

/// A part of a name as it was before it became a part of a key.
fn decoded(part: &PathPart<'_>) -> String {
    percent_encoding::percent_decode_str(part.as_ref()).decode_utf8_lossy().into_owned()
}
