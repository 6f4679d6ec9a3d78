//! One guest: limits, capabilities, WASI. Every trust decision is in this module and in `wasi`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::blobs::Blobs;
use crate::keyvalue::Buckets;
use crate::metrics::Metrics;
use crate::ports::{self, Ports};
use crate::volumes::Volumes;

pub(crate) mod budget;
mod call;
mod command;
mod cpu;
mod fail;
mod guest;
mod head;
pub(crate) mod link;
mod respond;
mod run;
mod serve;
pub(crate) mod state;
mod stream;
pub mod target;

pub use call::{CallError, Callee, Calls, NoCalls, Trace, granted};
pub use fail::Failure;
pub use guest::Guest;
pub use target::Target;

/// Which pod a guest belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    /// The namespace.
    pub namespace: String,
    /// The app, if the pod belongs to one: `X.internal` and buckets are within it.
    pub app: Option<String>,
    /// The service of the app, or the pod's owner.
    pub service: String,
    /// The pod's name, which the guest sees as `HOSTNAME`.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
}

/// What a guest gets, and what bounds it: all that its pod declares, and nothing else.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Whose guest it is.
    pub pod: PodIdentity,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// What is added to them as `HOSTNAME`: the pod's name.
    pub hostname: Option<String>,
    /// Arguments, the program's name first.
    pub args: Vec<String>,
    /// Bytes of linear memory for all sandboxes of the pod together.
    pub memory: u64,
    /// Thousandths of a core that its guests may use, all together; none for no bound.
    pub cpu: Option<u32>,
    /// Whether its CPU time is counted even where it is not bounded.
    pub counts_cpu: bool,
    /// How long a request (or the start of a sandbox) may take, its response's body included. `Duration::MAX` for no bound.
    pub time: Duration,
    /// Requests at a time.
    pub concurrency: u32,
    /// Requests that a sandbox serves before it is thrown away; 0 and 1 both mean a fresh one for each.
    pub reuse: u32,
    /// Buckets of `wasi:keyvalue` that may be opened.
    pub keyvalue: Vec<String>,
    /// Containers of `wasi:blobstore` that may be opened.
    pub blobs: Vec<String>,
    /// Where outgoing connections may go.
    pub connect: Vec<Target>,
    /// TCP ports of the node that it may listen on.
    pub listen: Vec<u16>,
    /// Whether it has the machine's network, all of it and unbounded (`wctl run --network host` only).
    pub network: bool,
    /// Services that may be called: of the same app (`user`, as `http://user.internal`), or by name and namespace (`orders.billing`).
    pub call: Vec<String>,
    /// Folders of the node that outlive the pod.
    pub volumes: Vec<VolumeGrant>,
    /// Folders of the machine that the guest sees (`wctl run --dir` only).
    pub dirs: Vec<Dir>,
    /// Where the guest's standard streams go.
    pub stdio: Stdio,
}

impl Spec {
    /// A spec that grants nothing: 128 MiB, 30 s, 100 requests at a time, a fresh sandbox for each.
    pub fn new(pod: PodIdentity) -> Self {
        Self {
            hostname: Some(pod.name.clone()),
            pod,
            env: Vec::new(),
            args: Vec::new(),
            memory: 128 << 20,
            cpu: None,
            counts_cpu: false,
            time: Duration::from_secs(30),
            concurrency: 100,
            reuse: 1,
            keyvalue: Vec::new(),
            blobs: Vec::new(),
            connect: Vec::new(),
            listen: Vec::new(),
            network: false,
            call: Vec::new(),
            volumes: Vec::new(),
            dirs: Vec::new(),
            stdio: Stdio::Output,
        }
    }
}

/// A volume that a guest may use. All pods of a service on one node see the same files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeGrant {
    /// Its name in the guest: `/data`.
    pub path: String,
    /// The most bytes that it may hold.
    pub size: u64,
    /// Whether it is the pod's own and goes with it (`emptyDir`).
    pub of_pod: bool,
}

/// A folder that a guest may use.
#[derive(Clone, Debug)]
pub struct Dir {
    /// The folder on this machine.
    pub host: PathBuf,
    /// Its name in the guest.
    pub guest: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// Where a guest's standard streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdio {
    /// Output to [`Host::output`]; input is empty.
    Output,
    /// The streams of this process.
    Inherit,
}

/// One of the two streams that a guest prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// `stdout`
    Stdout,
    /// `stderr`
    Stderr,
}

/// How much a log entry matters, as `wasi:logging` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Which way the guest goes.
    Trace,
    /// For the guest's author.
    Debug,
    /// For whoever runs the guest.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
    /// The guest cannot go on.
    Critical,
}

impl Level {
    /// As logs have it: `INFO`.
    pub fn word(self) -> &'static str {
        match self {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }
}

/// Something for a pod's log that is not printed: what a guest logs, or what the host says about it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// How much it matters.
    pub level: Level,
    /// What it belongs to, in the guest's words; the host's is `wctl`. May be empty.
    pub context: &'a str,
    /// What is said; may have several lines.
    pub message: &'a str,
}

impl std::fmt::Display for Entry<'_> {
    /// As people read it: `WARN auth: no such user`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (level, colon) = (self.level.word(), if self.context.is_empty() { "" } else { ": " });
        write!(f, "{level} {}{colon}{}", self.context, self.message)
    }
}

/// Takes what guests print. Called on the guest's own thread: it must not block for long.
pub trait Output: Send + Sync {
    /// Takes some bytes, not necessarily a whole line nor UTF-8.
    fn write(&self, stream: Stream, bytes: &[u8]);

    /// Takes an entry.
    fn log(&self, entry: &Entry<'_>);
}

/// Is told of what goes wrong after the response's head has been handed out.
pub trait Watch: Send + Sync {
    /// The body was cut short: the guest trapped, ran past its deadline or left. The client sees a broken stream.
    fn body_failed(&self, failure: &Failure);
}

/// What a node gives to the guests of one pod.
#[derive(Clone)]
pub struct Host {
    /// The node's key-value buckets.
    pub buckets: Arc<Buckets>,
    /// The node's volumes; without them none can be granted.
    pub volumes: Option<Arc<Volumes>>,
    /// What the node's Apps keep in containers; without it none can be granted.
    pub blobs: Option<Arc<Blobs>>,
    /// Carries requests to other services of the app.
    pub calls: Arc<dyn Calls>,
    /// Takes what the guest prints.
    pub output: Arc<dyn Output>,
    /// Learns of failures in mid-body.
    pub watch: Arc<dyn Watch>,
    /// Carries requests to the outside, once they are granted.
    pub outbound: Arc<crate::wasi::outgoing::Client>,
    /// The node's ports that guests listen on.
    pub ports: Arc<Ports>,
    /// Counts sandboxes.
    pub metrics: Arc<Metrics>,
    /// Whether guests of others run in this process: then one that takes long gives way to them.
    pub neighbours: bool,
}

impl Host {
    /// A host with these buckets, that drops output, reaches no service and uses `outbound`.
    pub fn quiet(buckets: Arc<Buckets>, outbound: Arc<crate::wasi::outgoing::Client>) -> Self {
        Self {
            buckets,
            volumes: None,
            blobs: None,
            calls: Arc::new(NoCalls),
            output: Arc::new(Quiet),
            watch: Arc::new(Quiet),
            outbound,
            ports: Arc::default(),
            metrics: Arc::default(),
            neighbours: false,
        }
    }
}

/// Drops what it is given.
struct Quiet;

impl Output for Quiet {
    fn write(&self, _: Stream, _: &[u8]) {}

    fn log(&self, _: &Entry<'_>) {}
}

impl Watch for Quiet {
    fn body_failed(&self, _: &Failure) {}
}

/// Why a guest could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component needs something that is not offered.
    #[error("linking the component of pod {pod}: {message}")]
    Link {
        /// The pod.
        pod: String,
        /// Which import, and what is offered.
        message: String,
    },
    /// The component is neither an HTTP service nor a command.
    #[error("the component of pod {pod} exports neither wasi:http/incoming-handler, wasi:http/handler nor wasi:cli/run")]
    NothingToRun {
        /// The pod.
        pod: String,
    },
    /// The component cannot start within its limits.
    #[error("starting the component of pod {pod}: {failure}")]
    Start {
        /// The pod.
        pod: String,
        /// What happened.
        failure: Failure,
    },
    /// A volume could not be opened.
    #[error("opening volume {path} of pod {pod}")]
    Volume {
        /// The pod.
        pod: String,
        /// Its name in the guest.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// What the App keeps in containers could not be opened.
    #[error("opening the containers of pod {pod}")]
    Blobs {
        /// The pod.
        pod: String,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot have a port that it listens on.
    #[error("preparing pod {pod}")]
    Port {
        /// The pod.
        pod: String,
        /// Why.
        source: ports::Error,
    },
    /// A folder could not be opened.
    #[error("opening folder {path} for the guest")]
    Dir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: wasmtime_error::Opaque,
    },
}

/// Wraps wasmtime's error so that it is a [`std::error::Error`].
pub mod wasmtime_error {
    /// An error of wasmtime, printed with its causes.
    #[derive(Debug, thiserror::Error)]
    #[error("{0:#}")]
    pub struct Opaque(pub wasmtime::Error);
}
