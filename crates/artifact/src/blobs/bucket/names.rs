//! Repositories in a bucket: an object for each manifest and for each tag.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::FutureExt;
use object_store::path::Path;
use serde::Serialize;

use super::{Bucket, each};
use crate::blobs::repositories::{Entry, Name, Repository};
use crate::blobs::{Error, Referrer};
use crate::digest::{Digest, shown};

const MANIFESTS: &str = "_manifests";
const TAGS: &str = "_tags";

/// What an object of a repository is about.
enum About {
    Manifest(Digest),
    Tag(String),
}

/// A part of a repository: its name, a manifest, or a tag.
type Part = (String, Option<(Digest, Entry)>, Option<(String, Digest)>);

impl Bucket {
    fn repositories(&self) -> Path {
        self.key("repositories")
    }

    fn repository(&self, name: &str) -> Path {
        name.split('/').fold(self.repositories(), |key, part| key.join(part))
    }

    pub(super) fn manifest(&self, repository: &str, digest: &Digest) -> Path {
        self.repository(repository).join(MANIFESTS).join(digest.hex())
    }

    fn tag(&self, repository: &str, tag: &str) -> Path {
        self.repository(repository).join(TAGS).join(tag)
    }

    /// Which repository an object belongs to, and what it is there.
    fn about(&self, key: &Path) -> Option<(String, About)> {
        let parts: Vec<_> = key.prefix_match(&self.repositories())?.collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let (name, about) = match parts.as_slice() {
            [name @ .., MANIFESTS, hex] => (name, About::Manifest(format!("sha256:{hex}").parse().ok()?)),
            [name @ .., TAGS, tag] => (name, About::Tag((*tag).to_owned())),
            _ => return None,
        };
        Some((name.join("/"), about))
    }

    /// The names of all repositories, sorted.
    pub(in crate::blobs) async fn repository_names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> =
            self.list(&self.repositories()).await?.iter().filter_map(|meta| Some(self.about(&meta.location)?.0)).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// A repository's tags, sorted.
    pub(in crate::blobs) async fn tags(&self, repository: &str) -> Result<Vec<String>, Error> {
        let found = self.list(&self.repository(repository).join(TAGS)).await?;
        let mut tags: Vec<String> = found.iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect();
        if tags.is_empty() && self.list(&self.repository(repository).join(MANIFESTS)).await?.is_empty() {
            return Err(Error::NoRepository(shown(repository)));
        }
        tags.sort();
        Ok(tags)
    }

    /// Looks a manifest up.
    pub(in crate::blobs) async fn find(&self, repository: &str, name: &Name) -> Result<Option<(Digest, Entry)>, Error> {
        let digest = match name {
            Name::Digest(digest) => *digest,
            Name::Tag(tag) => match self.parsed(&self.tag(repository, tag)).await? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        Ok(self.parsed(&self.manifest(repository, &digest)).await?.map(|entry| (digest, entry)))
    }

    /// Manifests whose subject is `subject`.
    pub(in crate::blobs) async fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        let found = self.read_below(&self.repository(repository).join(MANIFESTS)).await?;
        let entries = found.values().flat_map(|repository| &repository.manifests);
        Ok(entries.filter(|(_, entry)| entry.subject.as_ref() == Some(subject)).map(|(digest, entry)| entry.referrer(digest)).collect())
    }

    /// Everything that all repositories hold.
    pub(in crate::blobs) async fn all(&self) -> Result<BTreeMap<String, Repository>, Error> {
        self.read_below(&self.repositories()).await
    }

    async fn read_below(&self, key: &Path) -> Result<BTreeMap<String, Repository>, Error> {
        let mut reads = Vec::new();
        for meta in self.list(key).await? {
            if let Some((name, about)) = self.about(&meta.location) {
                reads.push(self.clone().read(meta.location, name, about).boxed());
            }
        }
        let mut all: BTreeMap<String, Repository> = BTreeMap::new();
        // What went since it was listed is nobody's.
        for (name, manifest, tag) in each(reads).await?.into_iter().flatten() {
            let repository = all.entry(name).or_insert_with_key(|name| Repository::new(name));
            repository.manifests.extend(manifest);
            repository.tags.extend(tag);
        }
        Ok(all)
    }

    async fn read(self, key: Path, name: String, about: About) -> Result<Option<Part>, Error> {
        Ok(match about {
            About::Manifest(digest) => self.parsed(&key).await?.map(|entry| (name, Some((digest, entry)), None)),
            About::Tag(tag) => self.parsed(&key).await?.map(|digest| (name, None, Some((tag, digest)))),
        })
    }

    async fn put_json(&self, key: &Path, value: &(impl Serialize + Sync)) -> Result<(), Error> {
        let bytes = serde_json::to_vec(value).map_err(|source| Error::Repository { path: key.as_ref().into(), source })?;
        self.put(key, Bytes::from(bytes)).await
    }

    /// Makes a manifest known. Also one that is known is written: it is young again then, and no prune takes it.
    pub(in crate::blobs) async fn put_entry(&self, repository: &str, digest: &Digest, entry: &Entry) -> Result<(), Error> {
        self.put_json(&self.manifest(repository, digest), entry).await
    }

    /// Moves a tag.
    pub(in crate::blobs) async fn put_tag(&self, repository: &str, tag: &str, digest: &Digest) -> Result<(), Error> {
        self.put_json(&self.tag(repository, tag), digest).await
    }

    pub(in crate::blobs) async fn remove_tag(&self, repository: &str, tag: &str) -> Result<(), Error> {
        self.remove(&self.tag(repository, tag)).await
    }

    pub(in crate::blobs) async fn remove_entry(&self, repository: &str, digest: &Digest) -> Result<(), Error> {
        self.remove(&self.manifest(repository, digest)).await
    }

    /// Removes a manifest with all tags that point at it.
    pub(in crate::blobs) async fn forget(&self, repository: &str, digest: &Digest) -> Result<(), Error> {
        self.remove_entry(repository, digest).await?;
        for found in self.read_below(&self.repository(repository).join(TAGS)).await?.into_values().filter(|found| found.name == repository)
        {
            for (tag, _) in found.tags.iter().filter(|(_, target)| *target == digest) {
                self.remove_tag(repository, tag).await?;
            }
        }
        Ok(())
    }
}
