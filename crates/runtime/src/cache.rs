//! Artifacts and compiled code by digest: fetched once, compiled once, never trusted because of where they lie.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use artifact::registry::{self, Client};
use artifact::{Digest, Reference, inspect};
use bytes::Bytes;
use parking_lot::Mutex;
use wasmtime::component::Component;

use crate::engine::{Abi, Class, Engines, Kind, Tier};
use crate::metrics::CodeCounts;
use crate::site::{self, Site};

mod baseline;
mod code;
mod compile;
mod folder;
mod rest;

pub use baseline::FROM as BASELINE;
pub use code::Code;
pub(crate) use code::Version;
use compile::Haste;
pub use compile::{COMPILE_CHILD, Compiler, compile_child};
pub use folder::Pruned;
use folder::{Folder, Holds};
pub(crate) use rest::{LOOK, Rest};

/// What an artifact is to a node.
#[derive(Clone)]
pub enum Content {
    /// Code that runs.
    Code(Arc<Code>),
    /// Files that are served.
    Files(Arc<Site>),
}

/// Why code could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the cache could not be read or written.
    #[error("{act} {path}{}", hint(source))]
    Io {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The registry did not give the artifact.
    #[error("fetching {reference}")]
    Fetch {
        /// What was asked for.
        reference: String,
        /// Why it failed.
        source: artifact::registry::Error,
    },
    /// The reference has no digest, so it is not known what is meant.
    #[error("{0} has no digest; resolve its tag first")]
    NoDigest(String),
    /// It holds files, and code was asked for.
    #[error("{0} is an archive of files, no component")]
    NotCode(Digest),
    /// The bytes are not a component.
    #[error("{layer} cannot be run")]
    NoComponent {
        /// Their digest.
        layer: Digest,
        /// What they are instead.
        source: inspect::Error,
    },
    /// The archive of files cannot be served.
    #[error("{layer} cannot be served")]
    Files {
        /// Its digest.
        layer: Digest,
        /// Why.
        source: site::Error,
    },
    /// The component cannot be compiled.
    #[error("compiling {layer}: {message}")]
    Compile {
        /// Its digest.
        layer: Digest,
        /// What is wrong.
        message: String,
    },
    /// The machine has no engine for it.
    #[error(transparent)]
    Engine(#[from] crate::engine::Error),
}

fn hint(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::StorageFull { " (free some space, or run `wctl prune`)" } else { "" }
}

/// The node's folder of artifacts and compiled code. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    folder: Folder,
    engines: Engines,
    compiler: Compiler,
    /// One lock for each piece of code that is loaded or being made: whoever comes second waits for the first.
    loaded: Mutex<HashMap<(Digest, Kind), Slot>>,
    /// Files that are served.
    sites: Mutex<HashMap<Digest, Weak<Site>>>,
    /// A lock for each artifact that is being fetched, by their manifest's digest.
    fetching: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    counts: Arc<CodeCounts>,
    /// Bytes from which a component gets baseline code first, if any does.
    baseline: Option<usize>,
    improving: tokio::sync::Semaphore,
}

type Slot = Arc<tokio::sync::Mutex<Weak<Code>>>;

impl Cache {
    /// Opens a folder, and makes it if it is missing. Components of `baseline` bytes and more get baseline code first ([`BASELINE`]).
    ///
    /// # Errors
    /// When the folder or its key cannot be made, read or kept private.
    pub fn open(dir: impl AsRef<Path>, engines: Engines, compiler: Compiler, baseline: Option<usize>) -> Result<Self, Error> {
        let folder = Folder::open(dir.as_ref())?;
        Ok(Self(Arc::new(Inner {
            folder,
            engines,
            compiler,
            loaded: Mutex::default(),
            sites: Mutex::default(),
            fetching: Mutex::default(),
            counts: Arc::default(),
            baseline,
            improving: tokio::sync::Semaphore::new(1),
        })))
    }

    /// Where code came from so far.
    pub fn counts(&self) -> Arc<CodeCounts> {
        self.0.counts.clone()
    }

    /// What an artifact holds: files, or code as from [`Cache::prepare`].
    ///
    /// # Errors
    /// As there; and when an archive is not of plain files.
    pub async fn content(&self, reference: &Reference, client: &Client, memory: u64) -> Result<Content, Error> {
        match self.kept(reference, client).await? {
            (manifest, layer, Holds::Files) => self.site(reference, manifest, layer, client).await.map(Content::Files),
            (_, _, Holds::Component(_)) => self.prepare(reference, client, memory).await.map(Content::Code),
        }
    }

    /// Files that are served already, or those of the folder's archive; one that is broken or gone is fetched again.
    async fn site(&self, reference: &Reference, manifest: Digest, layer: Digest, client: &Client) -> Result<Arc<Site>, Error> {
        if let Some(site) = self.0.sites.lock().get(&layer).and_then(Weak::upgrade) {
            return Ok(site);
        }
        let site = match self.open_site(layer).await {
            Ok(site) => site,
            Err(error @ Error::Files { source: site::Error::Files(_), .. }) => return Err(error),
            Err(_) => {
                self.pull(reference, manifest, client).await?;
                self.open_site(layer).await?
            }
        };
        let mut sites = self.0.sites.lock();
        sites.retain(|_, site| site.strong_count() > 0);
        sites.insert(layer, Arc::downgrade(&site));
        Ok(site)
    }

    async fn open_site(&self, layer: Digest) -> Result<Arc<Site>, Error> {
        let inner = self.0.clone();
        blocking(move || Site::open(&inner.folder.file(&layer), &layer).map(Arc::new).map_err(|source| Error::Files { layer, source }))
            .await
    }

    /// Code for an artifact, for pods of up to `memory` bytes: from the folder, or fetched and compiled now. Callers that come at the
    /// same time share one download and one compilation.
    ///
    /// # Errors
    /// When the reference has no digest, the registry does not give it, it is no component, or compiling fails.
    pub async fn prepare(&self, reference: &Reference, client: &Client, memory: u64) -> Result<Arc<Code>, Error> {
        let (manifest, layer, holds) = self.kept(reference, client).await?;
        let Holds::Component(abi) = holds else { return Err(Error::NotCode(layer)) };
        let kind = Kind { abi, class: Class::of(memory), tier: Tier::Optimized };
        let wasm = async || match self.0.folder.artifact(&layer) {
            Some(wasm) => Ok(wasm),
            None => self.pull(reference, manifest, client).await.map(|(wasm, _)| wasm),
        };
        let inner = self.0.clone();
        // From the folder, not from memory: many may wait for their turn.
        self.code(layer, kind, wasm, |_| Box::new(move || inner.folder.artifact(&layer))).await
    }

    /// Fetches an artifact unless the folder has it: the first half of [`Cache::prepare`], for those who tell of both.
    ///
    /// # Errors
    /// When the reference has no digest, or the registry does not give it.
    pub async fn keep(&self, reference: &Reference, client: &Client) -> Result<(), Error> {
        self.kept(reference, client).await.map(drop)
    }

    /// An artifact's digest, its layer's and what that holds; fetched now unless the folder knows it.
    async fn kept(&self, reference: &Reference, client: &Client) -> Result<(Digest, Digest, Holds), Error> {
        let manifest = *reference.digest().ok_or_else(|| Error::NoDigest(reference.to_string()))?;
        let (layer, holds) = match self.0.folder.note(&manifest) {
            Some(note) => note,
            None => self.fetch(reference, manifest, client).await?,
        };
        Ok((manifest, layer, holds))
    }

    /// What an artifact holds, fetched unless someone else has just done so.
    async fn fetch(&self, reference: &Reference, manifest: Digest, client: &Client) -> Result<(Digest, Holds), Error> {
        let lock = {
            let mut fetching = self.0.fetching.lock();
            fetching.retain(|_, lock| Arc::strong_count(lock) > 1);
            fetching.entry(manifest).or_default().clone()
        };
        let _alone = lock.lock().await;
        match self.0.folder.note(&manifest) {
            Some(note) => Ok(note),
            None => self.pull(reference, manifest, client).await.map(|(_, note)| note),
        }
    }

    async fn pull(&self, reference: &Reference, manifest: Digest, client: &Client) -> Result<(Bytes, (Digest, Holds)), Error> {
        let pulled = client.pull_any(reference).await.map_err(|source| Error::Fetch { reference: reference.to_string(), source })?;
        let holds = match pulled.kind {
            registry::Kind::Files => Holds::Files,
            _ => Holds::Component(abi(&pulled.layer, &pulled.wasm)?),
        };
        let inner = self.0.clone();
        blocking(move || {
            inner.folder.keep(&manifest, &pulled.layer, holds, &pulled.wasm)?;
            Ok((pulled.wasm, (pulled.layer, holds)))
        })
        .await
    }

    /// Code for a component that is at hand, for pods of up to `memory` bytes: from the folder, or compiled now.
    ///
    /// # Errors
    /// When the bytes are no component, or compiling fails.
    pub async fn prepare_bytes(&self, wasm: Bytes, memory: u64) -> Result<Arc<Code>, Error> {
        let layer = Digest::of(&wasm);
        let kind = Kind { abi: abi(&layer, &wasm)?, class: Class::of(memory), tier: Tier::Optimized };
        self.code(layer, kind, async || Ok(wasm), |wasm| Box::new(move || Some(wasm))).await
    }

    /// Code by digest: what is in memory, else in the folder, else compiled from what `wasm` brings; `again` brings it once more, later.
    async fn code(
        &self,
        layer: Digest,
        kind: Kind,
        wasm: impl AsyncFnOnce() -> Result<Bytes, Error>,
        again: impl FnOnce(Bytes) -> baseline::Again,
    ) -> Result<Arc<Code>, Error> {
        let slot = self.slot(layer, kind);
        let mut slot = slot.lock().await;
        if let Some(code) = slot.upgrade() {
            self.0.counts.shared.fetch_add(1, Ordering::Relaxed);
            return Ok(code);
        }
        let (code, count) = match self.load(layer, kind).await? {
            Some(component) => (Code::new(layer, component, kind), &self.0.counts.kept),
            None => {
                let wasm = wasm().await?;
                let code = match self.baseline(kind, layer, &wasm, again(wasm.clone())).await {
                    Some(code) => code,
                    None => Code::new(layer, self.compile(layer, kind, wasm, Haste::Now).await?, kind),
                };
                (code, &self.0.counts.compiled)
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        *slot = Arc::downgrade(&code);
        Ok(code)
    }

    fn slot(&self, layer: Digest, kind: Kind) -> Slot {
        let mut loaded = self.0.loaded.lock();
        loaded.retain(|_, slot| in_use(slot));
        loaded.entry((layer, kind)).or_default().clone()
    }

    /// Code from the folder, if it is there and ours.
    async fn load(&self, layer: Digest, kind: Kind) -> Result<Option<Component>, Error> {
        let inner = self.0.clone();
        blocking(move || {
            let engine = inner.engines.get(kind)?;
            Ok(inner.folder.load(&engine, &layer, kind))
        })
        .await
    }

    async fn compile(&self, layer: Digest, kind: Kind, wasm: Bytes, haste: Haste) -> Result<Component, Error> {
        let code = self.0.compiler.compile(&self.0.folder, layer, kind, wasm, haste).await?;
        let inner = self.0.clone();
        blocking(move || {
            let engine = inner.engines.get(kind)?;
            inner.folder.save(&engine, &layer, kind, &code)?;
            // What the pool has no room for, such as a module of a hundred tables, shows here.
            inner.folder.map_code(&engine, &layer, kind).map_err(|message| Error::Compile { layer, message })
        })
        .await
    }

    /// Puts code aside that nobody has asked for in a while, where memory is `short` or there is much of it; called every [`LOOK`].
    pub fn rest(&self, short: bool) {
        let slots: Vec<Slot> = self.0.loaded.lock().values().cloned().collect();
        // Code that is being made is not at rest.
        let codes = slots.iter().filter_map(|slot| slot.try_lock().ok()?.upgrade());
        let at_rest = codes.filter_map(|code| Some((code.rest.look()?, rest::size(&code.version().component), code))).collect();
        for code in rest::going(at_rest, short) {
            rest::put_aside(&code.version().component);
            code.rest.put_aside();
        }
    }

    /// Drops artifacts and code that no running pod uses and `keep` (digests of manifests, as references have them) does not name; or says
    /// what would go.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not removed.
    pub fn prune(&self, keep: &[Digest], dry_run: bool) -> Result<Pruned, Error> {
        let loaded = self.0.loaded.lock();
        let sites = self.0.sites.lock();
        let served = sites.iter().filter(|(_, site)| site.strong_count() > 0).map(|(layer, _)| *layer);
        let used = loaded.iter().filter(|(_, slot)| in_use(slot)).map(|((layer, _), _)| *layer).chain(served).collect();
        self.0.folder.prune(keep, used, dry_run)
    }
}

/// Whether code is loaded, or on its way.
fn in_use(slot: &Slot) -> bool {
    Arc::strong_count(slot) > 1 || slot.try_lock().map_or(true, |code| code.strong_count() > 0)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Which engine a component needs.
fn abi(layer: &Digest, wasm: &[u8]) -> Result<Abi, Error> {
    let inspection = inspect::inspect(wasm).map_err(|source| Error::NoComponent { layer: *layer, source })?;
    let mut names = inspection.imports.iter().chain(&inspection.exports);
    let speaks_03 = names.any(|name| name.starts_with("wasi:") && name.contains("@0.3."));
    Ok(if speaks_03 { Abi::P3 } else { Abi::P2 })
}
