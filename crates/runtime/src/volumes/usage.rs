//! How much a volume holds: names and bytes, counted under one lock while they change.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};

use super::tree;

/// What each name (of a file, folder or link) counts beside its content: about what it takes on a disk, so that empty files fill a volume too.
pub const NAME: u64 = 4 << 10;

/// A folder and what it holds. All sandboxes of this node that see the folder share one value.
pub struct Volume {
    folder: PathBuf,
    used: Mutex<Used>,
}

impl Volume {
    /// A folder, with what it holds now. It takes a while: not for async code.
    pub(crate) fn counted(folder: PathBuf) -> io::Result<Arc<Volume>> {
        let bytes = tree::count(&folder)?;
        Ok(Volume::new(folder, bytes))
    }

    fn new(folder: PathBuf, bytes: u64) -> Arc<Volume> {
        Arc::new(Volume { folder, used: Mutex::new(Used { bytes, open: HashMap::new(), gone: Vec::new(), sweep_at: SWEEP }) })
    }

    /// The folder on this machine.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it holds, for as long as nothing may change that. Taken on threads that may wait.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock()
    }

    /// The same, unless it has to be waited for.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Used>> {
        self.used.try_lock()
    }

    /// Bytes that count against its size.
    pub fn bytes(&self) -> u64 {
        let mut used = self.used.lock();
        used.sweep();
        used.bytes
    }
}

/// Which file, however it is named: what `wasi:filesystem` calls its metadata hash.
pub(crate) type FileId = (u64, u64);

/// Names and bytes of a volume.
pub(crate) struct Used {
    bytes: u64,
    /// Files that some sandbox may have open.
    open: HashMap<FileId, Vec<Weak<File>>>,
    /// Files without a name that are still open: they hold their bytes until the last handle is gone.
    gone: Vec<Gone>,
    sweep_at: usize,
}

struct Gone {
    bytes: u64,
    handles: Vec<Weak<File>>,
}

/// Open files after which the closed ones among them are forgotten for the first time.
const SWEEP: usize = 64;

/// The volume has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// Bytes that count now.
    pub used: u64,
    /// Bytes that were to be added.
    pub more: u64,
}

impl Used {
    /// How many of `more` bytes fit a volume of this size; the refusal where those are not all.
    pub fn room(&mut self, more: u64, size: u64) -> Result<(), (u64, Full)> {
        let left = |used: u64| size.saturating_sub(used);
        if more <= left(self.bytes) {
            return Ok(());
        }
        self.sweep();
        let left = left(self.bytes);
        if more <= left { Ok(()) } else { Err((left, Full { used: self.bytes, more })) }
    }

    /// Something has got a name.
    pub fn named(&mut self, content: u64) {
        self.bytes = self.bytes.saturating_add(NAME).saturating_add(content);
    }

    /// A name is gone; with the last one its content too, unless that is still open.
    pub fn unnamed(&mut self, content: Option<(FileId, u64)>) {
        self.bytes = self.bytes.saturating_sub(NAME);
        let Some((id, bytes)) = content else { return };
        let mut handles = self.open.remove(&id).unwrap_or_default();
        handles.retain(|handle| handle.strong_count() > 0);
        if handles.is_empty() {
            self.bytes = self.bytes.saturating_sub(bytes);
        } else {
            self.gone.push(Gone { bytes, handles });
        }
    }

    /// A file's content has another length.
    pub fn resized(&mut self, file: &Arc<File>, before: u64, after: u64) {
        let sum = |bytes: u64| bytes.saturating_add(after).saturating_sub(before);
        self.bytes = sum(self.bytes);
        let is_it = |gone: &&mut Gone| gone.handles.iter().any(|handle| std::ptr::eq(handle.as_ptr(), Arc::as_ptr(file)));
        if let Some(gone) = self.gone.iter_mut().find(is_it) {
            gone.bytes = sum(gone.bytes);
        }
    }

    /// A file with this name was cut to nothing while it was opened.
    pub fn emptied(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// A sandbox has opened a file.
    pub fn opened(&mut self, id: FileId, file: &Arc<File>) {
        let handles = self.open.entry(id).or_default();
        // A file that is opened again and again must not be remembered each time.
        if handles.len() == handles.capacity() {
            handles.retain(|handle| handle.strong_count() > 0);
        }
        handles.push(Arc::downgrade(file));
        if self.open.len() >= self.sweep_at {
            self.sweep();
            self.sweep_at = SWEEP.max(2 * self.open.len());
        }
    }

    /// Forgets what nobody has open any more.
    fn sweep(&mut self) {
        let alive = |handles: &mut Vec<Weak<File>>| {
            handles.retain(|handle| handle.strong_count() > 0);
            !handles.is_empty()
        };
        self.open.retain(|_, handles| alive(handles));
        let mut freed = 0;
        self.gone.retain_mut(|gone| {
            let kept = alive(&mut gone.handles);
            freed += if kept { 0 } else { gone.bytes };
            kept
        });
        self.bytes = self.bytes.saturating_sub(freed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn a_file_that_is_gone_but_open_holds_its_bytes_and_grows() {
        let volume = Volume::new(PathBuf::new(), 0);
        let (one, two) = (file(), file());
        let mut used = volume.lock();
        used.named(0);
        used.opened((1, 1), &one);
        used.opened((1, 1), &two);
        used.resized(&one, 0, 100);
        used.unnamed(Some(((1, 1), 100)));
        used.resized(&two, 100, 150);
        drop(one);
        assert_eq!(used.room(100, 200), Err((50, Full { used: 150, more: 100 })));
        drop(two);
        assert_eq!(used.room(200, 200), Ok(()));
    }

    #[test]
    fn one_name_of_several_frees_no_content() {
        let volume = Volume::new(PathBuf::new(), 0);
        let mut used = volume.lock();
        used.named(10);
        used.named(0);
        used.unnamed(None);
        assert_eq!(used.bytes, NAME + 10);
        used.unnamed(Some(((1, 1), 10)));
        assert_eq!(used.bytes, 0);
    }

    #[test]
    fn open_files_that_were_closed_are_forgotten() {
        let volume = Volume::new(PathBuf::new(), 0);
        let mut used = volume.lock();
        (0..10_000).for_each(|n| used.opened((n, n), &file()));
        assert!(used.open.len() <= 2 * SWEEP, "{}", used.open.len());
        let held = file();
        used.opened((1, 1), &held);
        (0..10_000).for_each(|_| used.opened((1, 1), &file()));
        assert!(used.open[&(1, 1)].len() < 10 && used.open[&(1, 1)][0].strong_count() == 1);
    }
}
