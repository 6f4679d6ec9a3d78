//! The control plane process: the data folder, the store, the API and the registry behind TLS, and the reconcile loop.

use std::future::Future;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use artifact::blobs::Blobs;
use artifact::registry::{Client, Embedded, Options};
use axum::Router;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::auth::{self, Identity, Tokens};
use crate::kinds::NAMESPACE;
use crate::model::LEASES;
use crate::names;
use crate::objects::{self, Object, Objects, Seal, Write};
use crate::pki::Authority;
use crate::reconcile::{self, AppWriter};
use crate::store::Store;
use crate::store::redb::Redb;

mod chores;
mod folder;
mod images;
mod prune;
mod registry;
mod rest;
mod serve;

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
}

impl Config {
    /// A server on a data folder, for this machine alone.
    pub fn new(data: impl Into<PathBuf>) -> Config {
        Config { data: data.into(), names: Vec::new(), registries: Options::default() }
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
    authority: Authority,
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
        let authority = Authority::open_or_create(&pki).map_err(opening("the cluster's CA"))?;
        let store: Arc<dyn Store> = Arc::new(Redb::open(folder.sub("store")?.join("state.redb")).map_err(opening("the store"))?);
        let seal = Seal::load(&*store, authority.cluster_key()).await.map_err(opening("the store's secrets"))?;
        let objects = Objects::new(store.clone(), seal);
        let tokens = Tokens::new(store);
        let admin_token = tokens.admin(&pki.join("admin.token")).await.map_err(opening("the admin's token"))?;
        let blobs = Blobs::open(folder.sub("registry")?).map_err(opening("the registry"))?;
        let options = Options { embedded: Some(Embedded::Local(blobs.clone())), ..config.registries };
        let images = Client::new(options).map_err(opening("the registry client"))?;
        bootstrap(&objects).await.map_err(opening("the first namespaces"))?;
        let stop = CancellationToken::new();
        let resolver = Arc::new(Images::new(images.clone()));
        let api = Api::new(objects, tokens, resolver.clone(), stop.clone());
        Ok(Server { folder, names: config.names, authority, admin_token, api, blobs, images, resolver, stop })
    }

    /// The API for a client in this process, which is `who` without a token.
    pub fn service(&self, who: Identity) -> Router {
        self.api.service(who)
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
        let router = routes(&api, &blobs);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(reconcile::run(api.objects().clone(), resolver, Arc::new(api.clone()), stop.clone().cancelled_owned()));
        tasks.spawn(chores::run(api.objects().clone(), blobs, stop.clone()));
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

fn routes(api: &Api, blobs: &Blobs) -> Router {
    let registry = registry::router(api.clone(), blobs.clone());
    let prune = prune::router(api.clone(), blobs.clone());
    Router::new().merge(registry).merge(prune).fallback_service(api.router())
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
