//! What a store holds: the contexts of WASI, and what the pod was granted.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::budget::{Budget, Meter};
use super::cpu::Share;
use super::run::Progress;
use super::{Error, Host, Spec, Stdio, Stream, Trace, wasmtime_error};
use crate::engine;
use crate::wasi::keyvalue::View as KeyvalueView;
use crate::wasi::outgoing::{Allowance, Hooks};
use crate::wasi::stdio::Printer;

/// Bytes that a guest may hand to one host function.
const HOSTCALL_BYTES: usize = 16 << 20;

/// Resources (streams, fields, pollables …) that a guest may hold at a time.
const RESOURCES: usize = 4_096;

/// Bytes of one set of header fields, bookkeeping included.
pub(super) const FIELDS: usize = 128 << 10;

/// Bytes of randomness in one call.
const RANDOM: u64 = 1 << 20;

/// All that a pod's spec and node grant to its sandboxes.
pub(crate) struct Grants {
    pub spec: Spec,
    pub host: Host,
    pub budget: Arc<Budget>,
    /// Its share of CPU time, if it is bounded.
    pub share: Option<Arc<Share>>,
    pub allowance: Arc<Allowance>,
}

impl Grants {
    pub fn new(spec: Spec, host: Host) -> Arc<Self> {
        let budget = Budget::new(spec.concurrency, spec.memory);
        let allowance = Arc::new(Allowance::new(&spec, &host));
        let share = spec.cpu.map(Share::new);
        Arc::new(Self { spec, host, budget, share, allowance })
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

fn perms(read_only: bool) -> FsPerms {
    if read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite }
}

/// The data of a store.
pub(crate) struct State {
    pub table: ResourceTable,
    pub meter: Meter,
    pub hooks: Hooks,
    pub grants: Arc<Grants>,
    /// The call that is being served.
    progress: Option<Arc<Progress>>,
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
        Ok(Self {
            table,
            meter: Meter::new(grants.budget.clone()),
            hooks: Hooks::new(grants.allowance.clone()),
            // Folders are opened now, where a failure can still be told.
            wasi: if grants.spec.dirs.is_empty() { None } else { Some(with_dirs(&grants)?) },
            http,
            progress: None,
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

    /// The guest's view of its buckets.
    pub fn keyvalue(&mut self) -> KeyvalueView<'_> {
        KeyvalueView { table: &mut self.table, grants: &self.grants }
    }
}

/// A store for one sandbox, bounded before anything runs in it.
pub(crate) fn store(engine: &wasmtime::Engine, grants: Arc<Grants>) -> wasmtime::Result<Store<State>> {
    let mut store = Store::new(engine, State::new(grants)?);
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

/// WASI as the spec declares it; everything else is denied here: no folders, no sockets, no name look-ups, no inherited variables.
fn context(grants: &Grants) -> WasiCtxBuilder {
    let (spec, host) = (&grants.spec, &grants.host);
    let mut wasi = WasiCtxBuilder::new();
    wasi.env("HOSTNAME", &spec.pod.name).envs(&spec.env).args(&spec.args).max_random_size(RANDOM);
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

fn with_dirs(grants: &Grants) -> wasmtime::Result<WasiCtx> {
    let mut wasi = context(grants);
    for dir in &grants.spec.dirs {
        wasi.preopened_dir(&dir.host, &dir.guest, perms(dir.read_only))?;
    }
    Ok(wasi.build())
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| context(&self.grants).build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}
