//! The embedded engine: one file, written by one thread in groups, read through snapshots.

use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend};
use tokio::sync::{Semaphore, oneshot};

use self::disk::Disk;
use self::leases::Leases;
use self::staging::Staging;
use self::view::{FORMAT, LEASES, META, REVISION, View, number};
use self::writer::{Request, Writer};
use super::hub::{self, History, Hub};
use super::{Commit, Error, Event, Guard, Item, LeaseId, Next, Op, Page, Result, Revision, Store, check_limits};

mod disk;
mod leases;
mod record;
mod staging;
#[cfg(test)]
mod tests;
mod view;
mod writer;

/// The layout of the tables that this binary reads and writes.
const KNOWN_FORMAT: u64 = 1;
/// Memory that redb may use for pages (its own default is 1 GiB).
const CACHE: usize = 32 << 20;
/// Requests that may wait for the writer; more wait before they are handed over.
const WAITING: usize = 1024;
/// How often, and how many times, a read is tried while the writer replaces a file that failed.
const PATIENCE: (Duration, usize) = (Duration::from_millis(5), 400);

/// What is said to those who ask a store that is closed.
const CLOSED: &str = "it was closed";

/// Opens what lies under redb, for the first time and after a full disk.
type Opener = Arc<dyn Fn() -> Result<Arc<dyn StorageBackend>> + Send + Sync>;

/// A durable store in one file. Dropping it waits for the writes under way and closes the file.
pub struct Redb {
    shared: Arc<Shared>,
    waiting: Semaphore,
    /// Until the store is closed.
    writer: Mutex<Option<(mpsc::Sender<Request>, JoinHandle<()>)>>,
}

/// What readers, watches and the writer share.
struct Shared {
    /// `None` once the store is closed. Readers hold the lock while they read, so that whoever takes the file away waits for them.
    database: RwLock<Option<Database>>,
    hub: Arc<Hub>,
    leases: Leases,
}

/// Why a read or a staged write did not happen.
#[derive(Debug)]
enum Fault {
    /// redb gave up this file after a failed write; the writer is about to replace it.
    Moved(String),
    Store(Error),
}

type Read<T> = std::result::Result<T, Fault>;

impl Fault {
    fn into_error(self) -> Error {
        match self {
            Fault::Moved(why) => Error::Unavailable(why),
            Fault::Store(error) => error,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Store(error)
    }
}

macro_rules! fault_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Fault {
                fault(error.into())
            }
        }
    )*};
}

fault_from!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::DatabaseError);

fn closed() -> Fault {
    Fault::Store(Error::Unavailable(CLOSED.to_owned()))
}

fn fault(error: redb::Error) -> Fault {
    match error {
        redb::Error::Corrupted(why) => Fault::Store(Error::Broken(format!("{why}: restore the data folder from a backup"))),
        redb::Error::UpgradeRequired(format) => {
            Fault::Store(Error::Broken(format!("its file has redb's format {format}, which this wctl cannot read")))
        }
        redb::Error::DatabaseAlreadyOpen => Fault::Store(Error::Unavailable("another process has it open".to_owned())),
        other => Fault::Moved(other.to_string()),
    }
}

impl Redb {
    /// Opens the file, new if need be. After a crash this takes as long as reading it all.
    pub fn open(path: impl AsRef<Path>) -> Result<Redb> {
        let path: PathBuf = path.as_ref().to_owned();
        Redb::open_with(Arc::new(move || disk::open_file(&path)))
    }

    fn open_with(open: Opener) -> Result<Redb> {
        let disk = Disk::new(open()?).map_err(|error| Error::Unavailable(error.to_string()))?;
        let database = open_database(disk.clone())?;
        prepare(&database).map_err(Fault::into_error)?;
        let (revision, leases) = resume(&database).map_err(Fault::into_error)?;
        let shared = Arc::new(Shared { database: RwLock::new(Some(database)), hub: Arc::new(Hub::new(revision)), leases });
        let (requests, receiver) = mpsc::channel();
        let writer = Writer::new(shared.clone(), disk, open, receiver);
        let writer = std::thread::Builder::new().name("store".to_owned()).spawn(move || writer.run());
        let writer = writer.map_err(|error| Error::Unavailable(format!("starting its thread: {error}")))?;
        Ok(Redb { shared, waiting: Semaphore::new(WAITING), writer: Mutex::new(Some((requests, writer))) })
    }

    /// Hands a request to the writer and waits for its answer. Whoever stops waiting cannot take the request back.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<T> {
        let ended = || Error::Unavailable(CLOSED.to_owned());
        let _turn = self.waiting.acquire().await.map_err(|_| ended())?;
        let (answer, answered) = oneshot::channel();
        let request = request(answer);
        self.writer.lock().as_ref().and_then(|(requests, _)| requests.send(request).ok()).ok_or_else(ended)?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        finish(self.writer.get_mut().take());
    }
}

/// Waits until the writer has answered everybody who asked before now.
fn finish(writer: Option<(mpsc::Sender<Request>, JoinHandle<()>)>) {
    if let Some((requests, writer)) = writer {
        drop(requests);
        let _ = writer.join();
    }
}

/// Opens redb over a file. Every page is checked: what was altered since it was written is found now, not when it is served.
fn open_database(backend: impl StorageBackend) -> Result<Database> {
    let open =
        AssertUnwindSafe(|| Database::builder().set_cache_size(CACHE).set_check_integrity_on_open(true).create_with_backend(backend));
    match std::panic::catch_unwind(open) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(error))))
            if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            Err(Error::Broken(format!("{error}: restore the data folder from a backup")))
        }
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))) if disk::is_full(&error) => {
            Err(Error::Unwritable(format!("{error}; free some space, then start again")))
        }
        Ok(Err(error)) => Err(Fault::from(error).into_error()),
        Err(_) => Err(Error::Broken("opening met a damaged page: restore the data folder from a backup".to_owned())),
    }
}

/// Makes the tables of a new file; refuses those of a newer wctl.
fn prepare(database: &Database) -> Read<()> {
    let transaction = database.begin_write()?;
    let found = number(&transaction.open_table(META)?, FORMAT)?;
    match found {
        KNOWN_FORMAT => return Ok(transaction.abort()?),
        0 => drop(Staging::open(&transaction)?),
        found => return Err(Fault::Store(Error::Newer { found, known: KNOWN_FORMAT })),
    }
    transaction.open_table(META)?.insert(FORMAT, KNOWN_FORMAT)?;
    Ok(transaction.commit()?)
}

/// Where a former process stopped.
fn resume(database: &Database) -> Read<(Revision, Leases)> {
    let transaction = database.begin_read()?;
    let leases = Leases::default();
    for entry in transaction.open_table(LEASES)?.iter()? {
        let (lease, ttl) = entry?;
        leases.begin(lease.value(), ttl.value());
    }
    Ok((number(&transaction.open_table(META)?, REVISION)?, leases))
}

impl Shared {
    fn read_once<T>(&self, job: impl FnOnce(&View) -> Read<T>) -> Read<T> {
        let read = AssertUnwindSafe(|| {
            let database = self.database.read();
            let transaction = database.as_ref().ok_or_else(closed)?.begin_read()?;
            job(&View::open(&transaction)?)
        });
        let damaged = || Fault::Store(Error::Broken("reading met a damaged page: restore the data folder from a backup".to_owned()));
        std::panic::catch_unwind(read).unwrap_or_else(|_| Err(damaged()))
    }

    /// Reads on this thread: for what takes microseconds.
    async fn read_here<T>(&self, job: impl Fn(&View) -> Read<T>) -> Result<T> {
        let (pause, times) = PATIENCE;
        for _ in 0..times {
            match self.read_once(&job) {
                Err(Fault::Moved(_)) => tokio::time::sleep(pause).await,
                done => return done.map_err(Fault::into_error),
            }
        }
        self.read_once(job).map_err(Fault::into_error)
    }

    /// Reads on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(self: &Arc<Self>, job: impl Fn(&View) -> Read<T> + Send + 'static) -> Result<T> {
        let shared = self.clone();
        let runtime = tokio::runtime::Handle::current();
        let read = tokio::task::spawn_blocking(move || runtime.block_on(shared.read_here(job)));
        read.await.map_err(|error| Error::Unavailable(format!("reading was stopped: {error}")))?
    }
}

#[async_trait]
impl Store for Redb {
    async fn get(&self, key: &str) -> Result<(Revision, Option<Item>)> {
        self.shared.read_here(|view| view.get(key)).await
    }

    async fn list(&self, prefix: &str, limit: usize, next: Option<Next>) -> Result<Page> {
        let prefix = prefix.to_owned();
        self.shared.read(move |view| view.list(&prefix, limit, next.as_ref())).await
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<Commit> {
        check_limits(&guards, &ops)?;
        self.ask(|answer| Request::Commit { guards, ops, answer }).await
    }

    fn watch(&self, prefix: &str, after: Revision) -> BoxStream<'static, Result<Event>> {
        hub::watch(&self.shared.hub, &self.shared, prefix, after)
    }

    async fn lease(&self, ttl: u64) -> Result<LeaseId> {
        self.ask(|answer| Request::Lease { ttl, answer }).await
    }

    async fn keep(&self, lease: LeaseId) -> Result<bool> {
        Ok(self.shared.leases.keep(lease))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.ask(|answer| Request::Revoke { lease, answer }).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.ask(|answer| Request::Compact { revision, answer }).await
    }

    async fn close(&self) {
        let (shared, writer) = (self.shared.clone(), self.writer.lock().take());
        let closing = tokio::task::spawn_blocking(move || {
            finish(writer);
            drop(shared.database.write().take());
        });
        // It only fails where the runtime itself is going, and everything with it.
        let _ = closing.await;
    }
}

#[async_trait]
impl History for Shared {
    async fn replay(self: Arc<Self>, prefix: String, after: Revision, upto: Revision, limit: usize) -> Result<(Vec<Event>, Revision)> {
        self.read(move |view| view.replay(&prefix, after, upto, limit)).await
    }
}
