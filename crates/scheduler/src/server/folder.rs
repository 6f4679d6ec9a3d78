//! The data folder: its format, and the lock that keeps it to one process.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Error;

/// The version of the folder's layout that this binary writes.
pub const FORMAT: u32 = 1;

/// An opened data folder; the lock goes with it, also when the process dies.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, checks its format and takes its lock.
    pub fn open(path: &Path) -> Result<Folder, Error> {
        std::fs::create_dir_all(path).map_err(|e| unwritable(path, e))?;
        let format = read_format(path)?;
        let lock = lock(path)?;
        write_whole(&path.join("pid"), std::process::id().to_string().as_bytes()).map_err(|e| unwritable(path, e))?;
        if format.is_none() {
            write_whole(&path.join("format"), format!("{FORMAT}\n").as_bytes()).map_err(|e| unwritable(path, e))?;
        }
        Ok(Folder { path: path.to_owned(), _lock: lock })
    }

    /// What of it a backup holds.
    pub fn backup(&self, blobs: &artifact::blobs::Blobs) -> crate::backup::Source {
        crate::backup::Source { folder: self.path.clone(), images: blobs.clone() }
    }

    /// Where `name` is kept, its folder made.
    pub fn sub(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).map_err(|e| unwritable(&path, e))?;
        Ok(path)
    }
}

fn unwritable(folder: &Path, source: io::Error) -> Error {
    Error::Unwritable { folder: folder.to_owned(), source }
}

/// The folder's format; `None` for a new folder. Nothing is changed before this is known.
fn read_format(path: &Path) -> Result<Option<u32>, Error> {
    let text = match std::fs::read_to_string(path.join("format")) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return if path.join("store").exists() { Err(Error::NoFormat { folder: path.to_owned() }) } else { Ok(None) };
        }
        Err(e) => return Err(unwritable(path, e)),
    };
    let found: u32 = text.trim().parse().map_err(|_| Error::NoFormat { folder: path.to_owned() })?;
    if found > FORMAT {
        return Err(Error::Newer { folder: path.to_owned(), found, known: FORMAT });
    }
    Ok(Some(found))
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path.join("lock"));
    let file = file.map_err(|e| unwritable(path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            // A file of its own, because on Windows nobody can read the locked one.
            let pid = std::fs::read_to_string(path.join("pid")).ok().and_then(|p| p.trim().parse().ok());
            Err(Error::InUse { folder: path.to_owned(), pid })
        }
        Err(TryLockError::Error(e)) => Err(unwritable(path, e)),
    }
}

/// Writes a file so that a reader, or a crash, sees the old content or the new one.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        let second = Folder::open(dir.path()).unwrap_err().to_string();
        assert!(second.contains(&format!("is in use by process {}", std::process::id())), "{second}");
        drop(first);
        Folder::open(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_folder_is_refused_unharmed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("format"), "2\n").unwrap();
        let error = Folder::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("newer wctl") && error.contains("format 2"), "{error}");
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["format"]);
        assert_eq!(std::fs::read_to_string(dir.path().join("format")).unwrap(), "2\n");
    }

    #[test]
    fn a_folder_that_is_a_file_is_one_clear_sentence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::open(file.path()).unwrap_err().to_string();
        assert!(error.starts_with("cannot write the data folder"), "{error}");
    }

    #[test]
    fn a_store_without_a_format_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("store")).unwrap();
        assert!(matches!(Folder::open(dir.path()), Err(Error::NoFormat { .. })));
    }
}
