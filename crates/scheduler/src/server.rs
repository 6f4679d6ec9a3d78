//! The control plane process: the data folder, the store, the API and the registry behind TLS, and the reconcile loop.

use std::future::Future;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use artifact::blobs::{Blobs, Bucket};
use artifact::registry::{Client, Embedded, Options};
use axum::Router;
use axum::extract::{Request, State as Of};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Noted};
use crate::audit::Audit;
use crate::auth::{self, Identity, Tokens};
use crate::backup;
use crate::kinds::NAMESPACE;
use crate::model::LEASES;
use crate::names;
use crate::objects::{self, Object, Objects, Seal, Write};
use crate::pki::{self, Authority, CLUSTER_KEY, ClusterKey};
use crate::reconcile::{self, AppWriter, Leading};
use crate::store::redb::Redb;
use crate::store::{Store, etcd};

mod certificates;
mod chores;
mod cluster;
mod folder;
mod images;
mod prune;
mod registry;
mod rest;
mod serve;
mod tokens;

pub use folder::FORMAT;
use folder::Folder;
pub use images::Images;

/// What a server is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data folder, made where it is missing.
    pub data: PathBuf,
    /// Host names and addresses that the server's certificate is for, besides `localhost`, the loopback addresses and this machine's
    /// name.
    pub names: Vec<String>,
    /// How tags are looked up in other registries; `embedded` is set by the server.
    pub registries: Options,
    /// Where the cluster's state is.
    pub state: State,
    /// A copy of the cluster's key, for a server that joins others; it is kept in the data folder from then on.
    pub cluster_key: Option<PathBuf>,
    /// Where the embedded registry's images are, instead of in the data folder: several servers share them there.
    pub images: Option<Bucket>,
}

/// Where a cluster's state is.
#[derive(Debug, Clone, Default)]
pub enum State {
    /// In a file of the data folder, which belongs to this server alone.
    #[default]
    Embedded,
    /// In an etcd, which any number of servers share.
    Etcd(etcd::Options),
}

impl Config {
    /// A server on a data folder, for this machine alone.
    pub fn new(data: impl Into<PathBuf>) -> Config {
        Config {
            data: data.into(),
            names: Vec::new(),
            registries: Options::default(),
            state: State::default(),
            cluster_key: None,
            images: None,
        }
    }
}

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the lock.
    #[error("{} is in use by {}; stop that one, or choose another folder with --data", folder.display(), process(*pid))]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// Who holds it.
        pid: Option<u32>,
    },
    /// A newer binary wrote the folder.
    #[error("{} was written by a newer wctl (format {found}, this one knows {known}); update wctl", folder.display())]
    Newer {
        /// The data folder.
        folder: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this binary reads.
        known: u32,
    },
    /// The folder holds a store whose format nobody knows.
    #[error("{} holds a store but no readable `format` file; restore the file from a backup, or choose another folder with --data", folder.display())]
    NoFormat {
        /// The data folder.
        folder: PathBuf,
    },
    /// The folder cannot be made, locked or written.
    #[error("cannot write the data folder {}: {source}; choose another with --data", folder.display())]
    Unwritable {
        /// The folder, or the part of it.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}", listen_help(source))]
    Listen {
        /// As typed.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The store, the certificates or the registry cannot be opened.
    #[error("opening {what}: {why}")]
    Open {
        /// Which part.
        what: &'static str,
        /// Why not.
        why: String,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn listen_help(source: &std::io::Error) -> String {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => "the port is in use; stop what uses it, or choose another (port 0 takes a free one)".to_owned(),
        std::io::ErrorKind::PermissionDenied => "not permitted; choose a port of 1024 or more".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => source.to_string(),
    }
}

/// Connections that may wait to be taken; the system may allow fewer.
const WAITING: i32 = 4096;

/// Binds `HOST:PORT`; port 0 takes a free one.
pub fn listen(address: &str) -> Result<TcpListener, Error> {
    let fail = |source| Error::Listen { address: address.to_owned(), source };
    let resolved: Vec<SocketAddr> = address.to_socket_addrs().map_err(fail)?.collect();
    let listener = TcpListener::bind(resolved.as_slice()).map_err(fail)?;
    // The standard library lets 128 connections wait; when many come at once, the next one's first packet is lost for a second.
    socket2::SockRef::from(&listener).listen(WAITING).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

/// A control plane whose data folder is open and locked.
pub struct Server {
    folder: Folder,
    names: Vec<String>,
    authority: Arc<Authority>,
    admin_token: String,
    api: Api,
    blobs: Blobs,
    images: Client,
    resolver: Arc<Images>,
    stop: CancellationToken,
}

fn opening<E: std::error::Error>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            // Some errors already print what is beneath them.
            if !why.contains(&inner.to_string()) {
                why = format!("{why}: {inner}");
            }
            source = inner.source();
        }
        Error::Open { what, why }
    }
}

impl Server {
    /// Takes the data folder, opens what is in it, and makes what is missing: the CA, the admin's token, the namespace `default`.
    pub async fn open(config: Config) -> Result<Server, Error> {
        let folder = Folder::open(&config.data)?;
        let pki = folder.sub("pki")?;
        if let Some(file) = &config.cluster_key {
            ClusterKey::copy(file, &pki.join(CLUSTER_KEY)).map_err(opening("the cluster's key"))?;
        }
        let store: Arc<dyn Store> = match &config.state {
            State::Embedded => {
                let store = Redb::open(folder.sub("store")?.join("state.redb")).map_err(opening("the store"))?;
                // Only a restored store has the CA in it.
                if store.get(pki::SHARED_CA).await.map_err(opening("the store"))?.1.is_some() {
                    pki::share(&store, &pki).await.map_err(opening("the cluster's CA"))?;
                }
                Arc::new(store)
            }
            State::Etcd(options) => {
                let store = etcd::Etcd::open(options).await.map_err(opening("etcd"))?;
                pki::share(&store, &pki).await.map_err(opening("the cluster's CA"))?;
                Arc::new(store)
            }
        };
        let authority = Arc::new(Authority::open_or_create(&pki).map_err(opening("the cluster's CA"))?);
        let seal = Seal::load(&*store, authority.cluster_key()).await.map_err(opening("the store's secrets"))?;
        let objects = Objects::new(store.clone(), seal);
        let tokens = Tokens::new(store);
        let admin_token = tokens.admin(&pki.join("admin.token")).await.map_err(opening("the admin's token"))?;
        let registry = folder.sub("registry")?;
        let blobs = match config.images {
            Some(bucket) => Blobs::open_in(bucket, registry).await,
            None => Blobs::open(registry),
        };
        let blobs = blobs.map_err(opening("the registry"))?;
        let options = Options { embedded: Some(Embedded::Local(blobs.clone())), ..config.registries };
        let images = Client::new(options).map_err(opening("the registry client"))?;
        bootstrap(&objects).await.map_err(opening("the first namespaces"))?;
        let stop = CancellationToken::new();
        let resolver = Arc::new(Images::new(images.clone()));
        let api = Api::new(objects, tokens, resolver.clone(), stop.clone());
        let audit = Audit::open(&folder.sub("audit")?).map_err(opening("the audit log"))?;
        api.set_audit(audit);
        Ok(Server { folder, names: config.names, authority, admin_token, api, blobs, images, resolver, stop })
    }

    /// The API for a client in this process, which is `who` without a token.
    pub fn service(&self, who: Identity) -> Router {
        let beside = |router: Router| router.layer(axum::Extension(who.clone()));
        let tokens = beside(tokens::router(self.api.clone(), self.authority.clone()));
        let cluster = beside(cluster::router(self.api.clone(), self.folder.backup(&self.blobs)));
        let certificates = beside(certificates::router(self.api.clone(), self.authority.clone()));
        Router::new().merge(tokens).merge(cluster).merge(certificates).fallback_service(self.api.service(who))
    }

    /// What a machine shows to join as a node, good for `ttl` seconds: a token that names the CA.
    pub async fn join_token(&self, ttl: u64) -> Result<String, Error> {
        let asked = auth::New { ttl: Some(ttl), ..auth::New::of(Identity::joiner()) };
        let (_, token) = self.api.tokens().make(asked).await.map_err(opening("a token to join with"))?;
        Ok(format!("{token}.{}", self.authority.pin()))
    }

    /// Serves the API and the registry on `listener`, with TLS, and reconciles, until `shutdown`; then finishes what is under way, cuts
    /// off what does not end, and closes the store. Who still has a [`Server::service`] or [`Server::objects`] gets errors from then on,
    /// and the data folder is free for the next process.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Server { folder, names, authority, api, blobs, resolver, stop, .. } = self;
        let address = |source| Error::Listen { address: listener.local_addr().map(|a| a.to_string()).unwrap_or_default(), source };
        listener.set_nonblocking(true).map_err(address)?;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(|source| Error::Listen { address: "the listener".to_owned(), source })?;
        let tls = authority.server_config(&names).map_err(opening("the server's certificate"))?;
        let router = routes(&api, &blobs, authority.clone(), folder.backup(&blobs));
        let mut tasks = tokio::task::JoinSet::new();
        let leading = Leading::default();
        let (objects, writer, stopped) = (api.objects().clone(), Arc::new(api.clone()), stop.clone().cancelled_owned());
        tasks.spawn(reconcile::run_as(objects, resolver, writer, leading.clone(), stopped));
        tasks.spawn(chores::run(api.objects().clone(), blobs, leading, stop.clone()));
        tasks.spawn(serve::serve(listener, tls, router, stop.clone()));
        shutdown.await;
        stop.cancel();
        while tasks.join_next().await.is_some() {}
        api.objects().store().close().await;
        drop(folder);
        Ok(())
    }

    /// A kubeconfig with which the admin reaches this server at `url` (`https://HOST:PORT`).
    pub fn kubeconfig(&self, url: &str) -> String {
        auth::kubeconfig(url, self.ca_pem(), &self.admin_token)
    }

    /// The admin's bearer token.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The certificate of the cluster's CA, PEM.
    pub fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    /// The one way to roll an App back.
    pub fn apps(&self) -> Arc<dyn AppWriter> {
        Arc::new(self.api.clone())
    }

    /// The objects, without the API in front.
    pub fn objects(&self) -> &Objects {
        self.api.objects()
    }

    /// The embedded registry's blobs, for a node in this process ([`Embedded::Local`]).
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// A client of all registries, the embedded one included.
    pub fn images(&self) -> &Client {
        &self.images
    }
}

fn routes(api: &Api, blobs: &Blobs, authority: Arc<Authority>, backup: backup::Source) -> Router {
    let registry = registry::router(api.clone(), blobs.clone());
    let prune = prune::router(api.clone(), blobs.clone());
    let certificates = certificates::router(api.clone(), authority.clone());
    let (tokens, cluster) = (tokens::router(api.clone(), authority), cluster::router(api.clone(), backup));
    let told = |router: Router| router.layer(axum::middleware::from_fn_with_state(api.clone(), told));
    let (tokens, cluster) = (told(tokens), told(cluster));
    Router::new().merge(registry).merge(prune).merge(certificates).merge(tokens).merge(cluster).fallback_service(api.router())
}

/// Tells the audit log of what is asked beside the objects.
async fn told(Of(api): Of<Api>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let noted = Noted::before(&api, &head).await;
    let response = next.run(Request::from_parts(head, body)).await;
    if let Some(noted) = noted {
        noted.after(&api, response.status().as_u16()).await;
    }
    response
}

/// What every cluster has from the first moment: the namespace that is meant when none is named, and the one of the nodes' leases.
async fn bootstrap(objects: &Objects) -> objects::Result<()> {
    for name in [names::DEFAULT_NAMESPACE, LEASES] {
        if objects.get(&NAMESPACE, "", name).await?.is_some() {
            continue;
        }
        let mut namespace = Object(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } },
            "spec": {}, "status": { "phase": "Active" },
        }));
        namespace.stamp_new(&uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
        match objects.commit(vec![Write::Create(namespace)]).await {
            // Another server of this cluster was first.
            Ok(_) | Err(objects::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
