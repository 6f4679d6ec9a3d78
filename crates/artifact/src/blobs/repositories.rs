//! Repositories: which manifests each one has, what they need, and the tags that point at them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use oci_spec::image::{Descriptor, MediaType};
use serde::{Deserialize, Serialize};

use super::{Blobs, Error, FORMAT, at, blocking};
use crate::digest::{Digest, shown};
use crate::manifest::{self, Document, Parsed};
use crate::{disk, reference};

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
    pub fn repositories(&self) -> Vec<String> {
        self.0.repositories.read().keys().cloned().collect()
    }

    /// A repository's tags, sorted.
    pub fn tags(&self, repository: &str) -> Result<Vec<String>, Error> {
        let repositories = self.0.repositories.read();
        let found = repositories.get(repository).ok_or_else(|| Error::NoRepository(shown(repository)))?;
        Ok(found.tags.keys().cloned().collect())
    }

    /// Looks a manifest up; its bytes are a blob under its digest.
    pub fn find(&self, repository: &str, name: &Name) -> Result<Stored, Error> {
        let missing = || Error::NoManifest { repository: repository.to_string(), reference: name.to_string() };
        let repositories = self.0.repositories.read();
        let found = repositories.get(repository).ok_or_else(missing)?;
        let digest = match name {
            Name::Tag(tag) => found.tags.get(tag).ok_or_else(missing)?,
            Name::Digest(digest) => digest,
        };
        Ok(found.manifests.get(digest).ok_or_else(missing)?.stored(digest))
    }

    /// Manifests whose subject is `subject`, of one artifact type if that is given.
    pub fn referrers(&self, repository: &str, subject: &Digest, artifact_type: Option<&str>) -> Vec<Referrer> {
        let repositories = self.0.repositories.read();
        let Some(found) = repositories.get(repository) else { return Vec::new() };
        let about = found.manifests.iter().filter(|(_, entry)| entry.subject.as_ref() == Some(subject));
        about
            .filter(|(_, entry)| artifact_type.is_none() || entry.artifact_type.as_deref() == artifact_type)
            .map(|(digest, entry)| Referrer {
                manifest: entry.stored(digest),
                artifact_type: entry.artifact_type.clone(),
                annotations: entry.annotations.clone(),
            })
            .collect()
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
        let _sweep = self.0.sweep.read().await;
        // The manifest's own bytes too may have been swept since they were put.
        self.check_has(&digest, entry.size)?;
        self.check_needs(&parsed)?;
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

    fn check_needs(&self, parsed: &Parsed) -> Result<(), Error> {
        for need in parsed.blobs()?.into_iter().chain(parsed.children()?) {
            self.check_has(&need.digest, need.size)?;
        }
        Ok(())
    }

    fn check_has(&self, digest: &Digest, size: u64) -> Result<(), Error> {
        match self.size(digest)? {
            Some(found) if found == size => Ok(()),
            _ => Err(Error::MissingBlob { digest: *digest, size }),
        }
    }

    /// Removes a tag, or a manifest with all tags that point at it. Its blobs go when the store is next pruned.
    pub async fn delete_manifest(&self, repository: &str, name: &Name) -> Result<(), Error> {
        let digest = self.find(repository, name)?.digest;
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
        let _sweep = self.0.sweep.write().await;
        let needs = |entry: &Entry| entry.blobs.contains(digest);
        let user = self.0.repositories.read().values().find_map(|repository| {
            (repository.manifests.contains_key(digest) || repository.manifests.values().any(needs)).then(|| repository.name.clone())
        });
        match user {
            Some(repository) => Err(Error::InUse { digest: *digest, repository }),
            None if self.size(digest)?.is_none() => Err(Error::NoBlob(*digest)),
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
        let mut new = old.clone().unwrap_or_else(|| Repository {
            format: FORMAT,
            name: name.to_string(),
            tags: BTreeMap::new(),
            manifests: BTreeMap::new(),
        });
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
        self.0.folder.join("repositories").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }
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
