//! Buckets in a Redis that exists already, for apps whose data must not live on one node. What Redis has acknowledged is as durable as its own
//! settings make it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, IntoConnectionInfo, RedisError, Script, Value, cmd};

use super::{Backend, Bucket, BucketId, Error, Keys, Limits, Versioned};

/// How long a guest waits for Redis, to connect and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often its operator is told that it fails.
const TOLD: Duration = Duration::from_secs(10);

/// Every write: one script, so that it is done as a whole or not at all and its limits are checked at the same moment.
const WRITE: &str = include_str!("write.lua");

/// Characters before a stored value: its version, with leading zeros.
const VERSION: usize = 16;

/// A connection to Redis, made when it is first needed and again when it is lost. Cheap to clone.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

impl std::fmt::Debug for Redis {
    // Its address may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis")
    }
}

struct Shared {
    connection: ConnectionManager,
    write: Script,
    limits: Limits,
    /// When its operator was last told that it fails.
    told: Mutex<Option<Instant>>,
}

impl Redis {
    /// `redis://`, `rediss://` or `redis+unix://`, with the number of the database as its path.
    ///
    /// # Errors
    /// When the URL is none of Redis.
    pub fn new(url: &str, limits: Limits) -> Result<Self, Error> {
        let invalid = |error: RedisError| Error::Store(format!("the address of Redis is not valid: {error}"));
        let client = url.into_connection_info().and_then(Client::open).map_err(invalid)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(3)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(invalid)?;
        Ok(Self(Arc::new(Shared { connection, write: Script::new(WRITE), limits, told: Mutex::default() })))
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// In Redis' own words, for the operator alone.
    pub async fn check(&self) -> Result<(), String> {
        let mut connection = self.0.connection.clone();
        cmd("PING").query_async::<()>(&mut connection).await.map_err(|error| error.to_string())
    }
}

impl Shared {
    /// What a guest is told: where Redis is stays between the node and its operator, who is told now and then.
    fn failed(&self, error: RedisError) -> Error {
        let mut told = self.told.lock();
        if told.is_none_or(|at| at.elapsed() > TOLD) {
            *told = Some(Instant::now());
            tracing::error!(%error, "Redis, which keeps the buckets, failed");
        }
        Error::Store("the key-value store cannot be reached or failed".into())
    }
}

fn odd() -> Error {
    Error::Store("the key-value store holds something that is no value of a bucket".into())
}

/// The part of all names of an app; in a cluster of Redis it keeps them in one place.
fn tag(namespace: &str, app: &str) -> String {
    format!("wctl:{{{namespace}/{app}}}")
}

#[async_trait]
impl Backend for Redis {
    fn bucket(&self, id: BucketId) -> Arc<dyn Bucket> {
        let tag = tag(&id.namespace, &id.app);
        let (values, names) = (format!("{tag}:values:{}", id.bucket), format!("{tag}:names:{}", id.bucket));
        Arc::new(Part { shared: self.0.clone(), tag, bucket: id.bucket, values, names })
    }

    async fn forget(&self, namespace: &str, app: &str) -> Result<(), Error> {
        let tag = tag(namespace, app);
        let mut connection = self.0.connection.clone();
        let buckets: Vec<String> =
            cmd("HKEYS").arg(format!("{tag}:sizes")).query_async(&mut connection).await.map_err(|error| self.0.failed(error))?;
        let mut gone = cmd("DEL");
        gone.arg(format!("{tag}:sizes")).arg(format!("{tag}:version"));
        for bucket in buckets {
            gone.arg(format!("{tag}:values:{bucket}")).arg(format!("{tag}:names:{bucket}"));
        }
        gone.query_async::<()>(&mut connection).await.map_err(|error| self.0.failed(error))
    }
}

/// One bucket.
struct Part {
    shared: Arc<Shared>,
    tag: String,
    bucket: String,
    values: String,
    names: String,
}

/// What a write did.
enum Outcome {
    Done(Option<String>),
    Stale(Option<Versioned>),
}

impl Part {
    async fn write(&self, act: &str, key: &str, arguments: impl IntoIterator<Item = Bytes>) -> Result<Outcome, Error> {
        let limits = self.shared.limits;
        let mut call = self.shared.write.key(&self.values);
        call.key(&self.names).key(format!("{}:sizes", self.tag)).key(format!("{}:version", self.tag)).key(format!("{}:sum", self.tag));
        call.arg(act).arg(&self.bucket).arg(limits.bucket);
        for argument in arguments {
            call.arg(&argument[..]);
        }
        let (word, told): (String, Value) =
            call.invoke_async(&mut self.shared.connection.clone()).await.map_err(|error| self.shared.failed(error))?;
        let text = |told: Value| redis::from_redis_value::<Option<String>>(told).map_err(|_| odd());
        match word.as_str() {
            "done" => Ok(Outcome::Done(text(told)?)),
            "stale" => Ok(Outcome::Stale(decoded(redis::from_redis_value(told).map_err(|_| odd())?)?)),
            "large" => {
                let after = text(told)?.unwrap_or_default();
                Err(Error::TooLarge(format!("the bucket would hold {after} bytes, {} are allowed", limits.bucket)))
            }
            "range" => Err(Error::NotANumber(format!("the number at {key:?} would leave its range"))),
            "number" => Err(Error::NotANumber(format!("the value at {key:?} is not a number"))),
            _ => Err(odd()),
        }
    }
}

fn decoded(stored: Option<Vec<u8>>) -> Result<Option<Versioned>, Error> {
    let Some(stored) = stored else { return Ok(None) };
    let (version, value) = stored.split_at_checked(VERSION).ok_or_else(odd)?;
    let version = std::str::from_utf8(version).ok().and_then(|digits| digits.parse().ok()).ok_or_else(odd)?;
    Ok(Some(Versioned { version, value: Bytes::copy_from_slice(value) }))
}

#[async_trait]
impl Bucket for Part {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        let mut connection = self.shared.connection.clone();
        decoded(cmd("HGET").arg(&self.values).arg(key).query_async(&mut connection).await.map_err(|error| self.shared.failed(error))?)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.shared.connection.clone();
        let found: Vec<Option<Vec<u8>>> =
            cmd("HMGET").arg(&self.values).arg(keys).query_async(&mut connection).await.map_err(|error| self.shared.failed(error))?;
        found.into_iter().map(decoded).collect()
    }

    async fn keys(&self, after: Option<&str>, limit: usize) -> Result<Keys, Error> {
        let start = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut page = cmd("ZRANGEBYLEX");
        page.arg(&self.names).arg(start).arg("+").arg("LIMIT").arg(0).arg(limit + 1);
        let mut keys: Vec<String> =
            page.query_async(&mut self.shared.connection.clone()).await.map_err(|error| self.shared.failed(error))?;
        let more = keys.len() > limit;
        keys.truncate(limit);
        Ok(Keys { next: keys.last().filter(|_| more).cloned(), keys })
    }

    async fn set_many(&self, changes: Vec<(String, Option<Bytes>)>) -> Result<(), Error> {
        for (key, value) in &changes {
            self.shared.limits.check(key, value.as_ref())?;
        }
        let words = changes.into_iter().flat_map(|(key, value)| {
            let kind = Bytes::from_static(if value.is_some() { b"set" } else { b"delete" });
            [Bytes::from(key), kind, value.unwrap_or_default()]
        });
        self.write("set", "", words).await.map(drop)
    }

    async fn swap(&self, key: &str, expected: Option<u64>, value: Bytes) -> Result<Result<(), Option<Versioned>>, Error> {
        self.shared.limits.check(key, Some(&value))?;
        let expected = expected.map_or_else(String::new, |version| format!("{version:0VERSION$}"));
        match self.write("swap", key, [Bytes::copy_from_slice(key.as_bytes()), expected.into(), value]).await? {
            Outcome::Stale(seen) => Ok(Err(seen)),
            Outcome::Done(_) => Ok(Ok(())),
        }
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        self.shared.limits.check(key, None)?;
        match self.write("increment", key, [Bytes::copy_from_slice(key.as_bytes()), delta.to_string().into()]).await? {
            Outcome::Done(Some(sum)) => sum.parse().map_err(|_| odd()),
            _ => Err(odd()),
        }
    }
}
