//! What guests keep in `wasi:blobstore`: objects in containers, for one App together, as files of this node or in an S3-compatible store.
//!
//! All of it waits for a disk or a network: it is called on threads that may.

mod bucket;
mod folder;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::volumes::plain;

pub use bucket::Bucket;

/// What one App may keep.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all its objects, [`crate::volumes::NAME`] for each name included.
    pub app: u64,
    /// Bytes of an object's name.
    pub name: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { app: 10 << 30, name: 1 << 10 }
    }
}

/// Why something could not be done, in words for the guest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("there is no object {0}")]
    NoObject(String),
    /// A name that no object can have.
    #[error("an object's name has 1 to {0} bytes")]
    BadName(usize),
    /// It does not fit.
    #[error("the app's objects may hold {limit} together: {used} are in use, {more} more were asked for; remove some")]
    Full {
        /// All that it may keep.
        limit: String,
        /// What it keeps.
        used: String,
        /// What was to be added.
        more: String,
    },
    /// The object store failed, or does not answer.
    #[error("{0}")]
    Store(String),
    /// The disk failed.
    #[error("keeping objects: {0}")]
    Io(#[from] io::Error),
}

/// The objects of all Apps of a node.
pub struct Blobs {
    root: PathBuf,
    limits: Limits,
    bucket: Option<Bucket>,
    open: Mutex<HashMap<(String, String), Weak<Store>>>,
}

impl Blobs {
    /// The objects in a folder, which is made if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: impl Into<PathBuf>, limits: Limits) -> io::Result<Blobs> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Blobs { root, limits, bucket: None, open: Mutex::default() })
    }

    /// The objects in a bucket; the folder has what is on its way there.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open_in(bucket: Bucket, root: impl Into<PathBuf>, limits: Limits) -> io::Result<Blobs> {
        Ok(Blobs { bucket: Some(bucket), ..Blobs::open(root, limits)? })
    }

    /// The objects of an App. Counts them if nobody here has them open, which takes a while.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or the bucket does not answer.
    pub fn of(&self, namespace: &str, app: &str) -> io::Result<Arc<Store>> {
        let key = (namespace.to_owned(), app.to_owned());
        // Held while they are counted: two values for one folder would each count half of what is written.
        let mut open = self.open.lock();
        if let Some(store) = open.get(&key).and_then(Weak::upgrade) {
            return Ok(store);
        }
        let here = folder::Store::open(self.folder(namespace, app), self.limits)?;
        let store = Arc::new(match &self.bucket {
            None => Store::Folder(Arc::new(here)),
            Some(bucket) => Store::Bucket(Arc::new(bucket.open(namespace, app, Arc::new(here), self.limits).map_err(io::Error::other)?)),
        });
        open.retain(|_, store| store.strong_count() > 0);
        open.insert(key, Arc::downgrade(&store));
        Ok(store)
    }

    fn folder(&self, namespace: &str, app: &str) -> PathBuf {
        self.root.join(format!("{}_{}", plain(namespace), plain(app)))
    }

    /// Removes all objects of an App.
    ///
    /// # Errors
    /// While a pod has them open, and when something cannot be removed; what is left goes with the next call.
    pub fn forget(&self, namespace: &str, app: &str) -> io::Result<()> {
        let open = self.open.lock();
        if open.get(&(namespace.to_owned(), app.to_owned())).is_some_and(|store| store.strong_count() > 0) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a pod has them open"));
        }
        if let Some(bucket) = &self.bucket {
            bucket.forget(namespace, app).map_err(io::Error::other)?;
        }
        removed(&self.folder(namespace, app))
    }
}

fn removed(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The objects of one App.
pub enum Store {
    /// As files.
    Folder(Arc<folder::Store>),
    /// In a bucket.
    Bucket(Arc<bucket::Store>),
}

/// An object that can be read.
pub struct Object {
    /// How many bytes it has.
    pub size: u64,
    /// Seconds since 1970 when it was made.
    pub created: u64,
    content: Content,
}

enum Content {
    Folder(folder::Object),
    Bucket(bucket::Object),
}

/// What is being written. Dropped without [`Upload::finish`], nothing of it is left.
pub struct Upload {
    here: folder::Upload,
    bucket: Option<Arc<bucket::Store>>,
}

/// Names of objects, read one after the other: a container may have more than memory should hold.
pub enum Names {
    /// Those of files.
    Folder(folder::Names),
    /// Those of a bucket.
    Bucket(bucket::Names),
}

impl Store {
    /// Bytes that count against the App's limit.
    pub fn bytes(&self) -> u64 {
        match self {
            Store::Folder(store) => store.bytes(),
            Store::Bucket(store) => store.bytes(),
        }
    }

    /// When a container was made, in seconds since 1970; it is made now if it is new.
    ///
    /// # Errors
    /// When there is no room.
    pub fn ensure(&self, container: &str) -> Result<u64, Error> {
        match self {
            Store::Folder(store) => store.ensure(container),
            Store::Bucket(store) => store.ensure(container),
        }
    }

    /// Something that is to become an object.
    ///
    /// # Errors
    /// When there is no room.
    pub fn upload(&self) -> Result<Upload, Error> {
        match self {
            Store::Folder(store) => Ok(Upload { here: store.upload()?, bucket: None }),
            Store::Bucket(store) => Ok(Upload { here: store.upload()?, bucket: Some(store.clone()) }),
        }
    }

    /// An object, if there is one.
    ///
    /// # Errors
    /// When the name is none, or what keeps it fails.
    pub fn object(&self, container: &str, name: &str) -> Result<Option<Object>, Error> {
        Ok(match self {
            Store::Folder(store) => store.object(container, name)?.map(|object| Object {
                size: object.size,
                created: object.created,
                content: Content::Folder(object),
            }),
            Store::Bucket(store) => store.object(container, name)?.map(|object| Object {
                size: object.size,
                created: object.created,
                content: Content::Bucket(object),
            }),
        })
    }

    /// Removes an object. Whether there was one.
    ///
    /// # Errors
    /// When the name is none, or what keeps it fails.
    pub fn remove(&self, container: &str, name: &str) -> Result<bool, Error> {
        match self {
            Store::Folder(store) => store.remove(container, name),
            Store::Bucket(store) => store.remove(container, name),
        }
    }

    /// Removes all objects of a container.
    ///
    /// # Errors
    /// When what keeps them fails; those removed until then are gone.
    pub fn clear(&self, container: &str) -> Result<(), Error> {
        match self {
            Store::Folder(store) => store.clear(container),
            Store::Bucket(store) => store.clear(container),
        }
    }

    /// The names in a container, as they are found.
    ///
    /// # Errors
    /// When what keeps them fails.
    pub fn names(&self, container: &str) -> Result<Names, Error> {
        match self {
            Store::Folder(store) => Ok(Names::Folder(store.names(container)?)),
            Store::Bucket(store) => Ok(Names::Bucket(store.names(container)?)),
        }
    }

    /// Makes an object with the bytes of another.
    ///
    /// # Errors
    /// When there is no such object, or no room.
    pub fn copy(&self, from: (&str, &str), to: (&str, &str)) -> Result<(), Error> {
        if let Store::Bucket(store) = self
            && store.copy(from, to)?
        {
            return Ok(());
        }
        let object = self.object(from.0, from.1)?.ok_or_else(|| Error::NoObject(from.1.to_owned()))?;
        let upload = self.upload()?;
        let mut chunk = vec![0; object.chunk()];
        let mut at = 0;
        while at < object.size {
            let most = chunk.len().min(usize::try_from(object.size - at).unwrap_or(usize::MAX));
            let n = object.read_at(&mut chunk[..most], at)?;
            upload.write(&chunk[..n])?;
            at += n as u64;
        }
        upload.finish(to.0, to.1)
    }
}

impl Object {
    /// Some bytes from an offset on; not none, unless none are wanted.
    ///
    /// # Errors
    /// When what keeps it fails, or has fewer bytes than it had.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.content {
            Content::Folder(object) => object.read_at(into, offset),
            Content::Bucket(object) => object.read_at(into, offset),
        }
    }

    /// How many bytes are worth one read.
    pub fn chunk(&self) -> usize {
        match self.content {
            Content::Folder(_) => 64 << 10,
            // Each is a request.
            Content::Bucket(_) => 1 << 20,
        }
    }
}

impl Upload {
    /// Adds bytes.
    ///
    /// # Errors
    /// When they do not fit; then none are added.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.here.write(bytes)
    }

    /// Makes it an object, in the place of one that has the name. Durable when it returns.
    ///
    /// # Errors
    /// When the name is none, there is no room for it, or what keeps it fails.
    pub fn finish(self, container: &str, name: &str) -> Result<(), Error> {
        match self.bucket {
            None => self.here.finish(container, name),
            Some(bucket) => bucket.finish(self.here, container, name),
        }
    }
}

impl Names {
    /// The next name.
    ///
    /// # Errors
    /// When what keeps them fails.
    pub fn next_name(&mut self) -> Result<Option<String>, Error> {
        match self {
            Names::Folder(names) => names.next_name(),
            Names::Bucket(names) => names.next_name(),
        }
    }
}

#[cfg(test)]
mod tests;
