//! What changes a volume: each act under the volume's lock, on a thread that may wait, so that what it changed is known when the next begins.
//! A guest that is stopped meanwhile stops waiting for it, not the act itself.

use std::fs::File as Handle;
use std::io;
use std::sync::Arc;

use futures::FutureExt;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, Dir, File, WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};

use super::Mount;
use crate::volumes::{FileId, NAME, Used};

/// Where bytes go.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// From this offset on.
    At(u64),
    /// After what is there.
    End,
}

/// Why bytes were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The volume has no room.
    #[error("{0}")]
    Full(String),
    /// No file has so many bytes.
    #[error("a file cannot be so large")]
    TooLarge,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<&WriteError> for ErrorCode {
    fn from(error: &WriteError) -> ErrorCode {
        match error {
            WriteError::Full(_) => ErrorCode::InsufficientSpace,
            WriteError::TooLarge => ErrorCode::FileTooLarge,
            WriteError::Io(error) => ErrorCode::from(error),
        }
    }
}

/// Runs an act where it may wait.
pub async fn act<T: Send + 'static>(
    mount: &Arc<Mount>,
    act: impl FnOnce(&Mount) -> Result<T, ErrorCode> + Send + 'static,
) -> Result<T, ErrorCode> {
    let mount = mount.clone();
    // It only fails by a panic, or when the node ends.
    tokio::task::spawn_blocking(move || act(&mount)).await.unwrap_or(Err(ErrorCode::Io))
}

impl Mount {
    /// Writes what fits of `bytes`, and returns how many those are. It only fails where none does.
    pub fn write(&self, file: &Arc<Handle>, bytes: &[u8], place: Place) -> Result<usize, WriteError> {
        let mut used = self.volume.lock();
        let before = file.metadata()?.len();
        let offset = match place {
            Place::At(offset) => offset,
            Place::End => before,
        };
        let end = offset.checked_add(bytes.len() as u64).ok_or(WriteError::TooLarge)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let growth = end.saturating_sub(before);
        let mut fitting = bytes;
        if let Err((left, full)) = used.room(growth, self.size) {
            let told = self.full(full);
            // What lies beyond the room is cut off; a gap before the bytes may be all of it.
            let cut = usize::try_from(growth - left).unwrap_or(usize::MAX);
            fitting = &bytes[..bytes.len().saturating_sub(cut)];
            if fitting.is_empty() {
                return Err(WriteError::Full(told));
            }
        }
        let written = write_at(file, fitting, offset);
        // Of a write that failed half-way, half counts.
        used.resized(file, before, file.metadata()?.len());
        Ok(written.map(|()| fitting.len())?)
    }

    /// Writes all of `bytes`, as far as they fit.
    pub fn write_all(&self, file: &Arc<Handle>, mut bytes: &[u8], mut place: Place) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let written = self.write(file, bytes, place)?;
            bytes = &bytes[written..];
            if let Place::At(offset) = &mut place {
                *offset += written as u64;
            }
        }
        Ok(())
    }

    /// Whether not even one byte can be written there. Libraries keep the reason when a stream cannot be had, and lose it when a write fails.
    pub fn is_full(&self, file: &Handle, place: Place) -> bool {
        // Asked on a thread that must not wait.
        let Some(mut used) = self.volume.try_lock() else { return false };
        let grows = match place {
            Place::At(offset) => file.metadata().is_ok_and(|data| offset >= data.len()),
            Place::End => true,
        };
        grows && used.room(1, self.size).map_err(|(_, full)| self.full(full)).is_err()
    }

    /// Cuts or lengthens a file.
    pub fn set_size(&self, file: &Arc<Handle>, size: u64) -> Result<(), ErrorCode> {
        let mut used = self.volume.lock();
        let before = file.metadata()?.len();
        self.fits(&mut used, size.saturating_sub(before))?;
        let done = file.set_len(size);
        used.resized(file, before, file.metadata()?.len());
        Ok(done?)
    }

    /// Opens, and makes or empties what is opened.
    pub fn open_at(
        &self,
        dir: &Dir,
        follow: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Descriptor, ErrorCode> {
        let mut used = self.volume.lock();
        let mut quick = Quick::new(dir)?;
        let before = if how.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE) { quick.stat(follow, &path).ok() } else { None };
        let new = how.contains(OpenFlags::CREATE) && before.is_none();
        if new {
            self.fits(&mut used, NAME)?;
        }
        let opened = quick.open(follow, path, how, flags)?;
        if new {
            used.named(0);
        }
        if let Descriptor::File(file) = &opened {
            if let Some(before) = before.filter(|_| how.contains(OpenFlags::TRUNCATE)) {
                used.emptied(before.size.saturating_sub(file.file.metadata()?.len()));
            }
            used.opened(quick.id(file)?, &file.file);
        }
        Ok(opened)
    }

    /// Makes a folder.
    pub fn create_directory(&self, dir: &Dir, path: String) -> Result<(), ErrorCode> {
        self.adding(dir, 0, |quick| quick.now(async |view, dir| view.create_directory_at(dir, path).await))
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, dir: &Dir, target: String, path: String) -> Result<(), ErrorCode> {
        let length = target.len() as u64;
        self.adding(dir, length, |quick| quick.now(async |view, dir| view.symlink_at(dir, target, path).await))
    }

    /// Gives a file another name.
    pub fn link(&self, dir: &Dir, follow: PathFlags, path: String, new_dir: &Dir, new_path: String) -> Result<(), ErrorCode> {
        self.adding(dir, 0, |quick| {
            let new_dir = quick.push(new_dir)?;
            quick.now(async |view, dir| view.link_at(dir, follow, path, new_dir, new_path).await)
        })
    }

    /// Makes one name, with so much content.
    fn adding(&self, dir: &Dir, content: u64, make: impl FnOnce(&mut Quick) -> Result<(), ErrorCode>) -> Result<(), ErrorCode> {
        let mut used = self.volume.lock();
        self.fits(&mut used, NAME.saturating_add(content))?;
        make(&mut Quick::new(dir)?)?;
        used.named(content);
        Ok(())
    }

    /// Removes an empty folder.
    pub fn remove_directory(&self, dir: &Dir, path: String) -> Result<(), ErrorCode> {
        let mut used = self.volume.lock();
        Quick::new(dir)?.now(async |view, dir| view.remove_directory_at(dir, path).await)?;
        used.unnamed(None);
        Ok(())
    }

    /// Removes a file's or a link's name.
    pub fn unlink(&self, dir: &Dir, path: String) -> Result<(), ErrorCode> {
        let mut used = self.volume.lock();
        let mut quick = Quick::new(dir)?;
        let last = quick.last_name(&path)?;
        quick.now(async |view, dir| view.unlink_file_at(dir, path).await)?;
        used.unnamed(last);
        Ok(())
    }

    /// Gives something another name, which may be taken: what had it is removed.
    pub fn rename(&self, dir: &Dir, path: String, new_dir: &Dir, new_path: String) -> Result<(), ErrorCode> {
        let mut used = self.volume.lock();
        let (mut from, mut to) = (Quick::new(dir)?, Quick::new(new_dir)?);
        let same = from.id_at(&path).is_ok_and(|id| to.id_at(&new_path).is_ok_and(|other| id == other));
        let taken = to.stat(PathFlags::empty(), &new_path).is_ok();
        let replaced = if taken { to.last_name(&new_path)? } else { None };
        let new_dir = from.push(new_dir)?;
        from.now(async |view, dir| view.rename_at(dir, path, new_dir, new_path).await)?;
        // Two names of one file both stay, as POSIX has it.
        if taken && !same {
            used.unnamed(replaced);
        }
        Ok(())
    }

    fn fits(&self, used: &mut Used, more: u64) -> Result<(), ErrorCode> {
        used.room(more, self.size).map_err(|(_, full)| {
            self.full(full);
            ErrorCode::InsufficientSpace
        })
    }
}

/// wasmtime's own acts on one folder, done at once on this thread.
struct Quick {
    ctx: WasiFilesystemCtx,
    table: ResourceTable,
    dir: u32,
}

impl Quick {
    fn new(dir: &Dir) -> Result<Quick, ErrorCode> {
        let mut quick = Quick { ctx: WasiFilesystemCtx::default(), table: ResourceTable::new(), dir: 0 };
        quick.dir = quick.push(dir)?.rep();
        Ok(quick)
    }

    /// The folder once more, as one whose acts may block.
    fn push(&mut self, dir: &Dir) -> Result<Resource<Descriptor>, ErrorCode> {
        let again = Dir::new(dir.dir.try_clone()?, dir.perms, dir.open_mode, true);
        self.table.push(Descriptor::Dir(again)).map_err(|_| ErrorCode::InsufficientMemory)
    }

    fn now<T>(
        &mut self,
        act: impl AsyncFnOnce(&mut WasiFilesystemCtxView<'_>, Resource<Descriptor>) -> Result<T, FsError>,
    ) -> Result<T, ErrorCode> {
        let mut view = WasiFilesystemCtxView { ctx: &mut self.ctx, table: &mut self.table };
        let done = act(&mut view, Resource::new_borrow(self.dir)).now_or_never();
        // Nothing that may block has to wait.
        done.ok_or(ErrorCode::WouldBlock)?.map_err(|error| error.downcast().unwrap_or(ErrorCode::Io))
    }

    fn stat(&mut self, follow: PathFlags, path: &str) -> Result<DescriptorStat, ErrorCode> {
        self.now(async |view, dir| view.stat_at(dir, follow, path.to_owned()).await)
    }

    fn id_at(&mut self, path: &str) -> Result<FileId, ErrorCode> {
        let hash = self.now(async |view, dir| view.metadata_hash_at(dir, PathFlags::empty(), path.to_owned()).await)?;
        Ok((hash.lower, hash.upper))
    }

    fn open(&mut self, follow: PathFlags, path: String, how: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, ErrorCode> {
        let opened = self.now(async |view, dir| view.open_at(dir, follow, path, how, flags).await)?;
        self.table.delete(opened).map_err(|_| ErrorCode::Io)
    }

    fn id(&mut self, file: &File) -> Result<FileId, ErrorCode> {
        let again = File::new(file.file.try_clone()?, file.perms, file.open_mode, true);
        let again = self.table.push(Descriptor::File(again)).map_err(|_| ErrorCode::InsufficientMemory)?;
        let hash = self.now(async |view, _| view.metadata_hash(again).await)?;
        Ok((hash.lower, hash.upper))
    }

    /// What goes with a name: the content, if no other name has it and it is no folder.
    fn last_name(&mut self, path: &str) -> Result<Option<(FileId, u64)>, ErrorCode> {
        let stat = self.stat(PathFlags::empty(), path)?;
        let last = stat.type_ != DescriptorType::Directory && stat.link_count < 2;
        if last { Ok(Some((self.id_at(path)?, stat.size))) } else { Ok(None) }
    }
}

#[cfg(unix)]
fn write_at(file: &Handle, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &Handle, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}
