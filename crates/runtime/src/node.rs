//! A node: agent, instances and gateway over one data folder.

mod asks;
mod certificate;
mod doors;
mod forward;
mod info;
mod load;
mod machine;
mod register;
mod source;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::agent::events::Events;
use crate::agent::report::Report;
use crate::blobs::{Blobs, Bucket};
use crate::cache::{BASELINE, Cache, Compiler, LOOK};
use crate::engine::{self, Engines};
use crate::gateway::listen::openings::Openings;
use crate::gateway::listen::{Front, Limits};
use crate::gateway::port::Port;
use crate::gateway::{Door, EndpointEvent, Gateway, Settings};
use crate::instance::{Host, Source};
use crate::kept::Kept;
use crate::keyvalue::{self, Buckets};
use crate::logs::{self, Logs};
use crate::metrics::Metrics;
use crate::room::Room;
use crate::usage::Usage;
use crate::volumes::{Chore, Volumes};
use crate::wasi::outgoing;
use asks::Asks;
use doors::Doors;
pub use doors::Exposed;
use machine::Machine;
use register::Registration;

/// What a node is told when it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name, unique in the cluster: a DNS label or several with dots.
    pub name: String,
    /// The node's own folder (`DIR/node`): compiled code, buckets, logs.
    pub data: PathBuf,
    /// Labels of the Node object beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// What pods may use of this machine.
    pub capacity: Capacity,
    /// The address that status shows as `hostIP` and `podIP`, and at which other nodes find this one.
    pub address: IpAddr,
    /// The port at which other nodes find this one, where it is not that of the listener (a port that is passed on).
    pub port: Option<u16>,
    /// Proxies whose `X-Forwarded-*` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// How long requests in flight may go on after the node was told to stop.
    pub grace: Duration,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// Bytes from which a component gets baseline code first; none for optimised code alone.
    pub baseline: Option<usize>,
    /// How many sandboxes there is room for.
    pub engines: engine::Config,
    /// Certificates (DER) that guests' outgoing requests trust besides the public authorities.
    pub roots: Vec<rustls::pki_types::CertificateDer<'static>>,
    /// What clients of the gateway may take.
    pub clients: Limits,
    /// Where buckets are kept instead of in a file of the node.
    pub buckets: Option<keyvalue::Redis>,
    /// Where containers are kept instead of in files of the node.
    pub containers: Option<Bucket>,
}

impl Config {
    /// A node of this name over this folder with everything else at its default: the whole machine, loopback, 30 s of grace.
    pub fn new(name: impl Into<String>, data: impl Into<PathBuf>) -> Config {
        Config {
            name: name.into(),
            data: data.into(),
            labels: BTreeMap::new(),
            capacity: Capacity::default(),
            address: IpAddr::from([127, 0, 0, 1]),
            port: None,
            trusted_proxies: Vec::new(),
            grace: Duration::from_secs(30),
            compiler: Compiler::InProcess,
            baseline: BASELINE,
            engines: engine::Config::default(),
            roots: Vec::new(),
            clients: Limits::default(),
            buckets: None,
            containers: None,
        }
    }
}

/// What pods may use of a machine; `None` is what the machine has.
#[derive(Debug, Clone, Default)]
pub struct Capacity {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a core.
    pub cpu: Option<u64>,
    /// How many pods.
    pub pods: Option<u64>,
}

/// Why a node could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be used.
    #[error("cannot use {}: check that it exists, can be written and has room", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The compiled code that is kept cannot be used.
    #[error("cannot open the compiled code in {}", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: crate::cache::Error,
    },
    /// The key-value buckets cannot be used.
    #[error("cannot open the key-value buckets in {}", path.display())]
    Buckets {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: crate::keyvalue::Error,
    },
    /// What was kept of the API cannot be used.
    #[error("cannot open what is kept in {}", path.display())]
    Kept {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: crate::kept::Error,
    },
    /// An authority for outgoing requests cannot be used.
    #[error("cannot use the certificates for outgoing requests: {0}")]
    Roots(String),
    /// The listener cannot be used.
    #[error("cannot listen for requests")]
    Listen(#[source] std::io::Error),
}

/// A node that is ready to run.
pub struct Node {
    config: Config,
    client: Client,
    host: Arc<Host>,
    front: Arc<Front>,
    doors: Doors,
    between: Option<TcpListener>,
    kept: Arc<Kept>,
}

impl Node {
    /// Opens the node's folder; nothing runs yet. Components are pulled through `registry`.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn open(config: Config, client: Client, registry: artifact::registry::Client) -> Result<Node, Error> {
        let engines = Engines::new(config.engines.clone());
        let path = made(&config.data, "cache")?;
        let cache = Cache::open(&path, engines.clone(), config.compiler.clone(), config.baseline)
            .map_err(|source| Error::Cache { path, source })?;
        Node::with_source(config, client, engines, Arc::new(source::Registry { cache, registry }))
    }

    /// The same with code from somewhere else.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn with_source(config: Config, client: Client, engines: Engines, source: Arc<dyn Source>) -> Result<Node, Error> {
        let metrics = Arc::new(Metrics::of(source.counts()));
        let settings = Settings { node: config.name.clone(), trusted: config.trusted_proxies.clone() };
        let gateway = Arc::new(Gateway::new(settings, metrics.clone()));
        gateway.ask_grants(client.clone());
        let buckets = match &config.buckets {
            Some(redis) => Buckets::of(redis.clone()),
            None => {
                let path = made(&config.data, "keyvalue")?;
                Buckets::open(&path, keyvalue::Limits::default()).map_err(|source| Error::Buckets { path, source })?
            }
        };
        let path = made(&config.data, "volumes")?;
        let volumes = Volumes::open(&path).map_err(|source| Error::Folder { path, source })?;
        let path = made(&config.data, "blobs")?;
        let limits = crate::blobs::Limits::default();
        let blobs = match &config.containers {
            Some(bucket) => Blobs::open_in(bucket.clone(), &path, limits),
            None => Blobs::open(&path, limits),
        };
        let blobs = blobs.map_err(|source| Error::Folder { path, source })?;
        let path = made(&config.data, "logs")?;
        let logs = Logs::open(&path, logs::Limits::default()).map_err(|source| Error::Folder { path, source })?;
        let path = made(&config.data, "kept")?;
        let kept = Kept::open(&path).map_err(|source| Error::Kept { path, source })?;
        let outbound = outgoing::Client::new(config.roots.clone()).map_err(|error| Error::Roots(error.to_string()))?;
        let front = Front::new(gateway.clone(), config.clients.clone());
        let host = Arc::new(Host {
            node: config.name.clone(),
            engines,
            source,
            values: kept.values(Arc::new(client.clone())),
            gateway,
            logs,
            buckets: Arc::new(buckets),
            volumes: Arc::new(volumes),
            blobs: Arc::new(blobs),
            departed: Arc::default(),
            outbound: Arc::new(outbound),
            ports: Arc::default(),
            starts: Semaphore::new(STARTS),
            room: Room::default(),
            metrics,
        });
        let doors = Doors::new(front.clone(), config.data.join("doors.json"));
        Ok(Node { doors, config, client, host, front, between: None, kept })
    }

    /// Other nodes reach this one's pods on `listener`, and this one reaches theirs, once the server has signed its certificate. A node
    /// without a port of this kind serves its own pods alone.
    pub fn between(&mut self, listener: TcpListener) {
        self.between = Some(listener);
    }

    /// What others in this process may ask of the node while it runs.
    pub fn handle(&self) -> Handle {
        Handle { doors: self.doors.clone(), host: self.host.clone() }
    }

    /// Runs until `shutdown` is done and requests in flight have ended: registers the Node, renews its Lease, keeps its pods' instances,
    /// answers HTTP on `http`. A server that is away stops nothing.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub async fn run(mut self, http: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let http = listening(http)?;
        let at = http.local_addr().map_err(Error::Listen)?.ip();
        let between = self.between.take().map(listening).transpose()?;
        let (accepting, living, ending) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let registration = self.registration(between.as_ref());
        let mut tasks = JoinSet::new();
        let port = match between {
            Some(listener) => {
                let identity = certificate::Identity::new(&self.config, self.client.clone(), self.host.gateway.peers.clone());
                tasks.spawn(identity.run());
                tasks.spawn(self.host.gateway.peers.clone().follow(self.client.clone(), self.kept.clone()));
                let port = Port::new(self.host.gateway.clone());
                Some(tokio::spawn(port.serve(listener, accepting.clone(), self.config.grace)))
            }
            None => None,
        };
        tasks.spawn(registration.clone().run(self.client.clone(), self.host.gateway.clone()));
        let report = Report::default();
        tasks.spawn(report.clone().run(Arc::new(self.client.clone())));
        let (events, telling) = Events::new(self.client.clone(), self.config.name.clone());
        tasks.spawn(telling);
        let telling_services = events.clone();
        tasks.spawn(self.host.gateway.clone().follow(self.client.clone(), self.kept.clone(), events.clone()));
        let usage = Usage::default();
        tasks.spawn(usage.clone().run(self.host.gateway.clone()));
        tasks.spawn(self.asks(usage).run());
        tasks.spawn(self.front.clone().sweep());
        tasks.spawn(rest(self.host.source.clone()));
        tasks.spawn(Chore::new(self.host.volumes.clone(), self.client.clone(), self.host.node.clone(), self.host.departed.clone()).run());
        let access = tokio::spawn(self.host.gateway.access.clone().run(self.requests(), ending.clone().cancelled_owned()));
        let agent = Agent::new(self.host.clone(), self.client.clone(), self.config.address, report, events);
        let agent = tokio::spawn(agent.run(self.kept.clone(), living.clone()));
        let serving = tokio::spawn(self.front.clone().serve(http, Door::Front, accepting.clone()));
        self.doors.open(accepting.clone());
        let openings =
            tokio::spawn(Openings::new(self.front.clone(), at, telling_services, self.config.name.clone()).keep(accepting.clone()));
        shutdown.await;
        registration.leave(&self.client).await;
        accepting.cancel();
        let broken = self.front.drain(self.config.grace).await;
        if let Some(port) = port {
            // It ends with its own grace; a panic is told where it happens.
            let _ = port.await;
        }
        if broken > 0 {
            tracing::warn!(
                "{broken} connections were closed before their requests had ended: the grace of {:?} was over",
                self.config.grace
            );
        }
        living.cancel();
        // Both only end early by a panic, which is told where it happens.
        let _ = tokio::join!(agent, serving, openings);
        ending.cancel();
        let _ = access.await;
        Ok(())
    }

    fn registration(&self, between: Option<&tokio::net::TcpListener>) -> Registration {
        let Config { name, labels, capacity, address, .. } = &self.config;
        let port = between.and_then(|listener| self.config.port.or_else(|| listener.local_addr().ok().map(|address| address.port())));
        let peers = self.host.gateway.peers.clone();
        Registration { name: name.clone(), labels: labels.clone(), machine: Machine::of(capacity), address: *address, port, peers }
    }

    /// Where the access log is.
    fn requests(&self) -> PathBuf {
        self.config.data.join("logs")
    }

    fn asks(&self, usage: Usage) -> Asks {
        let (node, client) = (self.config.name.clone(), self.client.clone());
        let (logs, gateway, source) = (self.host.logs.clone(), self.host.gateway.clone(), self.host.source.clone());
        let running = u64::from(self.config.engines.running);
        let (buckets, blobs) = (self.host.buckets.clone(), self.host.blobs.clone());
        let (front, ports) = (self.front.clone(), self.host.ports.clone());
        Asks { node, client, logs, gateway, requests: self.requests(), source, running, buckets, blobs, usage, front, ports }
    }
}

fn listening(listener: TcpListener) -> Result<tokio::net::TcpListener, Error> {
    listener.set_nonblocking(true).map_err(Error::Listen)?;
    tokio::net::TcpListener::from_std(listener).map_err(Error::Listen)
}

/// Gives the memory of code that sleeps back, for ever.
async fn rest(source: Arc<dyn Source>) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let source = source.clone();
        // It waits for nothing, but the system may take its time.
        let _ = tokio::task::spawn_blocking(move || source.rest()).await;
    }
}

/// Instances that are prepared at a time: enough to wait for several registries, few enough that each is quick.
const STARTS: usize = 32;

fn made(data: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = data.join(name);
    match std::fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Folder { path, source }),
    }
}

/// A running node, for others in its process.
#[derive(Clone)]
pub struct Handle {
    doors: Doors,
    host: Arc<Host>,
}

impl Handle {
    /// An address of its own for an App: its routes answer there whatever host is asked for. The same App gets the same address again, at the
    /// next start too unless somebody else has its port by then.
    ///
    /// # Errors
    /// When the machine has no port left.
    pub async fn expose(&self, namespace: &str, app: &str) -> Result<Exposed, Error> {
        self.doors.expose(namespace, app).await.map_err(Error::Listen)
    }

    /// Tells of each change of a Service's ready pods from now on.
    pub fn endpoint_events(&self) -> broadcast::Receiver<EndpointEvent> {
        self.host.gateway.endpoint_events()
    }

    /// How many pods of a Service may get requests now.
    pub fn ready(&self, namespace: &str, service: &str) -> usize {
        self.host.gateway.ready(namespace, service)
    }

    /// The node's counters in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.host.metrics.render()
    }
}
