//! `wasi:filesystem`: wasmtime's, with every change within a volume counted against its size.

mod act;
mod p2;
mod p3;
mod reply;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem as bindings2;
use wasmtime_wasi::p3::bindings::filesystem as bindings3;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::engine::Abi;
use crate::sandbox::budget::bytes;
use crate::sandbox::state::State;
use crate::sandbox::{Entry, Level, Output};
use crate::volumes::{Full, Volume};

/// A volume as one pod sees it.
pub(crate) struct Mount {
    volume: Arc<Volume>,
    /// Where the guest sees it.
    path: String,
    size: u64,
    output: Arc<dyn Output>,
    told: Mutex<Option<Instant>>,
}

/// How often a pod's log is told that a volume is full.
const TELL: Duration = Duration::from_secs(10);

impl Mount {
    pub fn new(volume: Arc<Volume>, path: String, size: u64, output: Arc<dyn Output>) -> Arc<Mount> {
        Arc::new(Mount { volume, path, size, output, told: Mutex::default() })
    }

    /// Adds the folder to what a guest finds when it starts.
    pub fn open(&self, wasi: &mut WasiCtxBuilder) -> wasmtime::Result<()> {
        wasi.preopened_dir(self.volume.folder(), &self.path, FsPerms::ReadWrite).map(drop)
    }

    /// What a full volume means, in words, and in the pod's log: a guest often shows only "no space left".
    fn full(&self, full: Full) -> String {
        let Full { used, more } = full;
        let (size, used, more, path) = (bytes(self.size), bytes(used), bytes(more), &self.path);
        let message = format!(
            "volume {path} is full: {used} of {size} are in use, {more} more were asked for; remove files or raise uses.volumes.{path}.size"
        );
        let mut told = self.told.lock();
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            *told = Some(Instant::now());
            self.output.log(&Entry { level: Level::Warn, context: "wctl", message: &message });
        }
        message
    }
}

/// Which of a sandbox's descriptors are in which volume.
pub(crate) struct Mounts {
    /// Preopened folders that are no volumes; those come first.
    plain: usize,
    all: Arc<[Arc<Mount>]>,
    of: HashMap<u32, Arc<Mount>>,
}

impl Mounts {
    pub fn new(plain: usize, all: Arc<[Arc<Mount>]>) -> Mounts {
        Mounts { plain, all, of: HashMap::new() }
    }

    fn of(&self, descriptor: &Resource<Descriptor>) -> Option<&Arc<Mount>> {
        self.of.get(&descriptor.rep())
    }

    fn preopened(&mut self, opened: &[(Resource<Descriptor>, String)]) {
        for ((descriptor, _), mount) in opened.iter().skip(self.plain).zip(self.all.iter()) {
            self.of.insert(descriptor.rep(), mount.clone());
        }
    }
}

/// The part of a store's data that this interface uses.
pub(crate) struct View<'a> {
    pub inner: WasiFilesystemCtxView<'a>,
    pub mounts: &'a mut Mounts,
}

/// Stands for [`View`] in linkers.
struct Counted;

impl HasData for Counted {
    type Data<'a> = View<'a>;
}

/// Puts the interface in the place of wasmtime's own, which must be there already.
pub(crate) fn link(linker: &mut Linker<State>, abi: Abi) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    bindings2::types::add_to_linker::<State, Counted>(linker, State::files)?;
    bindings2::preopens::add_to_linker::<State, Counted>(linker, State::files)?;
    if abi == Abi::P3 {
        bindings3::types::add_to_linker::<State, Counted>(linker, State::files)?;
        bindings3::preopens::add_to_linker::<State, Counted>(linker, State::files)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}
