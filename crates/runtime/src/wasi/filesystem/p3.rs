//! The interface as guests of 0.3 see it.

use std::sync::Arc;

use tokio::sync::oneshot;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, FutureReader, Resource, StreamReader};
use wasmtime_wasi::filesystem::{Descriptor, Dir, WasiFilesystem, WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p3::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p3::filesystem::{FilesystemError, FilesystemResult};

use super::act::{Place, act};
use super::reply::{code3, descriptor_flags, open_flags, path_flags};
use super::stream::{Consumer, Sink};
use super::{Counted, Mount, View};
use crate::sandbox::state::State;
use types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, Filesize, Host, HostDescriptor,
    HostDescriptorWithStore, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};

type Fd = Resource<Descriptor>;
type Store = Accessor<State, Counted>;
type Told = FutureReader<Result<(), ErrorCode>>;

/// wasmtime's own implementation, for what changes no size and for folders that are no volumes.
type Own = WasiFilesystem;

fn own(state: &mut State) -> WasiFilesystemCtxView<'_> {
    WasiFilesystemView::filesystem(state)
}

fn through(store: &Store) -> Accessor<State, Own> {
    store.with_getter::<Own>(own)
}

fn mount(store: &Store, fd: &Fd) -> Option<Arc<Mount>> {
    store.with(|mut access| access.get().mounts.of(fd).cloned())
}

fn mount_of_both(store: &Store, one: &Fd, other: &Fd) -> FilesystemResult<Option<Arc<Mount>>> {
    match (mount(store, one), mount(store, other)) {
        (None, None) => Ok(None),
        (Some(one), Some(other)) if Arc::ptr_eq(&one, &other) => Ok(Some(one)),
        _ => Err(ErrorCode::CrossDevice.into()),
    }
}

fn descriptor(view: View<'_>, fd: &Fd) -> FilesystemResult<Descriptor> {
    view.inner.table.get(fd).cloned().map_err(FilesystemError::trap)
}

fn dir(store: &Store, fd: &Fd) -> FilesystemResult<Dir> {
    match store.with(|mut access| descriptor(access.get(), fd))? {
        Descriptor::Dir(dir) => Ok(dir),
        Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
    }
}

/// Has a stream of the guest written to a file of a volume.
fn consume(
    mut store: Access<'_, State, Counted>,
    mount: Arc<Mount>,
    fd: &Fd,
    mut data: StreamReader<u8>,
    place: Place,
) -> wasmtime::Result<Told> {
    let (sender, told) = oneshot::channel();
    match descriptor(store.get(), fd)? {
        Descriptor::File(file) => data.pipe(&mut store, Consumer::new(Sink::new(mount, file.file, place), sender))?,
        Descriptor::Dir(_) => {
            data.close(&mut store)?;
            // Both ends are here.
            let _ = sender.send(Err(ErrorCode::BadDescriptor));
        }
    }
    FutureReader::new(&mut store, told)
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let opened = preopens::Host::get_directories(&mut self.inner)?;
        self.mounts.preopened(&opened);
        Ok(opened)
    }
}

impl Host for View<'_> {
    fn convert_error_code(&mut self, error: FilesystemError) -> wasmtime::Result<ErrorCode> {
        self.inner.convert_error_code(error)
    }
}

impl HostDescriptor for View<'_> {
    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.mounts.of.remove(&fd.rep());
        HostDescriptor::drop(&mut self.inner, fd)
    }
}

impl HostDescriptorWithStore<State> for Counted {
    fn write_via_stream(mut store: Access<'_, State, Self>, fd: Fd, data: StreamReader<u8>, offset: Filesize) -> wasmtime::Result<Told> {
        match store.get().mounts.of(&fd).cloned() {
            Some(mount) => consume(store, mount, &fd, data, Place::At(offset)),
            None => Own::write_via_stream(Access::<_, Own>::new(store.as_context_mut(), own), fd, data, offset),
        }
    }

    fn append_via_stream(mut store: Access<'_, State, Self>, fd: Fd, data: StreamReader<u8>) -> wasmtime::Result<Told> {
        match store.get().mounts.of(&fd).cloned() {
            Some(mount) => consume(store, mount, &fd, data, Place::End),
            None => Own::append_via_stream(Access::<_, Own>::new(store.as_context_mut(), own), fd, data),
        }
    }

    async fn set_size(store: &Store, fd: Fd, size: Filesize) -> FilesystemResult<()> {
        let Some(mount) = mount(store, &fd) else { return Own::set_size(&through(store), fd, size).await };
        let file = match store.with(|mut access| descriptor(access.get(), &fd))? {
            Descriptor::File(file) => file.file,
            Descriptor::Dir(_) => return Err(ErrorCode::BadDescriptor.into()),
        };
        Ok(act(&mount, move |mount| mount.set_size(&file, size)).await.map_err(code3)?)
    }

    async fn open_at(
        store: &Store,
        fd: Fd,
        follow: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FilesystemResult<Fd> {
        let Some(mount) = mount(store, &fd) else { return Own::open_at(&through(store), fd, follow, path, how, flags).await };
        let dir = dir(store, &fd)?;
        let (follow, how, flags) = (path_flags(follow), open_flags(how), descriptor_flags(flags));
        let opened = act(&mount, move |mount| mount.open_at(&dir, follow, path, how, flags)).await.map_err(code3)?;
        store.with(|mut access| {
            let view = access.get();
            let opened = view.inner.table.push(opened).map_err(FilesystemError::trap)?;
            view.mounts.of.insert(opened.rep(), mount);
            Ok(opened)
        })
    }

    async fn create_directory_at(store: &Store, fd: Fd, path: String) -> FilesystemResult<()> {
        let Some(mount) = mount(store, &fd) else { return Own::create_directory_at(&through(store), fd, path).await };
        let dir = dir(store, &fd)?;
        Ok(act(&mount, move |mount| mount.create_directory(&dir, path)).await.map_err(code3)?)
    }

    async fn symlink_at(store: &Store, fd: Fd, target: String, path: String) -> FilesystemResult<()> {
        let Some(mount) = mount(store, &fd) else { return Own::symlink_at(&through(store), fd, target, path).await };
        let dir = dir(store, &fd)?;
        Ok(act(&mount, move |mount| mount.symlink(&dir, target, path)).await.map_err(code3)?)
    }

    async fn link_at(store: &Store, fd: Fd, follow: PathFlags, path: String, new_fd: Fd, new_path: String) -> FilesystemResult<()> {
        let Some(mount) = mount_of_both(store, &fd, &new_fd)? else {
            return Own::link_at(&through(store), fd, follow, path, new_fd, new_path).await;
        };
        let (dir, new_dir, follow) = (dir(store, &fd)?, dir(store, &new_fd)?, path_flags(follow));
        Ok(act(&mount, move |mount| mount.link(&dir, follow, path, &new_dir, new_path)).await.map_err(code3)?)
    }

    async fn remove_directory_at(store: &Store, fd: Fd, path: String) -> FilesystemResult<()> {
        let Some(mount) = mount(store, &fd) else { return Own::remove_directory_at(&through(store), fd, path).await };
        let dir = dir(store, &fd)?;
        Ok(act(&mount, move |mount| mount.remove_directory(&dir, path)).await.map_err(code3)?)
    }

    async fn unlink_file_at(store: &Store, fd: Fd, path: String) -> FilesystemResult<()> {
        let Some(mount) = mount(store, &fd) else { return Own::unlink_file_at(&through(store), fd, path).await };
        let dir = dir(store, &fd)?;
        Ok(act(&mount, move |mount| mount.unlink(&dir, path)).await.map_err(code3)?)
    }

    async fn rename_at(store: &Store, fd: Fd, path: String, new_fd: Fd, new_path: String) -> FilesystemResult<()> {
        let Some(mount) = mount_of_both(store, &fd, &new_fd)? else {
            return Own::rename_at(&through(store), fd, path, new_fd, new_path).await;
        };
        let (dir, new_dir) = (dir(store, &fd)?, dir(store, &new_fd)?);
        Ok(act(&mount, move |mount| mount.rename(&dir, path, &new_dir, new_path)).await.map_err(code3)?)
    }

    // What follows changes no size.

    fn read_via_stream(mut store: Access<'_, State, Self>, fd: Fd, offset: Filesize) -> wasmtime::Result<(StreamReader<u8>, Told)> {
        Own::read_via_stream(Access::<_, Own>::new(store.as_context_mut(), own), fd, offset)
    }

    fn read_directory(mut store: Access<'_, State, Self>, fd: Fd) -> wasmtime::Result<(StreamReader<DirectoryEntry>, Told)> {
        Own::read_directory(Access::<_, Own>::new(store.as_context_mut(), own), fd)
    }

    async fn advise(store: &Store, fd: Fd, offset: Filesize, length: Filesize, advice: Advice) -> FilesystemResult<()> {
        Own::advise(&through(store), fd, offset, length, advice).await
    }

    async fn sync_data(store: &Store, fd: Fd) -> FilesystemResult<()> {
        Own::sync_data(&through(store), fd).await
    }

    async fn get_flags(store: &Store, fd: Fd) -> FilesystemResult<DescriptorFlags> {
        Own::get_flags(&through(store), fd).await
    }

    async fn get_type(store: &Store, fd: Fd) -> FilesystemResult<DescriptorType> {
        Own::get_type(&through(store), fd).await
    }

    async fn set_times(store: &Store, fd: Fd, access: NewTimestamp, modification: NewTimestamp) -> FilesystemResult<()> {
        Own::set_times(&through(store), fd, access, modification).await
    }

    async fn sync(store: &Store, fd: Fd) -> FilesystemResult<()> {
        Own::sync(&through(store), fd).await
    }

    async fn stat(store: &Store, fd: Fd) -> FilesystemResult<DescriptorStat> {
        Own::stat(&through(store), fd).await
    }

    async fn stat_at(store: &Store, fd: Fd, follow: PathFlags, path: String) -> FilesystemResult<DescriptorStat> {
        Own::stat_at(&through(store), fd, follow, path).await
    }

    async fn set_times_at(
        store: &Store,
        fd: Fd,
        follow: PathFlags,
        path: String,
        access: NewTimestamp,
        modification: NewTimestamp,
    ) -> FilesystemResult<()> {
        Own::set_times_at(&through(store), fd, follow, path, access, modification).await
    }

    async fn readlink_at(store: &Store, fd: Fd, path: String) -> FilesystemResult<String> {
        Own::readlink_at(&through(store), fd, path).await
    }

    async fn is_same_object(store: &Store, fd: Fd, other: Fd) -> wasmtime::Result<bool> {
        Own::is_same_object(&through(store), fd, other).await
    }

    async fn metadata_hash(store: &Store, fd: Fd) -> FilesystemResult<MetadataHashValue> {
        Own::metadata_hash(&through(store), fd).await
    }

    async fn metadata_hash_at(store: &Store, fd: Fd, follow: PathFlags, path: String) -> FilesystemResult<MetadataHashValue> {
        Own::metadata_hash_at(&through(store), fd, follow, path).await
    }
}
