//! Pruning: what no tag, no kept digest and nobody recent needs goes, the oldest first, until enough is free.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::repositories::{Entry, Repository};
use super::{Blobs, Error, at, blocking};
use crate::digest::Digest;
use crate::disk;

/// What to keep, and how hard to try.
#[derive(Debug, Clone, Default)]
pub struct Prune {
    /// Manifests that are needed although no tag points at them: what the revisions in history pin.
    pub keep: HashSet<Digest>,
    /// What came or was asked for within this time stays, since its manifest may still be on the way.
    pub grace: Duration,
    /// Nothing goes while the store has no more bytes than this; 0 lets everything go that nobody needs.
    pub watermark: u64,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went, or would go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Manifests with their repositories.
    pub manifests: Vec<(String, Digest)>,
    /// Blobs with their sizes.
    pub blobs: Vec<(Digest, u64)>,
    /// Bytes freed.
    pub freed: u64,
    /// Bytes that stay.
    pub left: u64,
}

/// A blob's file.
pub(super) struct Found {
    pub size: u64,
    pub young: bool,
}

struct Sweep {
    files: HashMap<Digest, Found>,
    /// How many manifests need each blob; a manifest needs its own bytes too.
    references: HashMap<Digest, usize>,
    pruned: Pruned,
}

impl Blobs {
    /// Removes what nobody needs. Pushes wait meanwhile.
    pub async fn prune(&self, prune: Prune) -> Result<Pruned, Error> {
        if let Some(bucket) = &self.0.bucket {
            return bucket.prune(self, prune).await;
        }
        let _sweep = self.0.sweep.write().await;
        let store = self.clone();
        let grace = prune.grace;
        let files = blocking(move || store.files(grace)).await?;
        let repositories = self.0.repositories.read().clone();
        let pruned = choose(&repositories, files, &prune);
        if prune.dry_run {
            return Ok(pruned);
        }
        for (name, digests) in by_repository(&pruned.manifests) {
            self.change(&name, |repository| {
                digests.iter().for_each(|digest| drop(repository.manifests.remove(digest)));
                Ok(())
            })
            .await?;
        }
        let (store, blobs) = (self.clone(), pruned.blobs.clone());
        blocking(move || store.remove_all(&blobs)).await?;
        Ok(pruned)
    }

    fn remove_all(&self, blobs: &[(Digest, u64)]) -> Result<(), Error> {
        let mut touched = self.0.touched.lock();
        for (digest, _) in blobs {
            touched.remove(digest);
            let path = self.path(digest);
            disk::remove(&path).map_err(at("removing", &path))?;
        }
        Ok(())
    }

    fn files(&self, grace: Duration) -> Result<HashMap<Digest, Found>, Error> {
        let folder = self.0.folder.join("blobs").join("sha256");
        let mut files = HashMap::new();
        let wall = SystemTime::now();
        let wanted = self.asked_for(grace);
        for file in fs::read_dir(&folder).map_err(at("listing", &folder))? {
            let file = file.map_err(at("listing", &folder))?;
            let Ok(digest) = format!("sha256:{}", file.file_name().to_string_lossy()).parse::<Digest>() else { continue };
            let metadata = file.metadata().map_err(at("looking at", &file.path()))?;
            let written = metadata.modified().map_err(at("looking at", &file.path()))?;
            // A time in the future is a clock that went back: too young to judge.
            let new = !grace.is_zero() && wall.duration_since(written).map_or(true, |age| age < grace);
            files.insert(digest, Found { size: metadata.len(), young: new || wanted.contains(&digest) });
        }
        Ok(files)
    }
}

fn by_repository(manifests: &[(String, Digest)]) -> BTreeMap<String, Vec<Digest>> {
    let mut grouped: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
    manifests.iter().for_each(|(name, digest)| grouped.entry(name.clone()).or_default().push(*digest));
    grouped
}

pub(super) fn choose(repositories: &BTreeMap<String, Repository>, files: HashMap<Digest, Found>, prune: &Prune) -> Pruned {
    let left = files.values().map(|found| found.size).sum();
    let mut sweep = Sweep { files, references: HashMap::new(), pruned: Pruned { left, ..Pruned::default() } };
    let mut candidates = Vec::new();
    for (name, repository) in repositories {
        let live = live(repository, prune);
        for (digest, entry) in &repository.manifests {
            needs(digest, entry).for_each(|need| *sweep.references.entry(need).or_default() += 1);
            if !live.contains(digest) {
                candidates.push((entry.pushed, name, digest, entry));
            }
        }
    }
    let orphans: Vec<Digest> = sweep.files.keys().filter(|digest| !sweep.references.contains_key(digest)).copied().collect();
    candidates.sort_by_key(|(pushed, name, digest, _)| (*pushed, *name, *digest));
    orphans.iter().for_each(|digest| sweep.drop_blob(digest, prune.watermark));
    for (_, name, digest, entry) in candidates {
        if sweep.pruned.left <= prune.watermark && prune.watermark > 0 {
            break;
        }
        sweep.pruned.manifests.push((name.clone(), *digest));
        for need in needs(digest, entry) {
            let count = sweep.references.entry(need).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                sweep.drop_blob(&need, 0);
            }
        }
    }
    sweep.pruned.blobs.sort();
    sweep.pruned
}

impl Sweep {
    fn drop_blob(&mut self, digest: &Digest, watermark: u64) {
        if watermark > 0 && self.pruned.left <= watermark || self.files.get(digest).is_none_or(|found| found.young) {
            return;
        }
        if let Some(found) = self.files.remove(digest) {
            self.pruned.blobs.push((*digest, found.size));
            self.pruned.freed += found.size;
            self.pruned.left -= found.size;
        }
    }
}

fn needs<'a>(digest: &Digest, entry: &'a Entry) -> impl Iterator<Item = Digest> + 'a {
    let unique: HashSet<Digest> = entry.blobs.iter().copied().chain([*digest]).collect();
    unique.into_iter()
}

/// Manifests that stay: tagged, kept or new ones, what these list, and what is about these.
fn live(repository: &Repository, prune: &Prune) -> HashSet<Digest> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let new = |entry: &Entry| !prune.grace.is_zero() && now.saturating_sub(entry.pushed) < prune.grace.as_secs().max(1);
    let kept = |(digest, entry): &(&Digest, &Entry)| prune.keep.contains(digest) || new(entry);
    let mut live: HashSet<Digest> = repository.tags.values().copied().collect();
    live.extend(repository.manifests.iter().filter(kept).map(|(digest, _)| *digest));
    loop {
        let before = live.len();
        for (digest, entry) in &repository.manifests {
            if live.contains(digest) {
                live.extend(&entry.children);
            } else if entry.subject.is_some_and(|subject| live.contains(&subject)) {
                live.insert(*digest);
            }
        }
        if live.len() == before {
            return live;
        }
    }
}
