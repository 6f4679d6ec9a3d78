//! Buckets of `wasi:keyvalue`, durable, with compare-and-swap.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::redis::Redis;

mod change;
mod file;
mod redis;
#[cfg(test)]
mod tests;

/// Which bucket: within a namespace, within an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketId {
    /// The namespace.
    pub namespace: String,
    /// The app, or the pod's owner where there is no app.
    pub app: String,
    /// The name that the manifest grants.
    pub bucket: String,
}

/// A value with the number of its last change, which compare-and-swap needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// Grows with each change of the key.
    pub version: u64,
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// In order.
    pub keys: Vec<String>,
    /// Where the next page starts; none after the last.
    pub next: Option<String>,
}

/// Why an operation on a bucket failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key, value or the whole bucket would be too large.
    #[error("{0}")]
    TooLarge(String),
    /// `increment` on something that is not a number, or past its range.
    #[error("{0}")]
    NotANumber(String),
    /// The store failed.
    #[error("{0}")]
    Store(String),
}

/// One bucket. Each write is durable before it returns.
#[async_trait]
pub trait Bucket: Send + Sync {
    /// The value of a key.
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error>;
    /// Values of several keys, in the order of the keys, at one moment.
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, Error>;
    /// Up to `limit` keys after `after`.
    async fn keys(&self, after: Option<&str>, limit: usize) -> Result<Keys, Error>;
    /// Applies changes in order, all or none. A value of none deletes the key.
    async fn set_many(&self, changes: Vec<(String, Option<Bytes>)>) -> Result<(), Error>;
    /// Sets `key` if its version still is `expected` (none: it does not exist). Otherwise returns what is there now.
    async fn swap(&self, key: &str, expected: Option<u64>, value: Bytes) -> Result<Result<(), Option<Versioned>>, Error>;
    /// Adds to a decimal number, which starts at zero, and returns the sum.
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, Error>;
}

/// What a bucket may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a key.
    pub key: usize,
    /// Bytes of a value.
    pub value: usize,
    /// Bytes of all keys and values of one bucket.
    pub bucket: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { key: 1 << 10, value: 1 << 20, bucket: 1 << 30 }
    }
}

impl Limits {
    /// Whether a key and its value may be stored.
    fn check(&self, key: &str, value: Option<&Bytes>) -> Result<(), Error> {
        if key.is_empty() || key.len() > self.key {
            return Err(Error::TooLarge(format!("a key has 1 to {} bytes, this one {}", self.key, key.len())));
        }
        match value {
            Some(value) if value.len() > self.value => {
                Err(Error::TooLarge(format!("a value has at most {} bytes, this one {}", self.value, value.len())))
            }
            _ => Ok(()),
        }
    }
}

/// All buckets of a node.
pub struct Buckets(Box<dyn Backend>);

/// Where buckets are kept.
#[async_trait]
pub trait Backend: Send + Sync {
    /// One bucket.
    fn bucket(&self, id: BucketId) -> Arc<dyn Bucket>;
    /// Removes all buckets of an app, with all that is in them.
    async fn forget(&self, namespace: &str, app: &str) -> Result<(), Error>;
}

impl Buckets {
    /// Opens the node's file, `DIR/buckets.redb`, and makes it if it is missing.
    ///
    /// # Errors
    /// When the file cannot be opened, or another process has it open.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, Error> {
        file::File::open(dir, limits).map(Self::of)
    }

    /// Buckets in memory, gone with this value: for `wctl run` and tests.
    ///
    /// # Errors
    /// When there is no memory or no thread for them.
    pub fn in_memory(limits: Limits) -> Result<Self, Error> {
        file::File::in_memory(limits).map(Self::of)
    }

    /// Buckets kept elsewhere.
    pub fn of(backend: impl Backend + 'static) -> Self {
        Self(Box::new(backend))
    }

    /// One bucket.
    pub fn bucket(&self, id: BucketId) -> Arc<dyn Bucket> {
        self.0.bucket(id)
    }

    /// Removes all buckets of an app, with all that is in them.
    ///
    /// # Errors
    /// When the store fails; then all of them are still there.
    pub async fn forget(&self, namespace: &str, app: &str) -> Result<(), Error> {
        self.0.forget(namespace, app).await
    }
}
