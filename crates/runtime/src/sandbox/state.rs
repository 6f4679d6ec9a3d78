//! What a store holds: the contexts of WASI, and what the pod was granted.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::Store as Sandbox;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::budget::{Budget, Meter};
use super::cpu::{COUNTED, Share};
use super::run::Progress;
use super::{Error, Host, Spec, Stdio, Stream, Trace, VolumeGrant, wasmtime_error};
use crate::blobs::Store;
use crate::engine;
use crate::metrics::Counted;
use crate::ports::Held;
use crate::volumes::VolumeId;
use crate::wasi::blobstore::View as BlobstoreView;
use crate::wasi::filesystem::{Mount, Mounts, View as FilesView};
use crate::wasi::keyvalue::View as KeyvalueView;
use crate::wasi::outgoing::{Allowance, Hooks};
use crate::wasi::sockets::{Reach, Sockets};
use crate::wasi::stdio::Printer;

/// Bytes that a guest may hand to one host function, which copies them while its thread serves nobody else: some 3 ms.
const HOSTCALL_BYTES: usize = 4 << 20;

/// Resources (streams, fields, pollables …) that a guest may hold at a time.
const RESOURCES: usize = 4_096;

/// Bytes of one set of header fields, bookkeeping included.
pub(super) const FIELDS: usize = 128 << 10;

/// Bytes of randomness in one call.
const RANDOM: u64 = 1 << 20;

/// All that a pod's spec and node grant to its sandboxes.
pub(crate) struct Grants {
    pub spec: Arc<Spec>,
    pub host: Host,
    pub budget: Arc<Budget>,
    /// Its share of CPU time, if it is bounded.
    pub share: Option<Arc<Share>>,
    pub allowance: Arc<Allowance>,
    /// Bare connections, if any are granted.
    reach: Option<Arc<Reach>>,
    _ports: Vec<Held>,
    mounts: Arc<[Arc<Mount>]>,
    /// What the App keeps in containers, if any is granted.
    pub blobs: Option<Arc<Store>>,
}

impl Grants {
    /// Opens the volumes, which may take a while.
    pub async fn new(spec: Arc<Spec>, host: Host) -> Result<Arc<Self>, Error> {
        let budget = Budget::new(spec.concurrency, spec.memory);
        let allowance = Arc::new(Allowance::new(&spec, &host));
        let reach = Reach::new(&spec, &host, &allowance);
        let ports = ports(&spec, &host)?;
        let share = spec.cpu.or(spec.counts_cpu.then_some(COUNTED)).map(Share::new);
        let mut mounts = Vec::new();
        for grant in &spec.volumes {
            mounts.push(mount(&spec, &host, grant).await?);
        }
        let blobs = if spec.blobs.is_empty() { None } else { Some(blobs(&spec, &host).await?) };
        Ok(Arc::new(Self { mounts: mounts.into(), blobs, spec, host, budget, share, allowance, reach, _ports: ports }))
    }

    /// Opens the folders once, so that a mistake shows when the pod is prepared.
    pub fn check_dirs(&self) -> Result<(), Error> {
        for dir in &self.spec.dirs {
            WasiCtxBuilder::new()
                .preopened_dir(&dir.host, &dir.guest, perms(dir.read_only))
                .map_err(|error| Error::Dir { path: dir.host.clone(), source: wasmtime_error::Opaque(error) })?;
        }
        Ok(())
    }
}

fn ports(spec: &Spec, host: &Host) -> Result<Vec<Held>, Error> {
    let held = spec.listen.iter().map(|port| host.ports.hold(*port, &spec.pod));
    held.collect::<Result<_, _>>().map_err(|source| Error::Port { pod: spec.pod.name.clone(), source })
}

async fn mount(spec: &Spec, host: &Host, grant: &VolumeGrant) -> Result<Arc<Mount>, Error> {
    let failed = |source| Error::Volume { pod: spec.pod.name.clone(), path: grant.path.clone(), source };
    let app = if grant.of_pod { Some(spec.pod.uid.clone()) } else { spec.pod.app.clone() };
    let (Some(volumes), Some(app)) = (host.volumes.clone(), app) else {
        return Err(failed(std::io::Error::other("volumes are for services of an app on a node; put the service into an app")));
    };
    let id = if grant.of_pod {
        crate::agent::files::folder_of(&app, &grant.path)
    } else {
        VolumeId { namespace: spec.pod.namespace.clone(), app, service: spec.pod.service.clone(), path: grant.path.clone() }
    };
    let volume = tokio::task::spawn_blocking(move || volumes.volume(&id)).await;
    let volume = volume.map_err(std::io::Error::from).and_then(|opened| opened).map_err(failed)?;
    Ok(Mount::new(volume, grant.path.clone(), grant.size, host.output.clone()))
}

async fn blobs(spec: &Spec, host: &Host) -> Result<Arc<Store>, Error> {
    let failed = |source| Error::Blobs { pod: spec.pod.name.clone(), source };
    let blobs = host.blobs.clone().ok_or_else(|| failed(std::io::Error::other("containers are for pods on a node")))?;
    let (namespace, app) = (spec.pod.namespace.clone(), spec.pod.app.clone().unwrap_or_else(|| spec.pod.service.clone()));
    let opened = tokio::task::spawn_blocking(move || blobs.of(&namespace, &app)).await;
    opened.map_err(std::io::Error::from).and_then(|opened| opened).map_err(failed)
}

fn perms(read_only: bool) -> FsPerms {
    if read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite }
}

/// The data of a store.
pub(crate) struct State {
    pub table: ResourceTable,
    pub meter: Meter,
    pub hooks: Hooks,
    pub grants: Arc<Grants>,
    mounts: Mounts,
    /// Its bare connections, if any are granted.
    pub sockets: Option<Arc<Sockets>>,
    /// The call that is being served.
    progress: Option<Arc<Progress>>,
    _counted: Counted,
    /// Made when the guest first asks: many a request is answered without it.
    wasi: Option<WasiCtx>,
    http: WasiHttpCtx,
}

impl State {
    fn new(grants: Arc<Grants>) -> wasmtime::Result<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        let sockets = grants.reach.clone().map(Sockets::new);
        Ok(Self {
            table,
            meter: Meter::new(grants.budget.clone()),
            hooks: Hooks::new(grants.allowance.clone()),
            mounts: Mounts::new(grants.spec.dirs.len(), grants.mounts.clone()),
            // Folders are opened now, where a failure can still be told.
            wasi: if grants.spec.dirs.is_empty() && grants.mounts.is_empty() { None } else { Some(with_dirs(&grants, sockets.as_ref())?) },
            sockets,
            http,
            progress: None,
            _counted: grants.host.metrics.sandbox(),
            grants,
        })
    }

    /// Sets when the request that is being served must be answered, which calls of the guest may not outlive.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.hooks.deadline = deadline;
    }

    /// Sets the call that is told of ticks.
    pub fn set_progress(&mut self, progress: Arc<Progress>) {
        self.progress = Some(progress);
    }

    /// Sets what the guest's own requests inherit from the one that is being served.
    pub fn set_trace(&mut self, trace: Option<Trace>) {
        self.hooks.trace = trace;
    }

    /// The guest's view of its folders.
    pub fn files(&mut self) -> FilesView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| context(&self.grants, self.sockets.as_ref()).build());
        let inner = WasiFilesystemCtxView { ctx: ctx.filesystem(), table: &mut self.table };
        FilesView { inner, mounts: &mut self.mounts }
    }

    /// The guest's view of its containers.
    pub fn blobstore(&mut self) -> BlobstoreView<'_> {
        BlobstoreView { table: &mut self.table, grants: &self.grants }
    }

    /// The guest's view of its buckets.
    pub fn keyvalue(&mut self) -> KeyvalueView<'_> {
        KeyvalueView { table: &mut self.table, grants: &self.grants }
    }
}

/// A store for one sandbox, bounded before anything runs in it.
pub(crate) fn store(engine: &wasmtime::Engine, grants: Arc<Grants>) -> wasmtime::Result<Sandbox<State>> {
    let mut store = Sandbox::new(engine, State::new(grants)?);
    store.limiter(|state| &mut state.meter);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(RESOURCES);
    engine::pace(&mut store, |state| {
        if let Some(progress) = &state.progress {
            progress.tick();
        }
    });
    Ok(store)
}

/// WASI as the spec declares it; everything else is denied here: no folders, no inherited variables, no sockets nor look-ups of names but for `sockets`.
fn context(grants: &Grants, sockets: Option<&Arc<Sockets>>) -> WasiCtxBuilder {
    let (spec, host) = (&grants.spec, &grants.host);
    let mut wasi = WasiCtxBuilder::new();
    if let Some(name) = &spec.hostname {
        wasi.env("HOSTNAME", name);
    }
    wasi.envs(&spec.env).args(&spec.args).max_random_size(RANDOM);
    if let Some(sockets) = sockets {
        sockets.check(&mut wasi);
    }
    match spec.stdio {
        Stdio::Inherit => {
            wasi.inherit_stdio();
        }
        Stdio::Output => {
            wasi.stdout(Printer::new(&host.output, Stream::Stdout)).stderr(Printer::new(&host.output, Stream::Stderr));
        }
    }
    wasi
}

fn with_dirs(grants: &Grants, sockets: Option<&Arc<Sockets>>) -> wasmtime::Result<WasiCtx> {
    let mut wasi = context(grants, sockets);
    for dir in &grants.spec.dirs {
        wasi.preopened_dir(&dir.host, &dir.guest, perms(dir.read_only))?;
    }
    grants.mounts.iter().try_for_each(|mount| mount.open(&mut wasi))?;
    Ok(wasi.build())
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| context(&self.grants, self.sockets.as_ref()).build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}
