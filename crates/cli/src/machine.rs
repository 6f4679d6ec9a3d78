//! Server and node in this process, over one data folder.

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use runtime::blobs::Bucket;
use runtime::cache::{BASELINE, Compiler};
use runtime::keyvalue::{self, Redis};
use runtime::node::{self, Node};
use scheduler::auth::Identity;
use scheduler::names::DEFAULT_NAMESPACE;
use scheduler::server::{self, Server, State};
use scheduler::store::etcd;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::args::{self, Globals};
use crate::between::Between;
use crate::cluster::Cluster;
use crate::exit::Usage;
use crate::home::{self, Home, Running};
use crate::{print, registry};

/// A server that runs in this process.
pub struct Control {
    /// `https://HOST:PORT`
    pub url: String,
    /// What another machine shows to join within the next hour.
    pub join: String,
    /// The server for the admin, without a token.
    pub cluster: Cluster,
    task: JoinHandle<Result<(), server::Error>>,
    stop: CancellationToken,
}

/// A node that runs in this process.
pub struct Worker {
    /// `http://HOST:PORT` of its gateway.
    pub url: String,
    /// For asking the node while it runs.
    pub handle: node::Handle,
    task: JoinHandle<Result<(), node::Error>>,
    stop: CancellationToken,
}

/// How a server is run.
#[derive(Debug, Default)]
pub struct How {
    /// Where its state is.
    pub store: args::Store,
    /// A copy of the cluster's key.
    pub cluster_key: Option<PathBuf>,
    /// The bucket that keeps the images.
    pub images: Option<artifact::blobs::Bucket>,
    /// What else it is called.
    pub hosts: Vec<String>,
}

/// For how long the join line is good, in seconds.
const JOIN_FOR: u64 = 3600;

/// Where the options say that the state is.
pub fn state(store: &args::Store) -> Result<State> {
    let Some(address) = &store.store else { return Ok(State::Embedded) };
    let mut options = etcd::Options::parse(address).map_err(|error| Usage(error.to_string()))?;
    let identity = store.store_cert.clone().zip(store.store_key.clone());
    if store.store_ca.is_some() || identity.is_some() || options.tls.is_some() {
        options.tls = Some(etcd::Tls { ca: store.store_ca.clone(), identity });
    }
    if let Some(user) = &store.store_user {
        let password = match &store.store_password_file {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?,
            None => std::env::var("WCTL_STORE_PASSWORD").map_err(|_| {
                Usage("--store-user needs a password: set WCTL_STORE_PASSWORD, or name a file with --store-password-file".to_owned())
            })?,
        };
        options.login = Some((user.clone(), password.trim_end_matches(['\n', '\r']).to_owned()));
    }
    Ok(State::Etcd(options))
}

/// Opens the data folder and serves the API; `with` gets the server before it runs, for clients without a token.
pub async fn control<T>(
    globals: &Globals,
    home: &Home,
    listener: TcpListener,
    how: How,
    with: impl FnOnce(&Server) -> T,
) -> Result<(Control, T)> {
    let url = format!("https://{}", home::reachable(&listener)?);
    let mut config = server::Config::new(&home.path);
    config.state = state(&how.store)?;
    config.cluster_key = how.cluster_key;
    config.images = how.images;
    config.names = how.hosts;
    config.registries = registry::options(globals)?;
    // Nodes elsewhere know it by the address that it listens on.
    config.names.extend(listener.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    let lost = matches!(config.state, State::Embedded) && home.lost_state();
    let server = Server::open(config).await?;
    if lost {
        let (folder, state) = (home.path.display(), home::STATE);
        print::warn(format_args!(
            "{folder} has artifacts but no state ({state} is missing), so it starts as an empty cluster: restore that file, or deploy anew"
        ));
    }
    home.forget();
    let kubeconfig = server.kubeconfig(&url);
    home.write("kubeconfig", kubeconfig.as_bytes())?;
    let client = kube::Client::new(server.service(Identity::admin()), DEFAULT_NAMESPACE);
    let cluster = Cluster::new(client, globals, DEFAULT_NAMESPACE.to_owned(), url.clone(), server.images().clone());
    let join = server.join_token(JOIN_FOR).await?;
    let extra = with(&server);
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(listener, stop.clone().cancelled_owned()));
    Ok((Control { url, join, cluster, task, stop }, extra))
}

/// Runs a node that reaches its server through `client`; it compiles in child processes of this program.
pub async fn worker(
    home: &Home,
    mut config: node::Config,
    http: TcpListener,
    between: Between,
    client: kube::Client,
    registry: artifact::registry::Client,
) -> Result<Worker> {
    let url = format!("http://{}", home::reachable(&http)?);
    config.compiler = Compiler::child().context("finding this program's file")?;
    (config.address, config.port) = (between.address.ip(), Some(between.address.port()));
    let name = config.name.clone();
    let mut node =
        Node::open(config, client, registry).await.with_context(|| format!("opening node {name} in {}", home.node().display()))?;
    node.between(between.listener);
    let (handle, stop) = (node.handle(), CancellationToken::new());
    let task = tokio::spawn(node.run(http, stop.clone().cancelled_owned()));
    Ok(Worker { url, handle, task, stop })
}

/// From how many bytes on components get baseline code first; `WCTL_BASELINE=off` is for those who trust but one compiler.
pub fn baseline() -> Result<Option<usize>> {
    match std::env::var("WCTL_BASELINE").unwrap_or_default().as_str() {
        "" | "on" => Ok(BASELINE),
        "off" => Ok(None),
        other => bail!(Usage(format!("WCTL_BASELINE is `{other}`; write `on` or `off`"))),
    }
}

/// The Redis that keeps buckets, if one is named. One that does not answer now may do so later: until then apps that use buckets fail.
pub async fn redis(url: Option<&str>) -> Result<Option<Redis>> {
    let Some(url) = url else { return Ok(None) };
    let redis = Redis::new(url, keyvalue::Limits::default()).context("reading --keyvalue (write redis://HOST:PORT)")?;
    if let Err(why) = redis.check().await {
        print::warn(format_args!("the Redis of --keyvalue does not answer, and apps that use buckets fail until it does: {why}"));
    }
    Ok(Some(redis))
}

/// The store that keeps containers, if one is named. One that does not answer now may do so later: until then apps that use containers fail.
pub async fn bucket(url: Option<&str>) -> Result<Option<Bucket>> {
    let Some(url) = url else { return Ok(None) };
    let bucket = Bucket::new(url).map_err(|why| anyhow!("reading --blobs: {why}"))?;
    if let Err(why) = bucket.check().await {
        print::warn(format_args!("the store of --blobs does not answer, and apps that use containers fail until it does: {why}"));
    }
    Ok(Some(bucket))
}

/// The store that keeps the images, if one is named. One that does not answer now may do so later: until then pushes and pulls are refused.
pub async fn images(args: &args::Server) -> Result<Option<artifact::blobs::Bucket>> {
    let Some(url) = &args.images else {
        if args.store.store.is_some() {
            print::warn(
                "images that are pushed to this server stay in its folder, where nodes of other servers do not find them: \
                 with several servers name one bucket to all, --images s3://BUCKET/PREFIX",
            );
        }
        return Ok(None);
    };
    let bucket = artifact::blobs::Bucket::new(url).map_err(|why| anyhow!("reading --images: {why}"))?;
    if let Err(why) = bucket.check().await {
        print::warn(format_args!("the store of --images does not answer, and images are neither taken nor given until it does: {why}"));
    }
    Ok(Some(bucket))
}

impl Control {
    /// Stops it and waits until it has let go of the data folder.
    pub async fn end(self) -> Result<()> {
        self.stop.cancel();
        ended(self.task.await, "server")
    }

    /// Ends only if the server ends by itself.
    pub async fn failed(&mut self) -> Result<()> {
        ended((&mut self.task).await, "server").and(Err(anyhow!("the server ended by itself")))
    }
}

impl Worker {
    /// Drains and stops it.
    pub async fn end(self) -> Result<()> {
        self.stop.cancel();
        ended(self.task.await, "node")
    }

    /// Ends only if the node ends by itself.
    pub async fn failed(&mut self) -> Result<()> {
        ended((&mut self.task).await, "node").and(Err(anyhow!("the node ended by itself")))
    }
}

fn ended<E: std::error::Error + Send + Sync + 'static>(end: Result<Result<(), E>, JoinError>, what: &str) -> Result<()> {
    match end {
        Ok(done) => done.map_err(anyhow::Error::new),
        Err(error) => Err(anyhow::Error::new(error).context(format!("running the {what}"))),
    }
}

/// This machine's name, as the name of a node: a DNS label.
pub fn name() -> String {
    let found = hostname::get().unwrap_or_default().to_string_lossy().into_owned();
    let plain: String =
        found.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).take(63).collect();
    let plain = plain.trim_matches('-').to_owned();
    if plain.is_empty() { "local".to_owned() } else { plain }
}

/// Tells other commands what runs here; takes it back when it is dropped.
pub struct Announced(Home);

impl Announced {
    /// Writes `run.json`.
    pub fn new(home: &Home, api: Option<&str>, http: Option<&str>) -> Result<Announced> {
        home.announce(&Running { api: api.map(str::to_owned), http: http.map(str::to_owned), pid: std::process::id() })?;
        Ok(Announced(home.clone()))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.retract();
    }
}
