//! Objects as files of this node.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::{Error, Limits};
use crate::sandbox::budget::bytes;
use crate::volumes::{FileId, NAME, Used, Volume, plain};

/// The objects of one App.
pub struct Store {
    volume: Arc<Volume>,
    limits: Limits,
    /// Bytes that the App keeps in another place, which count too.
    elsewhere: AtomicU64,
}

/// What is written before it becomes an object.
pub(super) const UPLOADS: &str = "uploads";

/// An object that can be read, for as long as this lives: whatever becomes of its name.
pub struct Object {
    file: Arc<File>,
    /// How many those are.
    pub size: u64,
    /// Seconds since 1970 when it was made.
    pub created: u64,
    name: String,
}

impl Store {
    /// The objects in a folder, which are counted.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: PathBuf, limits: Limits) -> io::Result<Store> {
        let uploads = folder.join(UPLOADS);
        if uploads.exists() {
            // What was not finished when the node ended never will be.
            fs::remove_dir_all(&uploads)?;
        }
        fs::create_dir_all(&uploads)?;
        Ok(Store { volume: Volume::counted(folder)?, limits, elsewhere: AtomicU64::new(0) })
    }

    /// Bytes that count against the App's limit.
    pub fn bytes(&self) -> u64 {
        self.volume.bytes().saturating_add(self.elsewhere.load(Ordering::Relaxed))
    }

    /// Says how much the App keeps in another place.
    pub fn set_elsewhere(&self, bytes: u64) {
        self.elsewhere.store(bytes, Ordering::Relaxed);
    }

    fn container(&self, container: &str) -> PathBuf {
        self.volume.folder().join(format!("c_{}", plain(container)))
    }

    /// Where an object is: its name can be longer than a file's, and tell apart what file systems do not.
    fn path(&self, container: &str, name: &str) -> Result<(PathBuf, FileId), Error> {
        if name.is_empty() || name.len() > self.limits.name {
            return Err(Error::BadName(self.limits.name));
        }
        let digest = Sha256::new().chain_update(plain(container)).chain_update([0]).chain_update(name).finalize();
        let half = |range: std::ops::Range<usize>| digest[range].iter().fold(0, |all: u64, byte| all << 8 | u64::from(*byte));
        Ok((self.container(container).join(hex::encode(digest)), (half(0..8), half(8..16))))
    }

    /// Whether so many bytes more would fit.
    ///
    /// # Errors
    /// When they would not.
    pub fn room(&self, more: u64) -> Result<(), Error> {
        self.fits(&mut self.volume.lock(), more)
    }

    fn fits(&self, used: &mut Used, more: u64) -> Result<(), Error> {
        let elsewhere = self.elsewhere.load(Ordering::Relaxed);
        used.room(more, self.limits.app.saturating_sub(elsewhere)).map_err(|(_, full)| Error::Full {
            limit: bytes(self.limits.app),
            used: bytes(full.used.saturating_add(elsewhere)),
            more: bytes(full.more),
        })
    }

    /// When a container was made, in seconds since 1970; it is made now if it is new.
    ///
    /// # Errors
    /// When there is no room.
    pub fn ensure(&self, container: &str) -> Result<u64, Error> {
        let mut used = self.volume.lock();
        let folder = self.container(container);
        if !folder.exists() {
            self.fits(&mut used, NAME)?;
            fs::create_dir(&folder)?;
            used.named(0);
        }
        Ok(created(&fs::metadata(folder)?))
    }

    /// Something that is to become an object.
    ///
    /// # Errors
    /// When there is no room.
    pub fn upload(self: &Arc<Store>) -> Result<Upload, Error> {
        let mut used = self.volume.lock();
        self.fits(&mut used, NAME)?;
        let path = self.volume.folder().join(UPLOADS).join(uuid::Uuid::new_v4().to_string());
        let file = Arc::new(OpenOptions::new().read(true).write(true).create_new(true).open(&path)?);
        used.named(0);
        Ok(Upload { store: self.clone(), file, path, done: false })
    }

    /// An object, if there is one.
    ///
    /// # Errors
    /// When the name is none, or the disk fails.
    pub fn object(&self, container: &str, name: &str) -> Result<Option<Object>, Error> {
        let (path, id) = self.path(container, name)?;
        let mut used = self.volume.lock();
        let Some(object) = read(&path)? else { return Ok(None) };
        used.opened(id, &object.file);
        Ok(Some(object))
    }

    /// Removes an object. Whether there was one.
    ///
    /// # Errors
    /// When the name is none, or the disk fails.
    pub fn remove(&self, container: &str, name: &str) -> Result<bool, Error> {
        let (path, id) = self.path(container, name)?;
        let mut used = self.volume.lock();
        let Some(length) = length(&path)? else { return Ok(false) };
        fs::remove_file(path)?;
        used.unnamed(Some((id, length)));
        Ok(true)
    }

    /// Removes all objects of a container.
    ///
    /// # Errors
    /// When the disk fails; those removed until then are gone.
    pub fn clear(&self, container: &str) -> Result<(), Error> {
        let mut names = self.names(container)?;
        while let Some(name) = names.next_name()? {
            self.remove(container, &name)?;
        }
        Ok(())
    }

    /// The names in a container, as they are found.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn names(&self, container: &str) -> Result<Names, Error> {
        match fs::read_dir(self.container(container)) {
            Ok(entries) => Ok(Names(Some(entries))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Names(None)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Names of objects, read one after the other: a container may have more than memory should hold.
pub struct Names(Option<fs::ReadDir>);

impl Names {
    /// The next name.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn next_name(&mut self) -> Result<Option<String>, Error> {
        let Some(entries) = &mut self.0 else { return Ok(None) };
        for entry in entries {
            // One that was removed meanwhile is none.
            if let Some(object) = read(&entry?.path())? {
                return Ok(Some(object.name));
            }
        }
        Ok(None)
    }
}

impl Object {
    /// Some bytes from an offset on.
    ///
    /// # Errors
    /// When the disk fails, or has fewer bytes than it had.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(&self.file, into, offset)
    }
}

/// Some bytes of a file from an offset on; not none, unless none are wanted.
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    let n = std::os::unix::fs::FileExt::read_at(file, into, offset)?;
    #[cfg(windows)]
    let n = std::os::windows::fs::FileExt::seek_read(file, into, offset)?;
    if n == 0 && !into.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(n) }
}

/// What is being written. Dropped without [`Upload::finish`], nothing of it is left.
pub struct Upload {
    store: Arc<Store>,
    file: Arc<File>,
    path: PathBuf,
    done: bool,
}

impl Upload {
    /// Adds bytes.
    ///
    /// # Errors
    /// When they do not fit; then none are added.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut used = self.store.volume.lock();
        self.store.fits(&mut used, bytes.len() as u64)?;
        let before = self.file.metadata()?.len();
        let written = (&*self.file).write_all(bytes);
        used.resized(&self.file, before, self.file.metadata()?.len());
        Ok(written?)
    }

    /// How many bytes were added.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Some of the bytes that were added.
    ///
    /// # Errors
    /// When the disk fails, or there are none from there on.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(&self.file, into, offset)
    }

    /// Makes it an object, in the place of one that has the name. Durable when it returns.
    ///
    /// # Errors
    /// When the name is none, or there is no room for it.
    pub fn finish(mut self, container: &str, name: &str) -> Result<(), Error> {
        let (path, id) = self.store.path(container, name)?;
        self.store.ensure(container)?;
        self.write(name.as_bytes())?;
        self.write(&(name.len() as u32).to_le_bytes())?;
        self.file.sync_all()?;
        let mut used = self.store.volume.lock();
        let replaced = length(&path)?;
        fs::rename(&self.path, &path)?;
        self.done = true;
        if let Some(length) = replaced {
            used.unnamed(Some((id, length)));
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut used = self.store.volume.lock();
        let length = self.file.metadata().map_or(0, |data| data.len());
        match fs::remove_file(&self.path) {
            // No object has this id, and nobody else has the file open.
            Ok(()) => used.unnamed(Some(((0, 0), length))),
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "cannot remove what did not become an object"),
        }
    }
}

fn length(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(data) => Ok(Some(data.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn created(data: &fs::Metadata) -> u64 {
    let since = data.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

/// An object's file: its bytes, its name, the length of the name in four bytes.
fn read(path: &Path) -> io::Result<Option<Object>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let data = file.metadata()?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()));
    let mut length = [0; 4];
    file.seek(SeekFrom::End(-4)).map_err(|_| damaged())?;
    file.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    let size = data.len().checked_sub(length + 4).ok_or_else(damaged)?;
    let mut name = String::new();
    file.seek(SeekFrom::Start(size))?;
    (&file).take(length).read_to_string(&mut name)?;
    Ok(Some(Object { file: Arc::new(file), size, created: created(&data), name }))
}
