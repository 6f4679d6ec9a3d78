//! Artifacts and compiled code by digest: fetched once, compiled once, never trusted because of where they lie.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use crate::engine::{Abi, Class, Engines, Kind};
use crate::sandbox::link::Linked;

mod compile;
mod folder;

pub use compile::{COMPILE_CHILD, Compiler, compile_child};
use folder::Folder;
pub use folder::Pruned;

/// Code that is ready to link. Shared by all pods of the same component.
pub struct Code {
    /// The compiled component.
    pub component: Component,
    /// The engine that it is for.
    pub kind: Kind,
    /// The digest of the component's bytes, `sha256:…`.
    pub layer: String,
    /// The component, linked: the same for all pods that run it.
    pub(crate) linked: Mutex<Option<Arc<Linked>>>,
}

/// Why code could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the cache could not be read or written.
    #[error("{act} {path}: {source}{}", hint(source))]
    Io {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The component cannot be compiled.
    #[error("compiling {layer}: {message}")]
    Compile {
        /// Its digest.
        layer: String,
        /// What is wrong.
        message: String,
    },
    /// The machine has no engine for it.
    #[error(transparent)]
    Engine(#[from] crate::engine::Error),
}

fn hint(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::StorageFull { "; free some space or run `wctl prune`" } else { "" }
}

/// The node's folder of artifacts and compiled code. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    folder: Folder,
    engines: Engines,
    compiler: Compiler,
    /// One lock for each piece of code that is loaded or being made: whoever comes second waits for the first.
    loaded: Mutex<HashMap<(String, Kind), Slot>>,
}

type Slot = Arc<tokio::sync::Mutex<Weak<Code>>>;

impl Cache {
    /// Opens a folder, and makes it if it is missing.
    ///
    /// # Errors
    /// When the folder or its key cannot be made, read or kept private.
    pub fn open(dir: impl AsRef<Path>, engines: Engines, compiler: Compiler) -> Result<Self, Error> {
        let folder = Folder::open(dir.as_ref())?;
        Ok(Self(Arc::new(Inner { folder, engines, compiler, loaded: Mutex::default() })))
    }

    /// Code for a component that is at hand, for pods of up to `memory` bytes: from the folder, or compiled now.
    ///
    /// # Errors
    /// When the bytes are no component, or compiling fails.
    pub async fn prepare_bytes(&self, wasm: Bytes, memory: u64) -> Result<Arc<Code>, Error> {
        let layer = format!("sha256:{}", hex::encode(Sha256::digest(&wasm)));
        let kind = Kind { abi: abi(&wasm), class: Class::of(memory) };
        self.code(layer, kind, || async { Ok(wasm) }).await
    }

    /// Code by digest: what is in memory, else in the folder, else compiled from what `wasm` brings.
    async fn code<F>(&self, layer: String, kind: Kind, wasm: impl FnOnce() -> F) -> Result<Arc<Code>, Error>
    where
        F: Future<Output = Result<Bytes, Error>>,
    {
        let slot = self.0.loaded.lock().entry((layer.clone(), kind)).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(code) = slot.upgrade() {
            return Ok(code);
        }
        let component = match self.load(&layer, kind).await? {
            Some(component) => component,
            None => self.compile(&layer, kind, wasm().await?).await?,
        };
        let code = Arc::new(Code { component, kind, layer, linked: Mutex::default() });
        *slot = Arc::downgrade(&code);
        Ok(code)
    }

    /// Code from the folder, if it is there and ours.
    async fn load(&self, layer: &str, kind: Kind) -> Result<Option<Component>, Error> {
        let (inner, layer) = (self.0.clone(), layer.to_owned());
        blocking(move || {
            let engine = inner.engines.get(kind)?;
            Ok(inner.folder.load(&engine, &layer, kind))
        })
        .await
    }

    async fn compile(&self, layer: &str, kind: Kind, wasm: Bytes) -> Result<Component, Error> {
        let code = self.0.compiler.compile(&self.0.folder, layer, kind, wasm).await?;
        let (inner, layer) = (self.0.clone(), layer.to_owned());
        blocking(move || {
            let engine = inner.engines.get(kind)?;
            inner.folder.save(&engine, &layer, kind, &code)?;
            let made = inner.folder.load(&engine, &layer, kind);
            made.ok_or_else(|| Error::Compile { layer, message: "the code that was just written cannot be read back".into() })
        })
        .await
    }

    /// Drops artifacts and code of components other than `keep` (digests), or says what would go.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not removed.
    pub fn prune(&self, keep: &[String], dry_run: bool) -> Result<Pruned, Error> {
        let loaded = self.0.loaded.lock();
        let in_use = loaded.iter().filter(|(_, slot)| slot.try_lock().map_or(true, |code| code.strong_count() > 0));
        let keep: Vec<String> = in_use.map(|((layer, _), _)| layer.clone()).chain(keep.iter().cloned()).collect();
        self.0.folder.prune(&keep, dry_run)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Which engine a component needs. A 0.2 component that merely holds such a name runs on the other engine as well, only slower.
fn abi(wasm: &[u8]) -> Abi {
    let names: [&[u8]; 2] = [b"wasi:http/handler@0.3.", b"wasi:cli/run@0.3."];
    let speaks = |name: &[u8]| wasm.windows(name.len()).any(|window| window == name);
    if names.into_iter().any(speaks) { Abi::P3 } else { Abi::P2 }
}
