//! Bringing into a bucket what a server has kept in its folder so far.

use std::path::{Path, PathBuf};

use super::Bucket;
use crate::blobs::repositories::{Name, Repository};
use crate::blobs::{Blobs, Error, at};

impl Bucket {
    /// Opens the bucket, with `folder` for what is on its way into it. Images that the folder has are copied into the bucket first, under
    /// the tags that this lacks; the folder is kept under another name then.
    pub(in crate::blobs) async fn open(self, folder: &Path) -> Result<Blobs, Error> {
        let old = Blobs::open(folder)?;
        let repositories = old.0.repositories.read().clone();
        match self.check_format().await {
            // It may answer later; until then whoever asks is told.
            Err(Error::Store) if repositories.is_empty() => {}
            checked => checked?,
        }
        if repositories.is_empty() {
            return Ok(old.with(self));
        }
        let new = old.with(self.clone());
        for repository in repositories.values() {
            self.bring(&old, &new, repository).await?;
        }
        drop((old, new));
        let aside = aside(folder);
        std::fs::rename(folder, &aside).map_err(at("setting aside", folder))?;
        tracing::info!(kept = %aside.display(), "the images of this server are in the object store now");
        Ok(Blobs::open(folder)?.with(self))
    }

    async fn bring(&self, old: &Blobs, new: &Blobs, repository: &Repository) -> Result<(), Error> {
        for (digest, entry) in &repository.manifests {
            for need in entry.blobs.iter().chain([digest]) {
                // What a damaged folder lacks is lacking afterwards too.
                let Some(size) = old.size(need).await? else { continue };
                if self.size(need).await? != Some(size) {
                    let mut upload = new.upload(u64::MAX)?;
                    upload.write_all(old.read(need, None).await?.bytes).await?;
                    upload.finish(need).await?;
                }
            }
            if self.find(&repository.name, &Name::Digest(*digest)).await?.is_none() {
                self.put_entry(&repository.name, digest, entry).await?;
            }
        }
        for (tag, digest) in &repository.tags {
            if self.find(&repository.name, &Name::Tag(tag.clone())).await?.is_none() {
                self.put_tag(&repository.name, tag, digest).await?;
            }
        }
        Ok(())
    }
}

/// A name beside the folder that nothing has.
fn aside(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut names = (1..).map(|n| folder.with_file_name(format!("{name}-before-{n}")));
    names.find(|path| !path.exists()).unwrap_or_else(|| folder.with_file_name(name))
}
