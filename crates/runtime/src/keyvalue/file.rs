//! Buckets in one file of redb. Writes that wait together are committed together: one fsync for all of them.

use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, mpsc};

use async_trait::async_trait;
use bytes::Bytes;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase};
use tokio::sync::oneshot;

use super::change::{Change, Outcome, SIZES, Tables, VALUES, address, decode, store};
use super::{Backend, Bucket, BucketId, Error, Keys, Limits, Versioned};

/// Memory for pages of the file.
const CACHE: usize = 16 << 20;

/// Writes that share a commit, at most.
const TOGETHER: usize = 512;

/// Writes that may wait.
const WAITING: usize = 4_096;

/// The file and the thread that writes it.
pub struct File {
    database: Arc<Database>,
    writes: mpsc::SyncSender<Write>,
}

struct Write {
    prefix: Arc<[u8]>,
    change: Change,
    answer: oneshot::Sender<Result<Outcome, Error>>,
}

impl File {
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, Error> {
        let path = dir.join("buckets.redb");
        std::fs::create_dir_all(dir).map_err(|error| Error::Store(format!("making the folder {}: {error}", dir.display())))?;
        let database = Database::builder().set_cache_size(CACHE).create(&path);
        Self::of(database.map_err(|error| Error::Store(format!("opening {}: {error}", path.display())))?, limits)
    }

    pub fn in_memory(limits: Limits) -> Result<Self, Error> {
        Self::of(Database::builder().create_with_backend(InMemoryBackend::new()).map_err(store)?, limits)
    }

    fn of(database: Database, limits: Limits) -> Result<Self, Error> {
        let tables = database.begin_write().map_err(store)?;
        tables.open_table(VALUES).map_err(store)?;
        tables.open_table(SIZES).map_err(store)?;
        tables.commit().map_err(store)?;
        let database = Arc::new(database);
        let (writes, waiting) = mpsc::sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("keyvalue".into());
        let written = database.clone();
        thread.spawn(move || write_all(&written, limits, &waiting)).map_err(store)?;
        Ok(Self { database, writes })
    }

    fn part(&self, prefix: Arc<[u8]>) -> Part {
        Part { database: self.database.clone(), writes: self.writes.clone(), prefix }
    }
}

#[async_trait]
impl Backend for File {
    fn bucket(&self, id: BucketId) -> Arc<dyn Bucket> {
        Arc::new(self.part(prefix(&[&id.namespace, &id.app, &id.bucket])))
    }

    async fn forget(&self, namespace: &str, app: &str) -> Result<(), Error> {
        self.part(prefix(&[namespace, app])).write(Change::Forget).await.map(drop)
    }
}

/// Names with their lengths (namespace, app and bucket), so that none runs into the next and no key into another bucket.
fn prefix(names: &[&str]) -> Arc<[u8]> {
    let mut prefix = Vec::new();
    for name in names {
        prefix.extend_from_slice(&(name.len() as u32).to_be_bytes());
        prefix.extend_from_slice(name.as_bytes());
    }
    prefix.into()
}

/// Commits what waits, again and again, until nobody can write any more.
fn write_all(database: &Database, limits: Limits, waiting: &mpsc::Receiver<Write>) {
    while let Ok(first) = waiting.recv() {
        let mut together = vec![first];
        while together.len() < TOGETHER
            && let Ok(next) = waiting.try_recv()
        {
            together.push(next);
        }
        let (changes, answers): (Vec<_>, Vec<_>) = together.into_iter().map(|write| ((write.prefix, write.change), write.answer)).unzip();
        let outcomes = match commit(database, limits, changes) {
            Ok(outcomes) => outcomes,
            Err(error) => answers.iter().map(|_| Err(error.clone())).collect(),
        };
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Whoever asked may have gone; what was written stays written.
            let _ = answer.send(outcome);
        }
    }
}

/// One durable transaction. A change that is refused leaves no trace; an error of the store undoes them all.
fn commit(database: &Database, limits: Limits, changes: Vec<(Arc<[u8]>, Change)>) -> Result<Vec<Result<Outcome, Error>>, Error> {
    let transaction = database.begin_write().map_err(store)?;
    let outcomes = {
        let values = transaction.open_table(VALUES).map_err(store)?;
        let sizes = transaction.open_table(SIZES).map_err(store)?;
        let mut tables = Tables { values, sizes, limits };
        let mut outcomes = Vec::with_capacity(changes.len());
        for (prefix, change) in changes {
            match tables.apply(&prefix, change) {
                Err(Error::Store(message)) => return Err(Error::Store(message)),
                outcome => outcomes.push(outcome),
            }
        }
        outcomes
    };
    transaction.commit().map_err(store)?;
    Ok(outcomes)
}

/// One bucket of the file.
struct Part {
    database: Arc<Database>,
    writes: mpsc::SyncSender<Write>,
    prefix: Arc<[u8]>,
}

impl Part {
    async fn write(&self, change: Change) -> Result<Outcome, Error> {
        let (answer, outcome) = oneshot::channel();
        let write = Write { prefix: self.prefix.clone(), change, answer };
        self.writes.try_send(write).map_err(|_| Error::Store("the key-value store has too much to write".into()))?;
        outcome.await.map_err(|_| Error::Store("the key-value store has stopped".into()))?
    }

    fn read<T>(&self, read: impl FnOnce(redb::ReadOnlyTable<&'static [u8], &'static [u8]>) -> Result<T, Error>) -> Result<T, Error> {
        let transaction = self.database.begin_read().map_err(store)?;
        read(transaction.open_table(VALUES).map_err(store)?)
    }
}

#[async_trait]
impl Bucket for Part {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        self.read(|values| {
            let found = values.get(address(&self.prefix, key).as_slice()).map_err(store)?;
            found.map(|found| decode(found.value())).transpose()
        })
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, Error> {
        self.read(|values| {
            let get = |key: &String| {
                let found = values.get(address(&self.prefix, key).as_slice()).map_err(store)?;
                found.map(|found| decode(found.value())).transpose()
            };
            keys.iter().map(get).collect()
        })
    }

    async fn keys(&self, after: Option<&str>, limit: usize) -> Result<Keys, Error> {
        self.read(|values| {
            // The prefix itself is no key, since keys are not empty.
            let start = address(&self.prefix, after.unwrap_or_default());
            let range = values.range::<&[u8]>((Bound::Excluded(start.as_slice()), Bound::Unbounded)).map_err(store)?;
            let mut page = Keys::default();
            for entry in range {
                let (address, _) = entry.map_err(store)?;
                let Some(key) = address.value().strip_prefix(&*self.prefix) else { break };
                if page.keys.len() == limit {
                    page.next = page.keys.last().cloned();
                    break;
                }
                page.keys.push(String::from_utf8_lossy(key).into_owned());
            }
            Ok(page)
        })
    }

    async fn set_many(&self, changes: Vec<(String, Option<Bytes>)>) -> Result<(), Error> {
        self.write(Change::Set(changes)).await.map(|_| ())
    }

    async fn swap(&self, key: &str, expected: Option<u64>, value: Bytes) -> Result<Result<(), Option<Versioned>>, Error> {
        match self.write(Change::Swap(key.to_owned(), expected, value)).await? {
            Outcome::Stale(seen) => Ok(Err(seen)),
            _ => Ok(Ok(())),
        }
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        match self.write(Change::Increment(key.to_owned(), delta)).await? {
            Outcome::Sum(sum) => Ok(sum),
            _ => Err(Error::Store("the key-value store answered something else".into())),
        }
    }
}
