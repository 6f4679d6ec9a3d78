//! A folder that a guest filled, with all below it: counted, or removed. Nothing here follows a link.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::NAME;

/// What everything in a folder counts: its names, and the content of each file once however many names it has.
pub(super) fn count(folder: &Path) -> io::Result<u64> {
    let (mut bytes, mut seen) = (0u64, HashSet::new());
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let data = entry.metadata()?;
            let content = if data.is_dir() || !first_name(&data, &mut seen) { 0 } else { data.len() };
            bytes = bytes.saturating_add(NAME).saturating_add(content);
            if data.is_dir() {
                left.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

/// Whether no other name of the same file was seen before.
#[cfg(unix)]
fn first_name(data: &Metadata, seen: &mut HashSet<(u64, u64)>) -> bool {
    use std::os::unix::fs::MetadataExt;
    data.nlink() < 2 || seen.insert((data.dev(), data.ino()))
}

/// Where the system does not say, each name counts as a file: rather too much than too little.
#[cfg(not(unix))]
fn first_name(_: &Metadata, _: &mut HashSet<(u64, u64)>) -> bool {
    true
}

/// Removes a folder. One that nests deeper than a path can be long is flattened on the way, so that no guest can make a folder that stays.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let mut next = 0u64;
    let mut empty = false;
    while !empty {
        empty = true;
        // What is moved here meanwhile may be seen now or in the next round.
        for entry in fs::read_dir(folder)? {
            empty = false;
            remove_entry(&entry?, folder, &mut next)?;
        }
    }
    fs::remove_dir(folder)
}

fn remove_entry(entry: &fs::DirEntry, root: &Path, next: &mut u64) -> io::Result<()> {
    if !entry.file_type()?.is_dir() {
        return remove_leaf(&entry.path());
    }
    for below in fs::read_dir(entry.path())? {
        let below = below?;
        if below.file_type()?.is_dir() {
            fs::rename(below.path(), free(root, next))?;
        } else {
            remove_leaf(&below.path())?;
        }
    }
    fs::remove_dir(entry.path())
}

/// A name that is not taken. A guest may have taken some.
fn free(folder: &Path, next: &mut u64) -> PathBuf {
    loop {
        let path = folder.join(format!("{next}"));
        *next += 1;
        if fs::symlink_metadata(&path).is_err() {
            return path;
        }
    }
}

fn remove_leaf(path: &Path) -> io::Result<()> {
    // A link to a folder is removed as a folder on Windows.
    fs::remove_file(path).or_else(|error| fs::remove_dir(path).map_err(|_| error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_content_are_counted_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/a"), [0; 10_000]).unwrap();
        fs::write(at("empty"), []).unwrap();
        assert_eq!(count(folder.path()).unwrap(), 3 * NAME + 10_000);
        fs::hard_link(at("d/a"), at("again")).unwrap();
        #[cfg(unix)]
        {
            assert_eq!(count(folder.path()).unwrap(), 4 * NAME + 10_000);
            std::os::unix::fs::symlink("/etc", at("link")).unwrap();
            assert_eq!(count(folder.path()).unwrap(), 5 * NAME + 10_004);
        }
    }

    #[cfg(unix)]
    #[test]
    fn h29_a_folder_deeper_than_any_path_is_removed_and_what_its_links_name_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        // Built from the inside out, since no path reaches its end.
        let long = "x".repeat(200);
        for depth in 0..60 {
            let next = folder.path().join("next");
            fs::create_dir(&next).unwrap();
            std::os::unix::fs::symlink(&outside, next.join("link")).unwrap();
            fs::write(next.join("0"), "a name that flattening would like to take").unwrap();
            if depth > 0 {
                fs::rename(root.join(&long), next.join(&long)).unwrap();
            }
            fs::rename(&next, root.join(&long)).unwrap();
        }
        assert!(count(&root).is_err(), "its paths are too long");
        remove(&root).unwrap();
        assert!(!root.exists() && outside.join("kept").exists());
    }
}
