//! The file under redb: remembers how a write failed, and can go on being read as it was when it last was durable.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::store::{Error, Result};

/// Bytes at the start of the file that hold redb's header. It is the only part that redb changes in place; all else that a
/// durable commit refers to stays untouched until the next one is durable.
const HEAD: u64 = 4096;
/// The frozen file keeps what redb writes in blocks of this size.
const BLOCK: u64 = 4096;

/// How writing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No room: worth another try once there is some.
    Full(String),
    /// Anything else. After a failed fsync nobody knows what is on the disk, so nothing is tried again.
    Final(String),
}

/// Whether there was no room to write.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Opens the file that lies at `path`, new if need be, readable by its owner only.
pub(super) fn open_file(path: &Path) -> Result<Arc<dyn StorageBackend>> {
    let unavailable = |error: &dyn fmt::Display| Error::Unavailable(format!("opening {}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| unavailable(&error))?;
    }
    let file = private(path).map_err(|error| unavailable(&error))?;
    Ok(Arc::new(FileBackend::new(file).map_err(|error| unavailable(&error))?))
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The file as redb writes it.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    inner: Arc<dyn StorageBackend>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    head: Vec<u8>,
    failure: Option<Failure>,
}

impl Disk {
    pub(super) fn new(inner: Arc<dyn StorageBackend>) -> io::Result<Disk> {
        let disk = Disk { inner, state: Arc::default() };
        disk.remember()?;
        Ok(disk)
    }

    /// How writing failed, if it did.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.state.lock().failure.clone()
    }

    /// The file as it was when it last was durable. What is written to it stays in memory.
    pub(super) fn frozen(&self) -> io::Result<Frozen> {
        let head = self.state.lock().head.clone();
        let frozen = Frozen { inner: self.inner.clone(), written: Mutex::new(Written { len: self.inner.len()?, blocks: BTreeMap::new() }) };
        frozen.write(0, &head)?;
        Ok(frozen)
    }

    fn remember(&self) -> io::Result<()> {
        let mut head = vec![0; self.inner.len()?.min(HEAD) as usize];
        self.inner.read(0, &mut head)?;
        self.state.lock().head = head;
        Ok(())
    }

    fn note(&self, result: io::Result<()>, full: bool) -> io::Result<()> {
        if let Err(error) = &result {
            let failure = if full && is_full(error) { Failure::Full } else { Failure::Final };
            self.state.lock().failure.get_or_insert(failure(error.to_string()));
        }
        result
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.inner.set_len(len), true)
    }

    fn sync_data(&self) -> io::Result<()> {
        // A write that failed may have been one that redb can do without; a success here shows that it was.
        self.note(self.inner.sync_data(), false)?;
        self.state.lock().failure = None;
        self.remember()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.inner.write(offset, data), true)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<bool, redb::BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<bool, redb::BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), redb::BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), redb::BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), redb::BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<bool, redb::BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

/// A file that is read from the disk and written in memory only: what remains of a store that cannot write.
#[derive(Debug)]
pub(super) struct Frozen {
    inner: Arc<dyn StorageBackend>,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    len: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Frozen {
    /// A block as it is on the disk; beyond the end of the file zeros.
    fn block(&self, number: u64) -> io::Result<Box<[u8]>> {
        let mut block = vec![0; BLOCK as usize];
        let there = self.inner.len()?.saturating_sub(number * BLOCK).min(BLOCK);
        self.inner.read(number * BLOCK, &mut block[..there as usize])?;
        Ok(block.into_boxed_slice())
    }

    /// Calls `each` with every block that the range touches: its number, and which of its bytes are which of the range's.
    fn over(
        offset: u64,
        len: usize,
        mut each: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let inside = (at % BLOCK) as usize;
            let count = (BLOCK as usize - inside).min(len - done);
            each(at / BLOCK, inside..inside + count, done..done + count)?;
            done += count;
        }
        Ok(())
    }
}

impl StorageBackend for Frozen {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.lock();
        Frozen::over(offset, out.len(), |number, inside, outside| {
            match written.blocks.get(&number) {
                Some(block) => out[outside].copy_from_slice(&block[inside]),
                None => out[outside].copy_from_slice(&self.block(number)?[inside]),
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written.lock();
        // What was cut off must read as zeros if the file grows again.
        if len < written.len {
            for number in len.div_ceil(BLOCK)..written.len.div_ceil(BLOCK) {
                written.blocks.insert(number, vec![0; BLOCK as usize].into_boxed_slice());
            }
        }
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock();
        Frozen::over(offset, data.len(), |number, inside, outside| {
            let block = match written.blocks.entry(number) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(self.block(number)?),
            };
            block[inside].copy_from_slice(&data[outside]);
            Ok(())
        })
    }
}
