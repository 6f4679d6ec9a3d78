//! Removing from a bucket what nobody needs, while other servers push into it.
//!
//! No lock is needed of the store, only that reads see what was written before: whoever sweeps leaves a mark and then reads what is
//! needed; whoever pushes writes what it needs, waits until there is no mark, and then looks whether all of it is still there.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use uuid::Uuid;

use super::{Bucket, each};
use crate::blobs::gc::{Found, Prune, Pruned, choose};
use crate::blobs::{Blobs, Error};
use crate::digest::Digest;

/// How long a sweep may take; what it did not remove by then, the next one removes.
const LONGEST: Duration = Duration::from_secs(120);

/// When a mark is believed to be one of a server that died. Longer than a sweep by the time of its last request and by what clocks may differ.
const STALE: Duration = Duration::from_secs(300);

/// How long a push waits for a sweep.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// A sweep that is under way.
struct Sweep {
    bucket: Bucket,
    mark: Path,
    began: Instant,
}

impl Sweep {
    async fn begin(bucket: &Bucket) -> Result<Sweep, Error> {
        let (mark, began) = (bucket.key("sweeps").join(Uuid::new_v4().to_string()), Instant::now());
        bucket.put(&mark, Default::default()).await?;
        Ok(Sweep { bucket: bucket.clone(), mark, began })
    }

    /// Removes an object while it may: later somebody may believe that nobody sweeps.
    fn remove(&self, key: Path) -> BoxFuture<'static, Result<(), Error>> {
        let (bucket, began) = (self.bucket.clone(), self.began);
        let work = async move { if began.elapsed() > LONGEST { Err(Error::Sweeping) } else { bucket.remove(&key).await } };
        work.boxed()
    }

    async fn end(self) {
        if self.bucket.remove(&self.mark).await.is_err() {
            tracing::warn!("the mark of a prune stays in the object store: pushes wait for up to {} s", STALE.as_secs());
        }
    }
}

impl Bucket {
    /// Waits until nobody sweeps.
    pub(in crate::blobs) async fn quiet(&self) -> Result<(), Error> {
        let since = Instant::now();
        while self.marks().await?.iter().any(|(_, age)| *age < STALE) {
            if since.elapsed() > PATIENCE {
                return Err(Error::Sweeping);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn marks(&self) -> Result<Vec<(Path, Duration)>, Error> {
        let now = SystemTime::now();
        let found = self.list(&self.key("sweeps")).await?;
        // A time in the future is a clock that differs: the mark is new.
        let age = |at: SystemTime| now.duration_since(at).unwrap_or_default();
        Ok(found.into_iter().map(|meta| (meta.location, age(meta.last_modified.into()))).collect())
    }

    /// Every blob with its size and age.
    pub(in crate::blobs) async fn blob_list(&self) -> Result<Vec<(Digest, u64, SystemTime)>, Error> {
        let found = self.list(&self.blobs()).await?;
        let blob = |meta: object_store::ObjectMeta| {
            let digest = format!("sha256:{}", meta.location.filename()?).parse().ok()?;
            Some((digest, meta.size, meta.last_modified.into()))
        };
        Ok(found.into_iter().filter_map(blob).collect())
    }

    /// Removes what nobody needs. It goes on when whoever asked has gone, so that no mark stays.
    pub(in crate::blobs) async fn prune(&self, blobs: &Blobs, prune: Prune) -> Result<Pruned, Error> {
        let (bucket, blobs) = (self.clone(), blobs.clone());
        let work = async move {
            if prune.watermark > 0 {
                let kept = bucket.blob_list().await?.iter().map(|(_, size, _)| size).sum();
                if kept <= prune.watermark {
                    return Ok(Pruned { left: kept, ..Pruned::default() });
                }
            }
            if prune.dry_run {
                return bucket.chosen(&blobs, &prune).await;
            }
            let sweep = Sweep::begin(&bucket).await?;
            let done = bucket.swept(&blobs, &prune, &sweep).await;
            sweep.end().await;
            done
        };
        tokio::spawn(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn chosen(&self, blobs: &Blobs, prune: &Prune) -> Result<Pruned, Error> {
        let repositories = self.all().await?;
        Ok(choose(&repositories, self.found(blobs, prune.grace).await?, prune))
    }

    async fn found(&self, blobs: &Blobs, grace: Duration) -> Result<HashMap<Digest, Found>, Error> {
        let listed = self.blob_list().await?;
        let now = SystemTime::now();
        let wanted = blobs.asked_for(grace);
        let found = |(digest, size, written): (Digest, u64, SystemTime)| {
            let new = !grace.is_zero() && now.duration_since(written).map_or(true, |age| age < grace);
            (digest, Found { size, young: new || wanted.contains(&digest) })
        };
        Ok(listed.into_iter().map(found).collect())
    }

    async fn swept(&self, blobs: &Blobs, prune: &Prune, sweep: &Sweep) -> Result<Pruned, Error> {
        let pruned = self.chosen(blobs, prune).await?;
        // A manifest goes before what it needs: one that is there is whole.
        let manifests = pruned.manifests.iter().map(|(repository, digest)| self.manifest(repository, digest));
        each(manifests.map(|key| sweep.remove(key)).collect()).await?;
        let blobs = pruned.blobs.iter().map(|(digest, _)| self.blob(digest));
        each(blobs.map(|key| sweep.remove(key)).collect()).await?;
        let stale = self.marks().await?.into_iter().filter(|(mark, age)| *age >= STALE && *mark != sweep.mark);
        for (mark, _) in stale {
            self.remove(&mark).await?;
        }
        Ok(pruned)
    }

    /// Removes one blob, unless a manifest needs it.
    pub(in crate::blobs) async fn delete_blob(&self, digest: Digest) -> Result<(), Error> {
        let bucket = self.clone();
        let work = async move {
            let sweep = Sweep::begin(&bucket).await?;
            let done = bucket.delete_unneeded(&digest, &sweep).await;
            sweep.end().await;
            done
        };
        tokio::spawn(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn delete_unneeded(&self, digest: &Digest, sweep: &Sweep) -> Result<(), Error> {
        if let Some(repository) = self.all().await?.into_values().find(|repository| repository.needs(digest)) {
            return Err(Error::InUse { digest: *digest, repository: repository.name });
        }
        match self.size(digest).await? {
            None => Err(Error::NoBlob(*digest)),
            Some(_) => sweep.remove(self.blob(digest)).await,
        }
    }
}
