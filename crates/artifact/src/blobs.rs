//! Content by its digest, in a folder or in a bucket that several servers share, with the repositories, tags and manifests that say what it is for.
//!
//! Layout of the folder: `format` (the layout's version), `blobs/sha256/<hex>` (content), `repositories/<hex of the name's digest>.json`
//! (tags and manifests of one repository), `uploads/` (content that is still coming; emptied when the folder is opened). Files get their
//! name only when they are whole, verified and synced. A blob is visible in every repository to whoever knows its digest. With a bucket
//! the folder holds only what is on its way there.

mod bucket;
mod copies;
mod gc;
mod reading;
mod repositories;
mod upload;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Mutex as AsyncMutex, RwLock as AsyncRwLock};

use crate::digest::Digest;
use crate::{disk, manifest};
use repositories::Repository;

pub use bucket::Bucket;
pub use copies::{Copies, Copy};
pub use gc::{Prune, Pruned};
pub use reading::Reading;
pub use repositories::{Name, Referrer, Stored};
pub use upload::Upload;

/// The layout that this code writes.
const FORMAT: u32 = 1;

/// Blobs, manifests and tags. Cheap to clone; one process at a time may have a folder open, any number a bucket.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blobs").field("folder", &self.0.folder).field("bucket", &self.0.bucket).finish()
    }
}

struct Inner {
    folder: PathBuf,
    /// Where everything is kept instead of in the folder.
    bucket: Option<Bucket>,
    repositories: RwLock<BTreeMap<String, Repository>>,
    /// Held while a repository's file is being rewritten.
    writing: AsyncMutex<()>,
    /// Whoever links content in reads; whoever sweeps writes, so that nothing vanishes between a check and its use.
    sweep: AsyncRwLock<()>,
    /// When a blob was last asked for: what a push has just found here must not be swept before its manifest comes.
    touched: Mutex<HashMap<Digest, Instant>>,
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed; a full disk is one reason.
    #[error("{act} {path}{}", hint(source))]
    Io {
        /// What was being done.
        act: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder is of a later time.
    #[error("the registry folder {path} has format {found}, this wctl knows up to {FORMAT}: use a newer wctl")]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: String,
    },
    /// A repository's file cannot be understood.
    #[error("the repository file {path} is damaged: restore it, or remove it and push its images again")]
    Repository {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Content that is not what its name says; it has been removed.
    #[error("the stored blob {digest} was damaged on disk and has been removed: push or pull it again")]
    Damaged {
        /// The blob.
        digest: Digest,
    },
    /// Content that came is not what was promised.
    #[error("the content has the digest {got}, not {wanted}")]
    Digest {
        /// What was promised.
        wanted: Digest,
        /// What came.
        got: Digest,
    },
    /// Content beyond the limit.
    #[error("the content has more than the {limit} bytes that are allowed")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Whoever was sending stopped.
    #[error("the content stopped coming after {received} bytes")]
    Interrupted {
        /// How much had come.
        received: u64,
        /// Why it stopped.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing here has that digest.
    #[error("there is no blob {0}")]
    NoBlob(Digest),
    /// A manifest that names blobs that are not here.
    #[error("the manifest refers to {digest} with {size} bytes, which has not been pushed")]
    MissingBlob {
        /// The blob or child manifest.
        digest: Digest,
        /// Its described size.
        size: u64,
    },
    /// A repository's or tag's name that breaks the rules.
    #[error("the name {0} is not allowed")]
    Name(String),
    /// Nothing of that name.
    #[error("there is no manifest {reference} in the repository {repository}")]
    NoManifest {
        /// The repository.
        repository: String,
        /// The tag or digest.
        reference: String,
    },
    /// No such repository.
    #[error("there is no repository {0}")]
    NoRepository(String),
    /// A blob that a manifest still needs.
    #[error("the blob {digest} is needed by a manifest in the repository {repository}")]
    InUse {
        /// The blob.
        digest: Digest,
        /// One of the repositories.
        repository: String,
    },
    /// The bucket does not answer, or not as it should.
    #[error("the object store that keeps the images cannot be reached or failed: the server's log says why")]
    Store,
    /// A push or a prune has met another prune.
    #[error("the images are being pruned: try again in a minute")]
    Sweeping,
    /// A manifest that is not one.
    #[error("the manifest is refused")]
    Manifest(#[from] manifest::Error),
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => ": the disk is full, free some space or run `wctl prune`",
        io::ErrorKind::PermissionDenied => ": this user may not, check the folder's owner",
        _ => "",
    }
}

/// Names the act and the path of an input or output error.
fn at(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { act, path, source }
}

impl Blobs {
    /// Opens the store in `folder`, which is made if it is missing. Leftovers of interrupted uploads are removed.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Blobs, Error> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(at("making", &folder))?;
        check_format(&folder)?;
        let uploads = folder.join("uploads");
        match fs::remove_dir_all(&uploads) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at("emptying", &uploads)(error)),
            _ => {}
        }
        for part in [uploads, folder.join("blobs").join("sha256"), folder.join("repositories")] {
            fs::create_dir_all(&part).map_err(at("making", &part))?;
        }
        let repositories = repositories::load(&folder.join("repositories"))?;
        Ok(Blobs(Arc::new(Inner {
            folder,
            bucket: None,
            repositories: RwLock::new(repositories),
            writing: AsyncMutex::new(()),
            sweep: AsyncRwLock::new(()),
            touched: Mutex::new(HashMap::new()),
        })))
    }

    /// Opens the store in `bucket`. What is on its way there is in `folder`, as are images of the time before there was a bucket: these
    /// are copied into it first, and the folder is kept under another name.
    pub async fn open_in(bucket: Bucket, folder: impl Into<PathBuf>) -> Result<Blobs, Error> {
        bucket.open(&folder.into()).await
    }

    /// The same folder for what is on its way into a bucket.
    fn with(&self, bucket: Bucket) -> Blobs {
        Blobs(Arc::new(Inner {
            folder: self.0.folder.clone(),
            bucket: Some(bucket),
            repositories: RwLock::default(),
            writing: AsyncMutex::new(()),
            sweep: AsyncRwLock::new(()),
            touched: Mutex::default(),
        }))
    }

    /// Whether other servers see the same.
    pub fn is_shared(&self) -> bool {
        self.0.bucket.is_some()
    }

    /// The size of a blob in bytes, or nothing if it is not here.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.touch(digest);
        if let Some(bucket) = &self.0.bucket {
            return bucket.size(digest).await;
        }
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("looking at", &path)(error)),
        }
    }

    /// A whole blob, verified. A damaged one is removed and is an error.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, Error> {
        if let Some(bucket) = &self.0.bucket {
            self.touch(digest);
            return bucket.bytes(digest).await;
        }
        let (store, digest) = (self.clone(), *digest);
        blocking(move || {
            let path = store.path(&digest);
            let bytes = fs::read(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::NoBlob(digest),
                _ => at("reading", &path)(error),
            })?;
            if Digest::of(&bytes) == digest { Ok(bytes.into()) } else { Err(store.discard_file(&digest)) }
        })
        .await
    }

    /// Stores `bytes`; in a folder it does nothing but verify when they are here already.
    pub async fn put(&self, bytes: Bytes) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        if self.holds(&digest).await? {
            return Ok(digest);
        }
        let mut upload = self.upload(u64::MAX)?;
        upload.write(&bytes).await?;
        upload.finish(&digest).await?;
        Ok(digest)
    }

    /// Begins to store content that comes in pieces, at most `limit` bytes.
    pub fn upload(&self, limit: u64) -> Result<Upload, Error> {
        Upload::begin(self.clone(), limit)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.folder.join("blobs").join("sha256").join(digest.hex())
    }

    fn touch(&self, digest: &Digest) {
        self.0.touched.lock().insert(*digest, Instant::now());
    }

    /// What was asked for within `grace`.
    fn asked_for(&self, grace: Duration) -> HashSet<Digest> {
        let now = Instant::now();
        let mut touched = self.0.touched.lock();
        touched.retain(|_, at| now.duration_since(*at) < grace.max(Duration::from_secs(3600)));
        touched.iter().filter(|(_, at)| now.duration_since(**at) < grace).map(|(digest, _)| *digest).collect()
    }

    /// Removes a blob that turned out to be damaged, so that the next push stores it afresh.
    async fn discard(&self, digest: &Digest) -> Error {
        match &self.0.bucket {
            Some(bucket) => bucket.discard(digest).await,
            None => self.discard_file(digest),
        }
    }

    fn discard_file(&self, digest: &Digest) -> Error {
        tracing::error!(%digest, "removing a blob that is damaged on disk");
        let path = self.path(digest);
        match disk::remove(&path) {
            Ok(()) => Error::Damaged { digest: *digest },
            Err(error) => at("removing the damaged blob", &path)(error),
        }
    }
}

fn check_format(folder: &Path) -> Result<(), Error> {
    let path = folder.join("format");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(()),
            _ => Err(Error::Newer { path: folder.to_path_buf(), found: crate::digest::shown(text.trim()) }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk::write(&path, FORMAT.to_string().as_bytes()).map_err(at("writing", &path))
        }
        Err(error) => Err(at("reading", &path)(error)),
    }
}

/// Runs what blocks on the disk beside the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
