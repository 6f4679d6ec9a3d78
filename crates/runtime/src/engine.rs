//! The wasmtime engines: few and known, made on first use, ticked so that no guest runs for ever.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::component::{Component, Linker};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, Strategy, UpdateDeadline};

use crate::cache::Version;
use crate::sandbox::PodIdentity;
use crate::sandbox::budget::MODULES;
use crate::sandbox::link::{self, Linked};
use crate::sandbox::state::State;

mod share;
mod ticker;

use share::Pool;
pub(crate) use share::{Place, Share};

/// Which generation of WASI a component speaks. Each has its own engine: what 0.3 needs costs 0.2 guests half their speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Abi {
    /// WASI 0.2: calls one at a time.
    P2,
    /// WASI 0.3: calls are concurrent.
    P3,
}

/// How much address space each linear memory reserves. It is engine-wide, so the classes are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Up to 128 MiB.
    Small,
    /// Up to 4 GiB.
    Large,
}

impl Class {
    /// The class that a pod with `memory` bytes of linear memory needs.
    pub fn of(memory: u64) -> Self {
        if memory <= Self::Small.reservation() { Self::Small } else { Self::Large }
    }

    /// Bytes that one linear memory can grow to.
    pub fn reservation(self) -> u64 {
        match self {
            Self::Small => 128 << 20,
            Self::Large => 4 << 30,
        }
    }
}

/// Which compiler makes the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Cranelift: code that runs fast.
    Optimized,
    /// Winch: code that is made fast, five times as fast, and runs until the other is there.
    Baseline,
}

/// One of the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The generation of WASI.
    pub abi: Abi,
    /// The memory class.
    pub class: Class,
    /// The compiler.
    pub tier: Tier,
}

/// How many kinds there are.
const KINDS: usize = 8;

impl Kind {
    fn index(self) -> usize {
        usize::from(self.abi == Abi::P3) * 4 + usize::from(self.class == Class::Large) * 2 + usize::from(self.tier == Tier::Baseline)
    }

    /// Each kind there is.
    pub fn all() -> impl Iterator<Item = Kind> {
        let classes = |abi| [Class::Small, Class::Large].map(move |class| (abi, class));
        let kinds = [Abi::P2, Abi::P3].into_iter().flat_map(classes);
        kinds.flat_map(|(abi, class)| [Tier::Optimized, Tier::Baseline].map(|tier| Kind { abi, class, tier }))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let abi = if self.abi == Abi::P2 { "p2" } else { "p3" };
        let class = if self.class == Class::Small { "128m" } else { "4g" };
        let tier = if self.tier == Tier::Baseline { "-baseline" } else { "" };
        write!(f, "{abi}-{class}{tier}")
    }
}

/// How many sandboxes the engines make room for.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sandboxes of up to 128 MiB at a time; 160 MiB of address space each.
    pub small: u32,
    /// Sandboxes of up to 4 GiB at a time; 4.1 GiB of address space each.
    pub large: u32,
    /// Guests that run at a time; two memory mappings each.
    pub running: u32,
    /// How often a running guest lets others run.
    pub tick: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { small: 2_000, large: 500, running: 1_000, tick: Duration::from_millis(5) }
    }
}

impl Config {
    /// Room for a single program, as `wctl run` needs.
    pub fn single() -> Self {
        Self { small: 100, large: 20, running: 100, ..Self::default() }
    }

    fn sandboxes(&self, class: Class) -> u32 {
        match class {
            Class::Small => self.small,
            Class::Large => self.large,
        }
    }
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[error("making the wasmtime engine {kind}: {message}")]
pub struct Error {
    kind: Kind,
    message: String,
}

/// The engines of a process. Cheap to clone.
#[derive(Clone)]
pub struct Engines(Arc<Inner>);

struct Inner {
    config: Config,
    made: Mutex<[Option<Engine>; KINDS]>,
    linkers: Mutex<[Option<Arc<Linker<State>>>; KINDS]>,
    pool: Arc<Pool>,
    shares: Mutex<HashMap<(String, String), Weak<Share>>>,
    ticker: ticker::Ticker,
}

impl Engines {
    /// Engines made when they are first asked for.
    pub fn new(config: Config) -> Self {
        // With RUST_BACKTRACE set each error would hold the host's backtrace, and a guest reads it in `to-debug-string`.
        wasmtime::error::disable_backtrace();
        let ticker = ticker::Ticker::new(config.tick);
        let (made, linkers, shares) = Default::default();
        let pool = Pool::new(config.running);
        Self(Arc::new(Inner { config, made, linkers, pool, shares, ticker }))
    }

    /// The engine of a kind.
    ///
    /// # Errors
    /// When the machine offers neither the address space for a pool nor an engine without one.
    pub fn get(&self, kind: Kind) -> Result<Engine, Error> {
        let mut made = self.0.made.lock();
        if let Some(engine) = &made[kind.index()] {
            return Ok(engine.clone());
        }
        let engine = make(kind, &self.0.config)?;
        self.0.ticker.add(&engine);
        made[kind.index()] = Some(engine.clone());
        Ok(engine)
    }

    /// Bounds what the pods of one App have under way together: the pool is the node's.
    pub(crate) fn share(&self, pod: &PodIdentity, neighbours: bool) -> Arc<Share> {
        let key = (pod.namespace.clone(), pod.app.as_ref().unwrap_or(&pod.service).clone());
        let mut shares = self.0.shares.lock();
        if let Some(share) = shares.get(&key).and_then(Weak::upgrade) {
            return share;
        }
        let share = Share::new(&self.0.pool, neighbours);
        shares.retain(|_, share| share.strong_count() > 0);
        shares.insert(key, Arc::downgrade(&share));
        share
    }

    /// Links a component, once for all pods that run it.
    pub(crate) fn link(&self, version: &Version) -> Result<Arc<Linked>, String> {
        if let Some(linked) = version.linked.get() {
            return Ok(linked.clone());
        }
        let made = Arc::new(link::link(&*self.linker(version)?, &version.component)?);
        Ok(version.linked.get_or_init(|| made).clone())
    }

    fn linker(&self, version: &Version) -> Result<Arc<Linker<State>>, String> {
        let mut linkers = self.0.linkers.lock();
        let linker = &mut linkers[version.kind.index()];
        if let Some(linker) = linker {
            return Ok(linker.clone());
        }
        let made = Arc::new(link::linker(version.component.engine(), version.kind.abi).map_err(|error| format!("{error:#}"))?);
        *linker = Some(made.clone());
        Ok(made)
    }
}

/// An engine that only compiles: the same code as [`Engines::get`] runs, but no pool.
///
/// # Errors
/// When wasmtime does not support this machine.
pub fn compiler(kind: Kind) -> Result<Engine, Error> {
    Engine::new(&settings(kind)).map_err(|error| Error { kind, message: format!("{error:#}") })
}

/// Lets `store`'s guest run until the next tick, where `ticked` is told, and it yields to the runtime, drivers included, and goes on.
pub(crate) fn pace<T: 'static>(store: &mut Store<T>, ticked: impl Fn(&T) + Send + Sync + 'static) {
    // A plain yield puts the guest at the end of its worker's queue, but the worker looks at its sockets only every so many
    // polls: with a few spinning guests that is half a second. Tokio's own yield lets the worker look first.
    store.epoch_deadline_callback(move |store| {
        ticked(store.data());
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store.set_epoch_deadline(1);
}

/// What the compiled code depends on: all but the allocation strategy.
fn settings(kind: Kind) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.concurrency_support(kind.abi == Abi::P3);
    config.epoch_interruption(true);
    // Without a pool address space costs nothing, and with all of it code needs no checks of bounds: a third less of it to make.
    config.memory_reservation(if kind.tier == Tier::Baseline { Class::Large } else { kind.class }.reservation());
    config.memory_may_move(false);
    config.memory_init_cow(true);
    config.memory_guaranteed_dense_image_size(64 << 20);
    // Symbols are for debuggers and unwind tables for those who step through guests from outside: a fifth of each file, which traps do
    // without. Windows has its own way of unwinding, through these tables.
    config.debug_symbols(false);
    config.native_unwind_info(cfg!(windows));
    // Code of the baseline needs more of its stack for the same depth.
    let deeper = if kind.tier == Tier::Baseline { 4 } else { 1 };
    config.strategy(if kind.tier == Tier::Baseline { Strategy::Winch } else { Strategy::Cranelift });
    config.max_wasm_stack(deeper * (512 << 10));
    config.async_stack_size(deeper * (1 << 20));
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(24));
    config
}

/// For how many sandboxes of the pool one of this component counts.
pub(crate) fn weight(component: &Component) -> u32 {
    component.resources_required().map_or(1, |needs| needs.num_memories.max(needs.num_tables.div_ceil(TABLES)).max(1))
}

/// Makes the pool as large as asked, or half of it and so on while the address space is short; at last none at all.
fn make(kind: Kind, config: &Config) -> Result<Engine, Error> {
    // Few run with baseline code, and not for long: they need no pool.
    let mut sandboxes = if kind.tier == Tier::Baseline { 0 } else { config.sandboxes(kind.class) };
    let mut settings = settings(kind);
    while sandboxes >= 8 {
        settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(kind, sandboxes, config.running.min(sandboxes))));
        match Engine::new(&settings) {
            Ok(engine) => return Ok(engine),
            Err(error) => tracing::warn!("no room for a pool of {sandboxes} sandboxes ({kind}), trying half: {error:#}"),
        }
        sandboxes /= 2;
    }
    settings.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&settings).map_err(|error| Error { kind, message: format!("{error:#}") })
}

/// Tables that a sandbox usually has at most; one with more counts for several.
const TABLES: u32 = 4;

fn pool(kind: Kind, sandboxes: u32, running: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sandboxes)
        // A count and no more, so there are as many as all sandboxes could have.
        .total_core_instances(sandboxes * MODULES)
        .total_memories(sandboxes)
        .total_tables(sandboxes * TABLES)
        .total_stacks(running)
        .max_memory_size(usize::try_from(kind.class.reservation()).unwrap_or(usize::MAX))
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(64)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Entries that one table may have: Python's and JavaScript's interpreters need some 20,000.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;
