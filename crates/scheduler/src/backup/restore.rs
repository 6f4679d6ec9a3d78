//! A backup put back into a cluster that has nothing yet.

use std::path::{Path, PathBuf};

use super::{Contents, Error, REGISTRY, Target, check, files, read};
use crate::freeze::{self, Frozen};
use crate::pki::ClusterKey;
use crate::store::{Guard, Op, Store};

/// Of one commit of a restore.
const OPS: usize = 100;
const BYTES: usize = 1_000_000;

/// Puts a backup into an empty store and an empty registry, and leaves the scheduler stopped until somebody says `wctl thaw`. It is
/// checked as a whole before anything is written.
pub async fn restore(file: &Path, key: Option<&ClusterKey>, store: &dyn Store, folder: &Path) -> Result<Contents, Error> {
    let contents = check(file, key)?;
    if !store.list("", 1, None).await?.items.is_empty() {
        return Err(Error::NotEmpty("the store".to_owned()));
    }
    if files(&folder.join(REGISTRY)).is_ok_and(|found| !found.is_empty()) {
        return Err(Error::NotEmpty(folder.join(REGISTRY).display().to_string()));
    }
    let mut restored = Restored { folder: folder.to_owned(), open: None, batches: vec![Vec::new()], bytes: 0 };
    read(file, &mut restored)?;
    restored.close()?;
    let frozen = Frozen {
        by: "wctl restore".to_owned(),
        since: jiff::Timestamp::now().to_string(),
        why: format!("restored from a backup of {}", contents.created),
        restored: true,
    };
    // First of all, so that a restore that breaks off starts nothing.
    store.commit(vec![Guard::Absent(freeze::KEY.to_owned())], vec![freeze::op(&frozen)]).await?;
    for batch in restored.batches.into_iter().filter(|batch| !batch.is_empty()) {
        store.commit(Vec::new(), batch).await?;
    }
    Ok(contents)
}

struct Restored {
    folder: PathBuf,
    open: Option<(String, std::fs::File)>,
    batches: Vec<Vec<Op>>,
    bytes: usize,
}

impl Restored {
    fn close(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some((name, file)) => file.sync_all().map_err(|error| Error::File(name, error)),
            None => Ok(()),
        }
    }
}

impl Target for Restored {
    fn key(&mut self, key: String, value: Vec<u8>) -> Result<(), Error> {
        let size = key.len() + value.len();
        let full = self.batches.last().is_none_or(|batch| batch.len() >= OPS) || self.bytes + size > BYTES;
        if full {
            self.batches.push(Vec::new());
            self.bytes = 0;
        }
        self.bytes += size;
        if let Some(batch) = self.batches.last_mut() {
            batch.push(Op::Put { key, value: value.into(), lease: None });
        }
        Ok(())
    }

    fn part(&mut self, name: &str, part: &[u8]) -> Result<(), Error> {
        use std::io::Write;
        let failed = |error| Error::File(name.to_owned(), error);
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            self.close()?;
            let inside = name.starts_with("registry/")
                && name.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':']));
            if !inside {
                return Err(Error::Damaged { line: 0, why: format!("`{name}` is no file of a registry") });
            }
            let path = self.folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(&self.folder)).map_err(failed)?;
            self.open = Some((name.to_owned(), std::fs::File::create(path).map_err(failed)?));
        }
        match &mut self.open {
            Some((_, file)) => file.write_all(part).map_err(failed),
            None => Ok(()),
        }
    }
}
