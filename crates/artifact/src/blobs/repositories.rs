//! Repositories: which manifests each one has, what they need, and the tags that point at them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use oci_spec::image::{Descriptor, MediaType};
use serde::{Deserialize, Serialize};

use super::{Blobs, Bucket, Error, FORMAT, at, blocking};
use crate::digest::{Digest, shown};
use crate::manifest::{self, Document, Parsed};
use crate::{disk, reference};

/// Blobs that are looked at at a time.
const CHECKS: usize = 16;

/// One repository, as its file holds it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(super) struct Repository {
    format: u32,
    pub name: String,
    pub tags: BTreeMap<String, Digest>,
    pub manifests: BTreeMap<Digest, Entry>,
}

/// What is kept of a manifest beside its bytes, which are a blob.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(super) struct Entry {
    pub media_type: String,
    pub size: u64,
    /// Blobs that it needs: config and layers.
    pub blobs: Vec<Digest>,
    /// Manifests that it lists.
    pub children: Vec<Digest>,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
    pub artifact_type: Option<String>,
    pub annotations: Option<HashMap<String, String>>,
    /// Seconds since 1970 when it came; decides only what is swept first.
    pub pushed: u64,
}

/// A manifest's name within a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// Movable.
    Tag(String),
    /// Fixed.
    Digest(Digest),
}

/// A manifest that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// The manifest that it is about, if any.
    pub subject: Option<Digest>,
}

/// A manifest that is about another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Referrer {
    /// The manifest.
    pub manifest: Stored,
    /// What it is, such as a signature.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: Option<HashMap<String, String>>,
}

impl Referrer {
    /// How an index lists it.
    pub fn descriptor(&self) -> Option<Descriptor> {
        let Stored { digest, media_type, size, .. } = &self.manifest;
        let mut descriptor = manifest::descriptor(media_type, digest, *size as usize).ok()?;
        descriptor.set_artifact_type(self.artifact_type.as_deref().map(MediaType::from));
        descriptor.set_annotations(self.annotations.clone());
        Some(descriptor)
    }
}

impl std::str::FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Name, Error> {
        match text.contains(':') {
            true => text.parse().map(Name::Digest).map_err(|_| Error::Name(shown(text))),
            false if reference::is_tag(text) => Ok(Name::Tag(text.to_string())),
            false => Err(Error::Name(shown(text))),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Tag(tag) => f.write_str(tag),
            Name::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

impl Repository {
    pub fn new(name: &str) -> Repository {
        Repository { format: FORMAT, name: name.to_owned(), tags: BTreeMap::new(), manifests: BTreeMap::new() }
    }

    /// Whether a manifest of it needs this blob, or is it.
    pub fn needs(&self, digest: &Digest) -> bool {
        self.manifests.contains_key(digest) || self.manifests.values().any(|entry| entry.blobs.contains(digest))
    }
}

impl Entry {
    fn of(parsed: &Parsed, size: u64) -> Result<Entry, Error> {
        let (artifact_type, annotations) = match &parsed.document {
            Document::Manifest(document) => {
                (document.artifact_type().as_ref().unwrap_or(document.config().media_type()).to_string().into(), document.annotations())
            }
            Document::Index(document) => (document.artifact_type().as_ref().map(ToString::to_string), document.annotations()),
        };
        Ok(Entry {
            media_type: parsed.media_type.clone(),
            size,
            blobs: parsed.blobs()?.into_iter().map(|blob| blob.digest).collect(),
            children: parsed.children()?.into_iter().map(|child| child.digest).collect(),
            subject: parsed.subject()?,
            artifact_type,
            annotations: annotations.clone(),
            pushed: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        })
    }

    fn stored(&self, digest: &Digest) -> Stored {
        Stored { digest: *digest, media_type: self.media_type.clone(), size: self.size, subject: self.subject }
    }

    pub fn referrer(&self, digest: &Digest) -> Referrer {
        Referrer { manifest: self.stored(digest), artifact_type: self.artifact_type.clone(), annotations: self.annotations.clone() }
    }
}

/// Reads all repositories' files.
pub(super) fn load(folder: &Path) -> Result<BTreeMap<String, Repository>, Error> {
    let mut repositories = BTreeMap::new();
    for file in fs::read_dir(folder).map_err(at("listing", folder))? {
        let path = file.map_err(at("listing", folder))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            // Left by a write that was cut short.
            disk::remove(&path).map_err(at("removing", &path))?;
            continue;
        }
        let bytes = fs::read(&path).map_err(at("reading", &path))?;
        let repository: Repository = serde_json::from_slice(&bytes).map_err(|source| Error::Repository { path, source })?;
        repositories.insert(repository.name.clone(), repository);
    }
    Ok(repositories)
}

impl Blobs {
    /// The names of all repositories, sorted.
    pub async fn repositories(&self) -> Result<Vec<String>, Error> {
        match &self.0.bucket {
            Some(bucket) => bucket.repository_names().await,
            None => Ok(self.0.repositories.read().keys().cloned().collect()),
        }
    }

    /// A repository's tags, sorted.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, Error> {
        if let Some(bucket) = &self.0.bucket {
            return bucket.tags(repository).await;
        }
        let repositories = self.0.repositories.read();
        let found = repositories.get(repository).ok_or_else(|| Error::NoRepository(shown(repository)))?;
        Ok(found.tags.keys().cloned().collect())
    }

    /// Looks a manifest up; its bytes are a blob under its digest.
    pub async fn find(&self, repository: &str, name: &Name) -> Result<Stored, Error> {
        let missing = || Error::NoManifest { repository: repository.to_string(), reference: name.to_string() };
        if let Some(bucket) = &self.0.bucket {
            let (digest, entry) = bucket.find(repository, name).await?.ok_or_else(missing)?;
            return Ok(entry.stored(&digest));
        }
        let repositories = self.0.repositories.read();
        let found = repositories.get(repository).ok_or_else(missing)?;
        let digest = match name {
            Name::Tag(tag) => found.tags.get(tag).ok_or_else(missing)?,
            Name::Digest(digest) => digest,
        };
        Ok(found.manifests.get(digest).ok_or_else(missing)?.stored(digest))
    }

    /// Manifests whose subject is `subject`, of one artifact type if that is given.
    pub async fn referrers(&self, repository: &str, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Referrer>, Error> {
        let mut about: Vec<Referrer> = match &self.0.bucket {
            Some(bucket) => bucket.referrers(repository, subject).await?,
            None => {
                let repositories = self.0.repositories.read();
                let Some(found) = repositories.get(repository) else { return Ok(Vec::new()) };
                let about = found.manifests.iter().filter(|(_, entry)| entry.subject.as_ref() == Some(subject));
                about.map(|(digest, entry)| entry.referrer(digest)).collect()
            }
        };
        about.retain(|found| artifact_type.is_none() || found.artifact_type.as_deref() == artifact_type);
        Ok(about)
    }

    /// Stores a manifest under a tag or its digest. All that it needs must be here. Writes nothing when all is so already.
    pub async fn put_manifest(&self, repository: &str, name: &Name, content_type: Option<&str>, bytes: Bytes) -> Result<Stored, Error> {
        if !reference::is_repository(repository) {
            return Err(Error::Name(shown(repository)));
        }
        let parsed = manifest::parse(&bytes, content_type)?;
        let digest = Digest::of(&bytes);
        if let Name::Digest(wanted) = name
            && *wanted != digest
        {
            return Err(Error::Digest { wanted: *wanted, got: digest });
        }
        let entry = Entry::of(&parsed, bytes.len() as u64)?;
        self.put(bytes).await?;
        if let Some(bucket) = &self.0.bucket {
            return self.put_shared(bucket, repository, name, &parsed, (digest, entry)).await;
        }
        let _sweep = self.0.sweep.read().await;
        // The manifest's own bytes too may have been swept since they were put.
        self.check_has(&digest, entry.size).await?;
        self.check_needs(&parsed).await?;
        let stored = entry.stored(&digest);
        self.change(repository, |repository| {
            repository.manifests.entry(digest).or_insert(entry);
            if let Name::Tag(tag) = name {
                repository.tags.insert(tag.clone(), digest);
            }
            Ok(())
        })
        .await?;
        Ok(stored)
    }

    /// First what is needed is written down, then it is looked at: whoever prunes meanwhile saw the one, or shows in the other.
    async fn put_shared(
        &self,
        bucket: &Bucket,
        repository: &str,
        name: &Name,
        parsed: &Parsed,
        (digest, entry): (Digest, Entry),
    ) -> Result<Stored, Error> {
        self.check_needs(parsed).await?;
        bucket.put_entry(repository, &digest, &entry).await?;
        if let Name::Tag(tag) = name {
            bucket.put_tag(repository, tag, &digest).await?;
        }
        bucket.quiet().await?;
        let all_here = async {
            self.check_has(&digest, entry.size).await?;
            self.check_needs(parsed).await?;
            match bucket.find(repository, &Name::Digest(digest)).await? {
                Some(_) => Ok(()),
                None => Err(Error::MissingBlob { digest, size: entry.size }),
            }
        };
        match all_here.await {
            Ok(()) => Ok(entry.stored(&digest)),
            Err(Error::MissingBlob { digest: missing, size }) => {
                bucket.remove_entry(repository, &digest).await?;
                Err(Error::MissingBlob { digest: missing, size })
            }
            Err(error) => Err(error),
        }
    }

    async fn check_needs(&self, parsed: &Parsed) -> Result<(), Error> {
        let mut checks = Vec::new();
        for need in parsed.blobs()?.into_iter().chain(parsed.children()?) {
            let blobs = self.clone();
            checks.push(async move { blobs.check_has(&need.digest, need.size).await }.boxed());
        }
        stream::iter(checks).buffered(CHECKS).try_collect().await
    }

    async fn check_has(&self, digest: &Digest, size: u64) -> Result<(), Error> {
        match self.size(digest).await? {
            Some(found) if found == size => Ok(()),
            _ => Err(Error::MissingBlob { digest: *digest, size }),
        }
    }

    /// Removes a tag, or a manifest with all tags that point at it. Its blobs go when the store is next pruned.
    pub async fn delete_manifest(&self, repository: &str, name: &Name) -> Result<(), Error> {
        let digest = self.find(repository, name).await?.digest;
        if let Some(bucket) = &self.0.bucket {
            return match name {
                Name::Tag(tag) => bucket.remove_tag(repository, tag).await,
                Name::Digest(_) => bucket.forget(repository, &digest).await,
            };
        }
        self.change(repository, |repository| {
            match name {
                Name::Tag(tag) => drop(repository.tags.remove(tag)),
                Name::Digest(_) => {
                    repository.manifests.remove(&digest);
                    repository.tags.retain(|_, target| *target != digest);
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes a blob, unless a manifest needs it.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), Error> {
        if let Some(bucket) = &self.0.bucket {
            return bucket.delete_blob(*digest).await;
        }
        let _sweep = self.0.sweep.write().await;
        let user = self.0.repositories.read().values().find(|repository| repository.needs(digest)).map(|found| found.name.clone());
        match user {
            Some(repository) => Err(Error::InUse { digest: *digest, repository }),
            None if self.size(digest).await?.is_none() => Err(Error::NoBlob(*digest)),
            None => {
                let path = self.path(digest);
                disk::remove(&path).map_err(at("removing", &path))
            }
        }
    }

    /// Changes one repository: on disk first, then in memory.
    pub(super) async fn change(&self, name: &str, change: impl FnOnce(&mut Repository) -> Result<(), Error>) -> Result<(), Error> {
        let _writing = self.0.writing.lock().await;
        let old = self.0.repositories.read().get(name).cloned();
        let mut new = old.clone().unwrap_or_else(|| Repository::new(name));
        change(&mut new)?;
        if old.as_ref() == Some(&new) {
            return Ok(());
        }
        let (path, repository) = (self.repository_path(name), new.clone());
        blocking(move || save(&path, &repository)).await?;
        let mut repositories = self.0.repositories.write();
        match new.manifests.is_empty() {
            true => drop(repositories.remove(name)),
            false => drop(repositories.insert(name.to_string(), new)),
        }
        Ok(())
    }

    // Names become file names by their digest: no name can then clash with another, whatever the file system thinks of case or `con`.
    fn repository_path(&self, name: &str) -> PathBuf {
        self.0.folder.join("repositories").join(file_name(name))
    }
}

pub(super) fn file_name(repository: &str) -> String {
    format!("{}.json", Digest::of(repository.as_bytes()).hex())
}

fn save(path: &Path, repository: &Repository) -> Result<(), Error> {
    if repository.manifests.is_empty() {
        disk::remove(path).map_err(at("removing", path))?;
        let folder = path.parent().unwrap_or(path);
        return disk::sync_folder(folder).map_err(at("syncing", folder));
    }
    let bytes = serde_json::to_vec(repository).map_err(|source| Error::Repository { path: path.to_path_buf(), source })?;
    disk::write(path, &bytes).map_err(at("writing", path))
}
