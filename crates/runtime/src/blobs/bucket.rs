//! Objects in an S3-compatible store that exists already, for apps whose data must not live on one node.

mod read;

use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Error as StoreError, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{Error, Limits, folder};
use crate::volumes::NAME;

pub use read::{Names, Object};

/// Bytes of one part of a large object; S3 takes 10,000 of at least 5 MiB.
const PART: u64 = 8 << 20;

/// The largest object that S3 copies in one piece.
const WHOLE: u64 = 5 << 30;

/// Parts that this node holds in memory at a time.
const PARTS: usize = 8;

/// Requests that this node has under way at a time; further ones are refused rather than take every thread that waits for disks.
const AT_A_TIME: usize = 256;

/// Bytes of a key, as S3 has it.
const KEY: usize = 1_024;

/// How long a count of what an App keeps is trusted at least: pods on other nodes add to it.
const COUNTED: Duration = Duration::from_secs(60);

/// How often the operator is told that the store fails.
const TOLD: Duration = Duration::from_secs(10);

/// A bucket, or the part of one below a prefix. Cheap to clone.
#[derive(Clone)]
pub struct Bucket(Arc<Shared>);

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bucket")
    }
}

struct Shared {
    store: AmazonS3,
    prefix: Path,
    runtime: Handle,
    under_way: Semaphore,
    parts: Semaphore,
    /// When the operator was last told that it fails.
    told: Mutex<Option<Instant>>,
}

impl Bucket {
    /// `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`. Its requests run on the current runtime.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn new(url: &str) -> Result<Self, String> {
        Self::with(url, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The same with what names AWS' files looked up in another way.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn with(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let (store, prefix) = artifact::s3::store(url, variable)?;
        let (under_way, parts) = (Semaphore::new(AT_A_TIME), Semaphore::new(PARTS));
        Ok(Self(Arc::new(Shared { store, prefix, runtime: Handle::current(), under_way, parts, told: Mutex::default() })))
    }

    /// Whether it answers, and lets us in.
    ///
    /// # Errors
    /// In the store's own words, for the operator alone.
    pub async fn check(&self) -> Result<(), String> {
        self.0.store.list(Some(&self.0.prefix)).next().await.transpose().map(drop).map_err(|error| error.to_string())
    }

    /// What an App keeps, which is counted.
    pub(super) fn open(&self, namespace: &str, app: &str, here: Arc<folder::Store>, limits: Limits) -> Result<Store, Error> {
        let root = self.root(namespace, app);
        let store = Store { bucket: self.clone(), root, here, limits, count: Mutex::new(Count::default()), made: Mutex::default() };
        store.recount()?;
        Ok(store)
    }

    /// Removes all that an App keeps.
    pub(super) fn forget(&self, namespace: &str, app: &str) -> Result<(), Error> {
        self.remove_all(&self.root(namespace, app))
    }

    fn root(&self, namespace: &str, app: &str) -> Path {
        self.0.prefix.clone().join(namespace).join(app)
    }

    fn remove_all(&self, below: &Path) -> Result<(), Error> {
        self.wait(async {
            let found = self.0.store.list(Some(below)).map(|meta| meta.map(|meta| meta.location)).boxed();
            let mut removed = self.0.store.delete_stream(found);
            while let Some(done) = removed.next().await {
                done?;
            }
            Ok(())
        })
    }

    /// Waits for some requests.
    fn wait<T>(&self, requests: impl Future<Output = Result<T, StoreError>>) -> Result<T, Error> {
        let _turn = self.0.under_way.try_acquire().map_err(|_| {
            Error::Store(format!("all {AT_A_TIME} requests that a node may have under way to the object store at a time are; try again"))
        })?;
        self.0.runtime.block_on(requests).map_err(|error| self.failed(&error))
    }

    /// What a guest is told: where the store is stays between the node and its operator, who is told now and then.
    fn failed(&self, error: &dyn Display) -> Error {
        let mut told = self.0.told.lock();
        if told.is_none_or(|at| at.elapsed() > TOLD) {
            *told = Some(Instant::now());
            tracing::error!(%error, "the object store, which keeps the containers, failed");
        }
        Error::Store("the object store cannot be reached or failed".into())
    }

    fn head(&self, key: &Path) -> Result<Option<ObjectMeta>, Error> {
        self.wait(async {
            match self.0.store.head(key).await {
                Ok(meta) => Ok(Some(meta)),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }
}

/// What an App keeps in a bucket.
pub struct Store {
    bucket: Bucket,
    root: Path,
    /// What is on its way into the bucket, and the count against the App's limit.
    here: Arc<folder::Store>,
    limits: Limits,
    count: Mutex<Count>,
    /// When containers were made, of those that were asked about.
    made: Mutex<HashMap<String, u64>>,
}

/// What an App's objects come to.
#[derive(Default)]
struct Count {
    bytes: u64,
    /// When that was counted, and how long it took.
    counted: Option<(Instant, Duration)>,
}

impl Store {
    pub fn bytes(&self) -> u64 {
        self.here.bytes()
    }

    /// Asks the bucket what the App keeps.
    fn recount(&self) -> Result<(), Error> {
        let began = Instant::now();
        let bytes = self.bucket.wait(async {
            let mut found = self.bucket.0.store.list(Some(&self.root));
            let mut bytes = 0u64;
            while let Some(meta) = found.next().await {
                bytes = bytes.saturating_add(weight(&meta?));
            }
            Ok(bytes)
        })?;
        *self.count.lock() = Count { bytes, counted: Some((Instant::now(), began.elapsed())) };
        self.here.set_elsewhere(bytes);
        Ok(())
    }

    /// Whether the count is so old that others may have added much to it. Counting must stay a small part of the work.
    fn is_stale(&self) -> bool {
        self.count.lock().counted.is_none_or(|(at, took)| at.elapsed() > COUNTED.max(took * 20))
    }

    fn counts(&self, more: u64, less: u64) {
        let mut count = self.count.lock();
        count.bytes = count.bytes.saturating_add(more).saturating_sub(less);
        self.here.set_elsewhere(count.bytes);
    }

    fn container(&self, container: &str) -> Path {
        self.root.clone().join("objects").join(container)
    }

    /// Where an object is.
    fn key(&self, container: &str, name: &str) -> Result<Path, Error> {
        if name.is_empty() || name.len() > self.limits.name {
            return Err(Error::BadName(self.limits.name));
        }
        let container = self.container(container);
        let key = if name.split('/').any(str::is_empty) {
            // A path has no empty parts, so the slashes are written in another way.
            container.join(name)
        } else {
            name.split('/').fold(container, |key, part| key.join(part))
        };
        if key.as_ref().len() > KEY {
            return Err(Error::Store(format!(
                "the object's key would have {} bytes, and the object store allows {KEY}",
                key.as_ref().len()
            )));
        }
        Ok(key)
    }

    pub fn ensure(&self, container: &str) -> Result<u64, Error> {
        if let Some(made) = self.made.lock().get(container) {
            return Ok(*made);
        }
        let mark = self.root.clone().join("containers").join(container);
        let made = match self.bucket.head(&mark)? {
            Some(meta) => created(&meta),
            None => {
                self.bucket.wait(async { self.bucket.0.store.put(&mark, PutPayload::new()).await })?;
                self.counts(NAME + mark.as_ref().len() as u64, 0);
                self.bucket.head(&mark)?.map_or(0, |meta| created(&meta))
            }
        };
        self.made.lock().insert(container.to_owned(), made);
        Ok(made)
    }

    pub fn upload(&self) -> Result<folder::Upload, Error> {
        if self.is_stale() {
            self.recount()?;
        }
        self.here.upload()
    }

    /// Sends what was written; it is an object when the bucket has all of it.
    pub fn finish(&self, upload: folder::Upload, container: &str, name: &str) -> Result<(), Error> {
        let key = self.key(container, name)?;
        self.ensure(container)?;
        let size = upload.size()?;
        let before = self.bucket.head(&key)?.map_or(0, |meta| weight(&meta));
        if size <= PART {
            let bytes = part(&upload, 0, size)?;
            self.bucket.wait(async {
                let _room = self.bucket.0.parts.acquire().await;
                self.bucket.0.store.put(&key, bytes.into()).await
            })?;
        } else {
            let mut parts = self.bucket.wait(async { self.bucket.0.store.put_multipart(&key).await })?;
            if let Err(error) = self.send(&upload, size, &mut parts) {
                // What a lost store keeps of it, its own rules for unfinished uploads remove.
                let _ = self.bucket.wait(async { parts.abort().await });
                return Err(error);
            }
        }
        drop(upload);
        self.counts(size + NAME + key.as_ref().len() as u64, before);
        Ok(())
    }

    fn send(&self, upload: &folder::Upload, size: u64, parts: &mut Box<dyn MultipartUpload>) -> Result<(), Error> {
        let mut at = 0;
        while at < size {
            let more = PART.min(size - at);
            let _room = self.bucket.0.runtime.block_on(self.bucket.0.parts.acquire());
            let bytes = part(upload, at, more)?;
            self.bucket.wait(async { parts.put_part(bytes.into()).await })?;
            at += more;
        }
        self.bucket.wait(async { parts.complete().await }).map(drop)
    }

    /// Makes an object with the bytes of another without bringing them here; false where the bucket only does so in parts.
    pub fn copy(&self, from: (&str, &str), to: (&str, &str)) -> Result<bool, Error> {
        let (source, key) = (self.key(from.0, from.1)?, self.key(to.0, to.1)?);
        let meta = self.bucket.head(&source)?.ok_or_else(|| Error::NoObject(from.1.to_owned()))?;
        if meta.size > WHOLE {
            return Ok(false);
        }
        // To copy something onto itself is nothing, which S3 refuses.
        if source == key {
            return Ok(true);
        }
        let weight_there = meta.size + NAME + key.as_ref().len() as u64;
        self.here.room(weight_there)?;
        self.ensure(to.0)?;
        let before = self.bucket.head(&key)?.map_or(0, |meta| weight(&meta));
        self.bucket.wait(async { self.bucket.0.store.copy(&source, &key).await })?;
        self.counts(weight_there, before);
        Ok(true)
    }

    pub fn object(&self, container: &str, name: &str) -> Result<Option<Object>, Error> {
        let key = self.key(container, name)?;
        let meta = self.bucket.head(&key)?;
        Ok(meta.map(|meta| Object { size: meta.size, created: created(&meta), bucket: self.bucket.clone(), key, tag: meta.e_tag }))
    }

    pub fn remove(&self, container: &str, name: &str) -> Result<bool, Error> {
        let key = self.key(container, name)?;
        let Some(meta) = self.bucket.head(&key)? else { return Ok(false) };
        self.bucket.wait(async { self.bucket.0.store.delete(&key).await })?;
        self.counts(0, weight(&meta));
        Ok(true)
    }

    pub fn clear(&self, container: &str) -> Result<(), Error> {
        self.bucket.remove_all(&self.container(container))?;
        self.recount()
    }

    pub fn names(&self, container: &str) -> Result<Names, Error> {
        let container = self.container(container);
        Ok(Names { found: self.bucket.0.store.list(Some(&container)), bucket: self.bucket.clone(), container })
    }
}

/// Bytes that an object counts for.
fn weight(meta: &ObjectMeta) -> u64 {
    meta.size + NAME + meta.location.as_ref().len() as u64
}

fn created(meta: &ObjectMeta) -> u64 {
    u64::try_from(meta.last_modified.timestamp()).unwrap_or(0)
}

fn part(upload: &folder::Upload, at: u64, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    let mut read = 0;
    while read < bytes.len() {
        read += upload.read_at(&mut bytes[read..], at + read as u64)?;
    }
    Ok(bytes)
}
