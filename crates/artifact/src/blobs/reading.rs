//! A blob on its way out, in pieces; a whole one is verified before its last piece is let go.

use std::io::{self, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{Blobs, Error, at};
use crate::digest::{Digest, Hasher};

/// Bytes read from disk at once.
const PIECE: usize = 64 << 10;

/// A blob's size and its bytes.
pub struct Reading {
    /// The size of the whole blob.
    pub size: u64,
    /// The bytes asked for. Ends in an error when the whole was asked for and is damaged, so that nobody takes it for good.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

struct Verified {
    source: BoxStream<'static, io::Result<Bytes>>,
    hasher: Hasher,
    held: Option<Bytes>,
    store: Blobs,
    digest: Digest,
}

impl Blobs {
    /// Opens a blob for reading, whole or `range` of it, which must lie within the blob.
    pub async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<Reading, Error> {
        self.touch(digest);
        if let Some(bucket) = &self.0.bucket {
            let size = bucket.size(digest).await?.ok_or(Error::NoBlob(*digest))?;
            let part = bucket.stream(digest, range.clone().unwrap_or(0..size)).map_err(io::Error::other).boxed();
            return Ok(Reading { size, bytes: if range.is_some() { part } else { verified(self.clone(), *digest, part) } });
        }
        let path = self.path(digest);
        let mut file = File::open(&path).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NoBlob(*digest),
            _ => at("opening", &path)(error),
        })?;
        let size = file.metadata().await.map_err(at("looking at", &path))?.len();
        let bytes = match range {
            Some(range) => {
                file.seek(SeekFrom::Start(range.start)).await.map_err(at("reading", &path))?;
                ReaderStream::with_capacity(file.take(range.end - range.start), PIECE).boxed()
            }
            None => verified(self.clone(), *digest, ReaderStream::with_capacity(file, PIECE).boxed()),
        };
        Ok(Reading { size, bytes })
    }
}

fn verified(store: Blobs, digest: Digest, source: BoxStream<'static, io::Result<Bytes>>) -> BoxStream<'static, io::Result<Bytes>> {
    let state = Verified { source, hasher: Hasher::new(), held: None, store, digest };
    stream::try_unfold(state, next).boxed()
}

// One piece is held back until the next has come or the digest of the whole is known to be right.
async fn next(mut state: Verified) -> io::Result<Option<(Bytes, Verified)>> {
    loop {
        match state.source.try_next().await? {
            Some(piece) => {
                state.hasher.update(&piece);
                if let Some(ready) = state.held.replace(piece) {
                    return Ok(Some((ready, state)));
                }
            }
            None if state.hasher.clone().finish() != state.digest => {
                return Err(io::Error::other(state.store.discard(&state.digest).await));
            }
            None => return Ok(state.held.take().map(|last| (last, state))),
        }
    }
}
