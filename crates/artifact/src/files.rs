//! A folder of files as an artifact: one archive of plain files, the same bytes for the same files wherever they are packed.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// The most that a folder's archive may have, as a component may.
pub const LARGEST: u64 = 256 << 20;

/// The most files that a folder may have.
pub const MOST: usize = 50_000;

/// Why a folder cannot be packed, or an archive not be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("reading {}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a file.
    #[error("{} is no folder", .0.display())]
    NoFolder(PathBuf),
    /// There is nothing in it.
    #[error("{} has no files in it", .0.display())]
    Empty(PathBuf),
    /// A link, which might lead anywhere, or a device.
    #[error("{} is neither a file nor a folder; only what lies in the folder itself is served, so put a copy of it there", .0.display())]
    Special(PathBuf),
    /// A name that no URL path has.
    #[error("{} cannot be served: its name is not UTF-8, or has a backslash or a control character in it", .0.display())]
    Name(PathBuf),
    /// Too much of it.
    #[error("{} has more than {} MiB, the most that is served", .0.display(), LARGEST >> 20)]
    TooLarge(PathBuf),
    /// Too many of them.
    #[error("{} has more than {MOST} files, the most that are served", .0.display())]
    TooMany(PathBuf),
    /// The archive holds something that was not packed here.
    #[error("the archive of files cannot be served: {0}")]
    Archive(String),
}

/// Where a file lies in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path with `/` between its parts, none of which is empty, `.` or `..`.
    pub path: String,
    /// Bytes before it.
    pub start: u64,
    /// Its bytes.
    pub size: u64,
}

/// The files of a folder, in the order of their names.
///
/// # Errors
/// When it cannot be read, has a link in it, or too much.
pub fn archive(folder: &Path) -> Result<Bytes, Error> {
    let about = fs::metadata(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
    if !about.is_dir() {
        return Err(Error::NoFolder(folder.to_owned()));
    }
    let mut files = Vec::new();
    gather(folder, folder, "", &mut files)?;
    if files.is_empty() {
        return Err(Error::Empty(folder.to_owned()));
    }
    // In one order everywhere: the file system's own differs from machine to machine.
    files.sort();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, path) in files {
        append(&mut tar, &name, &path)?;
        if tar.get_ref().len() as u64 > LARGEST {
            return Err(Error::TooLarge(folder.to_owned()));
        }
    }
    let bytes = tar.into_inner().map_err(|source| Error::Io { path: folder.to_owned(), source })?;
    Ok(bytes.into())
}

fn gather(root: &Path, folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), Error> {
    let failed = |source| Error::Io { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let name = entry.file_name().into_string().ok().filter(|name| is_part(name)).ok_or_else(|| Error::Name(path.clone()))?;
        // Of the entry itself: a link is not followed.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            gather(root, &path, &format!("{prefix}{name}/"), files)?;
        } else if !kind.is_file() {
            return Err(Error::Special(path));
        } else if files.len() == MOST {
            return Err(Error::TooMany(root.to_owned()));
        } else {
            files.push((format!("{prefix}{name}"), path));
        }
    }
    Ok(())
}

/// Owners, times and modes stay out: they differ where the content does not.
fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > LARGEST {
        return Err(Error::TooLarge(path.to_owned()));
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    // Cut off at the size that the header has: whoever writes to it meanwhile must not break the archive.
    tar.append_data(&mut header, name, file.take(size)).map_err(failed)
}

/// What an archive holds, without its contents. Refuses whatever [`archive`] would not have made.
///
/// # Errors
/// When it is broken, or has anything but plain files with plain paths in it.
pub fn entries(archive: impl Read + io::Seek) -> Result<Vec<Entry>, Error> {
    let broken = |error: io::Error| Error::Archive(error.to_string());
    let mut entries: Vec<Entry> = Vec::new();
    let mut tar = tar::Archive::new(archive);
    for entry in tar.entries_with_seek().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() || !path.split('/').all(is_part) {
            return Err(Error::Archive(format!("{path:?} is no plain file")));
        }
        if entries.len() == MOST {
            return Err(Error::Archive(format!("it has more than {MOST} files")));
        }
        entries.push(Entry { path, start: entry.raw_file_position(), size: entry.size() });
    }
    Ok(entries)
}

fn is_part(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains(['/', '\\']) && !part.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn the_same_files_make_the_same_archive_and_lie_where_it_says() {
        let long = format!("{}/{}.txt", "d".repeat(90), "n".repeat(90));
        let files = [("index.html", "<p>"), ("a/b/c.css", "p {}"), ("a/empty", ""), (long.as_str(), "long")];
        let bytes = archive(folder(&files).path()).unwrap();
        let backwards: Vec<_> = files.iter().rev().copied().collect();
        assert_eq!(bytes, archive(folder(&backwards).path()).unwrap());
        let found = entries(io::Cursor::new(&bytes)).unwrap();
        let content = |entry: &Entry| {
            let at = usize::try_from(entry.start).unwrap();
            (entry.path.clone(), String::from_utf8_lossy(&bytes[at..at + usize::try_from(entry.size).unwrap()]).into_owned())
        };
        let mut wanted: Vec<(String, String)> = files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect();
        wanted.sort();
        assert_eq!(found.iter().map(content).collect::<Vec<_>>(), wanted);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_odd_names_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        let outside = folder(&[("secret", "s")]);
        for (target, name) in
            [(outside.path().join("secret"), "file"), (outside.path().to_owned(), "folder"), ("index.html".into(), "near")]
        {
            let served = folder(&[("index.html", "")]);
            std::os::unix::fs::symlink(&target, served.path().join(name)).unwrap();
            assert!(matches!(archive(served.path()), Err(Error::Special(path)) if path.ends_with(name)));
        }
        for name in [&b"a\\b"[..], b"a\nb", b"\xff"] {
            let served = folder(&[]);
            fs::write(served.path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
            assert!(matches!(archive(served.path()), Err(Error::Name(_))));
        }
        assert!(matches!(archive(folder(&[]).path()), Err(Error::Empty(_))));
        assert!(matches!(archive(&outside.path().join("secret")), Err(Error::NoFolder(_))));
    }

    #[test]
    fn an_archive_of_anything_else_is_refused() {
        let with = |kind: tar::EntryType, name: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_entry_type(kind);
            header.as_mut_bytes()[..name.len()].copy_from_slice(name);
            header.set_cksum();
            let mut bytes = header.as_bytes().to_vec();
            bytes.extend([0; 1024]);
            entries(io::Cursor::new(bytes))
        };
        assert!(with(tar::EntryType::Regular, &b"fine.txt"[..]).is_ok());
        for (kind, name) in [
            (tar::EntryType::Symlink, &b"fine.txt"[..]),
            (tar::EntryType::Link, &b"fine.txt"[..]),
            (tar::EntryType::Directory, &b"fine"[..]),
            (tar::EntryType::Regular, &b"../up"[..]),
            (tar::EntryType::Regular, &b"/etc/passwd"[..]),
            (tar::EntryType::Regular, &b"a//b"[..]),
            (tar::EntryType::Regular, &b"a/./b"[..]),
            (tar::EntryType::Regular, &b"a\\..\\b"[..]),
        ] {
            assert!(matches!(with(kind, name), Err(Error::Archive(_))), "{kind:?} {}", String::from_utf8_lossy(name));
        }
        assert!(entries(io::Cursor::new(vec![1; 2000])).is_err());
    }
}
