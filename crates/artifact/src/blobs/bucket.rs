//! Blobs, manifests and tags in an S3-compatible store, which any number of servers share.
//!
//! Keys below the prefix: `_images/format` (the layout's version), `_images/blobs/sha256/<hex>` (content), `_images/repositories/NAME/_manifests/<hex>`
//! (what is known of a manifest) and `…/_tags/TAG` (a digest), `_images/sweeps/<uuid>` (a prune is under way). The parts with `_` are no
//! name of a namespace or repository. A tag is an object of its own: it is moved at once and whole, and servers that move different
//! tags never undo each other's work, also where the store knows no conditional writes.

mod bring;
mod names;
mod sweep;

use std::fmt::{self, Display};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;
use tokio::sync::Semaphore;

use super::{Error, FORMAT, blocking};
use crate::digest::{Digest, Hasher, shown};
use crate::s3;

/// Bytes of one part of a large blob; S3 takes 10,000 of at least 5 MiB.
const PART: u64 = 8 << 20;

/// Parts that are in memory at a time, on their way out.
const PARTS: usize = 8;

/// Requests of one act that are under way at a time.
const AT_ONCE: usize = 32;

/// How often the operator is told that the store fails.
const TOLD: Duration = Duration::from_secs(10);

/// A bucket, or the part of one below a prefix. Cheap to clone.
#[derive(Clone)]
pub struct Bucket(Arc<Shared>);

struct Shared {
    store: Arc<dyn ObjectStore>,
    root: Path,
    parts: Semaphore,
    told: Mutex<Option<Instant>>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.0.root)
    }
}

impl Bucket {
    /// `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`. Who we are there is told by the variables and files that AWS' own tools read.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn new(url: &str) -> Result<Bucket, String> {
        Self::with(url, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The same with what names AWS' files looked up in another way.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn with(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Bucket, String> {
        let (store, prefix) = s3::store(url, variable)?;
        Ok(Self::over(Arc::new(store), prefix))
    }

    /// The part below `prefix` of any store of objects whose reads see all writes that were acknowledged.
    pub fn over(store: Arc<dyn ObjectStore>, prefix: Path) -> Bucket {
        let root = prefix.join("_images");
        Bucket(Arc::new(Shared { store, root, parts: Semaphore::new(PARTS), told: Mutex::default() }))
    }

    /// Whether it answers, and lets us in.
    ///
    /// # Errors
    /// In the store's own words, for the operator alone.
    pub async fn check(&self) -> Result<(), String> {
        self.0.store.list(Some(&self.0.root)).next().await.transpose().map(drop).map_err(|error| error.to_string())
    }

    /// Refuses what a newer wctl wrote, and marks what nobody has.
    async fn check_format(&self) -> Result<(), Error> {
        let key = self.key("format");
        let Some(bytes) = self.get(&key).await? else { return self.put(&key, FORMAT.to_string().into()).await };
        let text = String::from_utf8_lossy(&bytes);
        match text.trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(()),
            _ => Err(Error::Newer { path: PathBuf::from(self.0.root.as_ref()), found: shown(text.trim()) }),
        }
    }

    fn key(&self, part: &str) -> Path {
        self.0.root.clone().join(part)
    }

    fn blobs(&self) -> Path {
        self.key("blobs").join("sha256")
    }

    fn blob(&self, digest: &Digest) -> Path {
        self.blobs().join(digest.hex())
    }

    /// What a client is told: where the store is stays between the server and its operator, who is told now and then.
    fn failed(&self, error: &dyn Display) -> Error {
        let mut told = self.0.told.lock();
        if told.is_none_or(|at| at.elapsed() > TOLD) {
            *told = Some(Instant::now());
            tracing::error!(%error, "the object store, which keeps the images, failed");
        }
        Error::Store
    }

    async fn get(&self, key: &Path) -> Result<Option<Bytes>, Error> {
        let got = match self.0.store.get(key).await {
            Ok(found) => found.bytes().await,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        got.map(Some).map_err(|error| self.failed(&error))
    }

    async fn parsed<T: DeserializeOwned>(&self, key: &Path) -> Result<Option<T>, Error> {
        let Some(bytes) = self.get(key).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Repository { path: PathBuf::from(key.as_ref()), source })
    }

    async fn put(&self, key: &Path, bytes: Bytes) -> Result<(), Error> {
        self.0.store.put(key, bytes.into()).await.map(drop).map_err(|error| self.failed(&error))
    }

    /// Removes an object; that it was gone already is fine.
    async fn remove(&self, key: &Path) -> Result<(), Error> {
        match self.0.store.delete(key).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn list(&self, below: &Path) -> Result<Vec<ObjectMeta>, Error> {
        self.0.store.list(Some(below)).try_collect().await.map_err(|error| self.failed(&error))
    }

    async fn has(&self, key: &Path) -> Result<Option<u64>, Error> {
        match self.0.store.head(key).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// A blob's size in bytes.
    pub(super) async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.has(&self.blob(digest)).await
    }

    /// A whole blob, verified. A damaged one is removed and is an error.
    pub(super) async fn bytes(&self, digest: &Digest) -> Result<Bytes, Error> {
        let size = self.size(digest).await?.ok_or(Error::NoBlob(*digest))?;
        let mut parts = self.stream(digest, 0..size);
        let mut bytes = BytesMut::new();
        while let Some(part) = parts.try_next().await? {
            bytes.extend_from_slice(&part);
        }
        if Digest::of(&bytes) == *digest { Ok(bytes.freeze()) } else { Err(self.discard(digest).await) }
    }

    /// The bytes of a part of a blob, unverified. Each 8 MiB are a request of their own, so that a slow reader runs into no time limit.
    pub(super) fn stream(&self, digest: &Digest, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
        let (bucket, digest, end) = (self.clone(), *digest, range.end);
        let parts = range.step_by(PART as usize).map(move |at| at..end.min(at + PART));
        let read = move |part| {
            let bucket = bucket.clone();
            async move { bucket.part(digest, part).await }
        };
        stream::iter(parts).then(read).try_flatten().boxed()
    }

    async fn part(&self, digest: Digest, part: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let options = GetOptions { range: Some(part.into()), ..GetOptions::default() };
        let found = self.0.store.get_opts(&self.blob(&digest), options).await.map_err(|error| match error {
            StoreError::NotFound { .. } => Error::NoBlob(digest),
            error => self.failed(&error),
        })?;
        let bucket = self.clone();
        Ok(found.into_stream().map_err(move |error| bucket.failed(&error)).boxed())
    }

    /// Removes a blob that turned out to be damaged, so that the next push stores it afresh.
    pub(super) async fn discard(&self, digest: &Digest) -> Error {
        tracing::error!(%digest, "removing a blob that is damaged in the object store");
        self.remove(&self.blob(digest)).await.err().unwrap_or(Error::Damaged { digest: *digest })
    }

    /// Sends what was written and verified. The blob exists when the store has all of it. One that is there already is replaced, which heals it
    /// and makes it new for a prune.
    pub(super) async fn send(&self, file: NamedTempFile, digest: &Digest, size: u64) -> Result<(), Error> {
        let key = self.blob(digest);
        if size <= PART {
            let _room = self.0.parts.acquire().await;
            let (_, bytes) = read(file, 0, size).await?;
            return self.put(&key, checked(bytes, digest)?).await;
        }
        let mut parts = self.0.store.put_multipart(&key).await.map_err(|error| self.failed(&error))?;
        if let Err(error) = self.send_parts(file, digest, size, &mut parts).await {
            // What a lost store keeps of it, its own rules for unfinished uploads remove.
            let _ = parts.abort().await;
            return Err(error);
        }
        Ok(())
    }

    async fn send_parts(
        &self,
        mut file: NamedTempFile,
        digest: &Digest,
        size: u64,
        parts: &mut Box<dyn MultipartUpload>,
    ) -> Result<(), Error> {
        let mut hasher = Hasher::new();
        for at in (0..size).step_by(PART as usize) {
            let _room = self.0.parts.acquire().await;
            let (back, bytes) = read(file, at, PART.min(size - at)).await?;
            file = back;
            hasher.update(&bytes);
            parts.put_part(PutPayload::from(bytes)).await.map_err(|error| self.failed(&error))?;
        }
        let got = hasher.finish();
        if got != *digest {
            return Err(Error::Digest { wanted: *digest, got });
        }
        parts.complete().await.map(drop).map_err(|error| self.failed(&error))
    }
}

/// Carries out many requests, some at a time; the first failure ends it.
async fn each<T: Send>(work: Vec<BoxFuture<'static, Result<T, Error>>>) -> Result<Vec<T>, Error> {
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await
}

/// What is sent is what was verified, also when the disk in between is bad.
fn checked(bytes: Bytes, digest: &Digest) -> Result<Bytes, Error> {
    let got = Digest::of(&bytes);
    if got == *digest { Ok(bytes) } else { Err(Error::Digest { wanted: *digest, got }) }
}

async fn read(mut file: NamedTempFile, at: u64, size: u64) -> Result<(NamedTempFile, Bytes), Error> {
    blocking(move || {
        let path = file.path().to_path_buf();
        let mut bytes = vec![0; size as usize];
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(super::at("reading", &path))?;
        Ok((file, bytes.into()))
    })
    .await
}
