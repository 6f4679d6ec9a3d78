//! The interface as guests of 0.2 see it.

use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, Dir, File};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use super::act::{Place, WriteError, act};
use super::stream::{Sink, Writer};
use super::{Mount, View};
use types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode, Filesize, Host,
    HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};

type Fd = Resource<Descriptor>;

impl View<'_> {
    fn dir(&self, fd: &Fd) -> FsResult<Dir> {
        match self.inner.table.get(fd)? {
            Descriptor::Dir(dir) => Ok(dir.clone()),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    fn file(&self, fd: &Fd) -> FsResult<File> {
        match self.inner.table.get(fd)? {
            Descriptor::File(file) => Ok(file.clone()),
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    fn mount(&self, fd: &Fd) -> Option<Arc<Mount>> {
        self.mounts.of(fd).cloned()
    }

    /// The volume of two folders, if they are in one. Nothing is moved or linked between two, as between two disks.
    fn mount_of_both(&self, one: &Fd, other: &Fd) -> FsResult<Option<Arc<Mount>>> {
        match (self.mount(one), self.mount(other)) {
            (None, None) => Ok(None),
            (Some(one), Some(other)) if Arc::ptr_eq(&one, &other) => Ok(Some(one)),
            _ => Err(ErrorCode::CrossDevice.into()),
        }
    }

    fn stream(&mut self, mount: Arc<Mount>, fd: &Fd, place: Place) -> FsResult<Resource<DynOutputStream>> {
        let file = self.file(fd)?.file;
        if mount.is_full(&file, place) {
            return Err(ErrorCode::InsufficientSpace.into());
        }
        let writer: DynOutputStream = Box::new(Writer::new(Sink::new(mount, file, place)));
        Ok(self.inner.table.push(writer)?)
    }
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let opened = preopens::Host::get_directories(&mut self.inner)?;
        self.mounts.preopened(&opened);
        Ok(opened)
    }
}

impl Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.inner.convert_error_code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        if let Some(error) = self.inner.table.get(&error)?.downcast_ref::<WriteError>() {
            return Ok(Some(ErrorCode::from(error)));
        }
        self.inner.filesystem_error_code(error)
    }
}

impl HostDescriptor for View<'_> {
    async fn set_size(&mut self, fd: Fd, size: Filesize) -> FsResult<()> {
        let Some(mount) = self.mount(&fd) else { return self.inner.set_size(fd, size).await };
        let file = self.file(&fd)?.file;
        Ok(act(&mount, move |mount| mount.set_size(&file, size)).await?)
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        let Some(mount) = self.mount(&fd) else { return self.inner.write(fd, bytes, offset).await };
        let file = self.file(&fd)?.file;
        let written = act(&mount, move |mount| mount.write(&file, &bytes, Place::At(offset)).map_err(|error| ErrorCode::from(&error)));
        Ok(written.await? as u64)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        match self.mount(&fd) {
            Some(mount) => self.stream(mount, &fd, Place::At(offset)),
            None => self.inner.write_via_stream(fd, offset),
        }
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        match self.mount(&fd) {
            Some(mount) => self.stream(mount, &fd, Place::End),
            None => self.inner.append_via_stream(fd),
        }
    }

    async fn open_at(&mut self, fd: Fd, follow: PathFlags, path: String, how: OpenFlags, flags: DescriptorFlags) -> FsResult<Fd> {
        let Some(mount) = self.mount(&fd) else { return self.inner.open_at(fd, follow, path, how, flags).await };
        let dir = self.dir(&fd)?;
        let opened = act(&mount, move |mount| mount.open_at(&dir, follow, path, how, flags)).await?;
        let opened = self.inner.table.push(opened)?;
        self.mounts.of.insert(opened.rep(), mount);
        Ok(opened)
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.mounts.of.remove(&fd.rep());
        HostDescriptor::drop(&mut self.inner, fd)
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let Some(mount) = self.mount(&fd) else { return self.inner.create_directory_at(fd, path).await };
        let dir = self.dir(&fd)?;
        Ok(act(&mount, move |mount| mount.create_directory(&dir, path)).await?)
    }

    async fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> FsResult<()> {
        let Some(mount) = self.mount(&fd) else { return self.inner.symlink_at(fd, target, path).await };
        let dir = self.dir(&fd)?;
        Ok(act(&mount, move |mount| mount.symlink(&dir, target, path)).await?)
    }

    async fn link_at(&mut self, fd: Fd, follow: PathFlags, path: String, new_fd: Fd, new_path: String) -> FsResult<()> {
        let Some(mount) = self.mount_of_both(&fd, &new_fd)? else {
            return self.inner.link_at(fd, follow, path, new_fd, new_path).await;
        };
        let (dir, new_dir) = (self.dir(&fd)?, self.dir(&new_fd)?);
        Ok(act(&mount, move |mount| mount.link(&dir, follow, path, &new_dir, new_path)).await?)
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let Some(mount) = self.mount(&fd) else { return self.inner.remove_directory_at(fd, path).await };
        let dir = self.dir(&fd)?;
        Ok(act(&mount, move |mount| mount.remove_directory(&dir, path)).await?)
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let Some(mount) = self.mount(&fd) else { return self.inner.unlink_file_at(fd, path).await };
        let dir = self.dir(&fd)?;
        Ok(act(&mount, move |mount| mount.unlink(&dir, path)).await?)
    }

    async fn rename_at(&mut self, fd: Fd, path: String, new_fd: Fd, new_path: String) -> FsResult<()> {
        let Some(mount) = self.mount_of_both(&fd, &new_fd)? else { return self.inner.rename_at(fd, path, new_fd, new_path).await };
        let (dir, new_dir) = (self.dir(&fd)?, self.dir(&new_fd)?);
        Ok(act(&mount, move |mount| mount.rename(&dir, path, &new_dir, new_path)).await?)
    }

    // What follows changes no size.

    async fn advise(&mut self, fd: Fd, offset: Filesize, length: Filesize, advice: Advice) -> FsResult<()> {
        self.inner.advise(fd, offset, length, advice).await
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        self.inner.sync_data(fd).await
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<DescriptorFlags> {
        self.inner.get_flags(fd).await
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<DescriptorType> {
        self.inner.get_type(fd).await
    }

    async fn set_times(&mut self, fd: Fd, access: NewTimestamp, modification: NewTimestamp) -> FsResult<()> {
        self.inner.set_times(fd, access, modification).await
    }

    async fn read(&mut self, fd: Fd, length: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)> {
        self.inner.read(fd, length, offset).await
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<DirectoryEntryStream>> {
        self.inner.read_directory(fd).await
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        self.inner.sync(fd).await
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<DescriptorStat> {
        self.inner.stat(fd).await
    }

    async fn stat_at(&mut self, fd: Fd, follow: PathFlags, path: String) -> FsResult<DescriptorStat> {
        self.inner.stat_at(fd, follow, path).await
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        follow: PathFlags,
        path: String,
        access: NewTimestamp,
        modification: NewTimestamp,
    ) -> FsResult<()> {
        self.inner.set_times_at(fd, follow, path, access, modification).await
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        self.inner.readlink_at(fd, path).await
    }

    fn read_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        self.inner.read_via_stream(fd, offset)
    }

    async fn is_same_object(&mut self, fd: Fd, other: Fd) -> wasmtime::Result<bool> {
        self.inner.is_same_object(fd, other).await
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<MetadataHashValue> {
        self.inner.metadata_hash(fd).await
    }

    async fn metadata_hash_at(&mut self, fd: Fd, follow: PathFlags, path: String) -> FsResult<MetadataHashValue> {
        self.inner.metadata_hash_at(fd, follow, path).await
    }
}

impl HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(&mut self, stream: Resource<DirectoryEntryStream>) -> FsResult<Option<DirectoryEntry>> {
        self.inner.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.inner, stream)
    }
}
