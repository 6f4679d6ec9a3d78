//! Content on its way in: hashed while it is written, named only when it is what was promised.

use std::fs::File;
use std::io::Write;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tempfile::NamedTempFile;

use super::{Blobs, Error, at, blocking};
use crate::digest::{Digest, Hasher};
use crate::disk;

/// A temporary file and the digest of what it holds. Dropping it removes the file.
pub struct Upload {
    store: Blobs,
    /// None once an error has made the content unusable.
    file: Option<NamedTempFile>,
    hasher: Hasher,
    received: u64,
    limit: u64,
}

impl Upload {
    pub(super) fn begin(store: Blobs, limit: u64) -> Result<Upload, Error> {
        let folder = store.0.folder.join("uploads");
        let file = NamedTempFile::new_in(&folder).map_err(at("making a file in", &folder))?;
        Ok(Upload { store, file: Some(file), hasher: Hasher::new(), received: 0, limit })
    }

    /// How many bytes have come so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether an error has made the content unusable, so that only a new upload can help.
    pub fn is_broken(&self) -> bool {
        self.file.is_none()
    }

    /// Appends one piece. After an error from the disk the upload is broken; after one over the limit it is as before.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), Error> {
        let after = self.received.saturating_add(bytes.len() as u64);
        if after > self.limit {
            return Err(Error::TooLarge { limit: self.limit });
        }
        let mut file = self.take()?;
        let (piece, mut hasher) = (bytes.clone(), self.hasher.clone());
        let path = file.path().to_path_buf();
        let (file, hasher) = blocking(move || {
            file.write_all(&piece).map_err(at("writing", &path))?;
            hasher.update(&piece);
            Ok((file, hasher))
        })
        .await?;
        (self.file, self.hasher, self.received) = (Some(file), hasher, after);
        Ok(())
    }

    /// Appends all of a stream. When the stream fails, what came before stays and the upload can go on from there.
    pub async fn write_all<E>(&mut self, body: impl Stream<Item = Result<Bytes, E>>) -> Result<(), Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = std::pin::pin!(body);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Error::Interrupted { received: self.received, source: error.into() })?;
            self.write(&piece).await?;
        }
        Ok(())
    }

    /// Verifies, syncs and names the content. Only after this does the blob exist.
    pub async fn finish(mut self, wanted: &Digest) -> Result<u64, Error> {
        let (file, wanted) = (self.take()?, *wanted);
        let got = self.hasher.clone().finish();
        if got != wanted {
            return Err(Error::Digest { wanted, got });
        }
        let store = self.store.clone();
        if let Some(bucket) = &store.0.bucket {
            store.touch(&wanted);
            bucket.send(file, &wanted, self.received).await?;
            return Ok(self.received);
        }
        let _sweep = store.0.sweep.read().await;
        let inner = store.clone();
        blocking(move || inner.link(file, &wanted)).await?;
        Ok(self.received)
    }

    fn take(&mut self) -> Result<NamedTempFile, Error> {
        let gone = || Error::Interrupted { received: self.received, source: "an earlier piece could not be written".into() };
        self.file.take().ok_or_else(gone)
    }
}

impl Blobs {
    /// Whether a blob is here and undamaged.
    pub(super) async fn holds(&self, digest: &Digest) -> Result<bool, Error> {
        self.touch(digest);
        // A bucket is written anew, which heals what is damaged there and keeps it from a prune.
        if self.0.bucket.is_some() {
            return Ok(false);
        }
        let (path, digest) = (self.path(digest), *digest);
        blocking(move || Ok(File::open(path).is_ok_and(|file| holds(file, &digest)))).await
    }

    fn link(&self, file: NamedTempFile, digest: &Digest) -> Result<(), Error> {
        self.touch(digest);
        let path = self.path(digest);
        // An existing file is believed only after a look at it, so that a new push heals a damaged blob.
        if File::open(&path).is_ok_and(|existing| holds(existing, digest)) {
            return Ok(());
        }
        disk::persist(file, &path).map_err(at("writing", &path))
    }
}

fn holds(mut file: File, digest: &Digest) -> bool {
    let mut hasher = HashWriter(Hasher::new());
    std::io::copy(&mut file, &mut hasher).is_ok() && hasher.0.finish() == *digest
}

struct HashWriter(Hasher);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
