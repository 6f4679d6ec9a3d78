//! The client of registries: what a reference means right now, getting an artifact, and sending one.
//!
//! A registry is not trusted: every digest and size is checked, answers are bounded in bytes, time and redirects, and what it names
//! (redirects, token realms, upload locations) is reached only at public addresses or ones of the same class as its own.

mod auth;
mod failure;
mod find;
mod guard;
mod layer;
mod location;
mod remote;
mod transfer;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci_spec::image::Descriptor;

use crate::blobs::Blobs;
use crate::credentials;
use crate::digest::Digest;
use crate::inspect::{self, Inspection, Unsupported, World};
use crate::pack::Packed;
use crate::reference::Reference;
use failure::Act;
use find::Place;
use remote::Remote;
use wire::Http;

pub(crate) use failure::sentence;
pub use failure::{Error, Failure};
pub use layer::Kind;

/// How the client reaches registries.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The registry that references without a host mean.
    pub embedded: Option<Embedded>,
    /// Registry host → hosts to ask first, in order, each with an optional path that goes before the repository (`mirror.example/hub`).
    /// The host `*` stands for every registry.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Certificates in PEM of private authorities that are trusted beside the system's.
    pub extra_cas: Vec<String>,
    /// Hosts (with port, if not the default one) that may be spoken to without TLS, if they do not speak it; loopback ones always may.
    pub plain_http: BTreeSet<String>,
    /// Where user names and passwords are.
    pub credentials: credentials::Store,
    /// Bounds on what a registry may do to us.
    pub limits: Limits,
}

/// The registry that is part of the wctl server.
#[derive(Clone)]
pub enum Embedded {
    /// In this process.
    Local(Blobs),
    /// In another process.
    Remote {
        /// The server's address, such as `https://127.0.0.1:6443`.
        url: String,
        /// A token for its API.
        token: String,
        /// The cluster's authority in PEM; no other is trusted for this registry.
        ca_pem: String,
    },
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Embedded::Local(_) => f.write_str("Local"),
            Embedded::Remote { url, .. } => f.debug_struct("Remote").field("url", url).finish_non_exhaustive(),
        }
    }
}

/// Bounds on what a registry may do to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest layer in bytes, packed or unpacked. Default 256 MiB.
    pub layer: u64,
    /// The longest that an answer's head, a manifest or a token may take. Default 30 s.
    pub answer: Duration,
    /// The longest that one blob may take in all. Default 15 min.
    pub transfer: Duration,
    /// Over this time a blob must come in at `slowest` or faster. Default 20 s.
    pub patience: Duration,
    /// Bytes per second. Default 1024.
    pub slowest: u64,
    /// How often a blob that breaks off is taken up again. Default 4.
    pub resumes: u32,
    /// The longest wait that a busy registry may ask for. Default 10 s.
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            layer: 256 << 20,
            answer: Duration::from_secs(30),
            transfer: Duration::from_secs(15 * 60),
            patience: Duration::from_secs(20),
            slowest: 1024,
            resumes: 4,
            wait: Duration::from_secs(10),
        }
    }
}

/// What a reference means right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The manifest's digest. For a name that holds several platforms it is that of the WebAssembly one.
    pub digest: Digest,
    /// What it is.
    pub kind: Kind,
    /// Bytes to pull.
    pub size: u64,
}

impl Resolved {
    /// The digest to pin, if a node can run this; otherwise why not, and what to do instead.
    pub fn component(self) -> Result<Digest, Failure> {
        match self.kind {
            Kind::Component => Ok(self.digest),
            other => Err(Failure::Kind(other)),
        }
    }
}

/// A component or a folder of files that has been pulled and verified.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The manifest's digest.
    pub digest: Digest,
    /// Which of the two it is.
    pub kind: Kind,
    /// The digest of `wasm`.
    pub layer: Digest,
    /// The component: its preamble is right, its code is not validated. Or the archive of files, not looked into.
    pub wasm: Bytes,
}

/// A client for all registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    options: Options,
    outside: Arc<Http>,
    embedded: Option<Inside>,
}

enum Inside {
    Local(Blobs),
    Remote { http: Arc<Http>, url: reqwest::Url, token: String },
}

impl Client {
    /// A client with these options. Fails when a certificate or address in them cannot be read. Opens no connection.
    pub fn new(options: Options) -> Result<Client, Failure> {
        let outside = Http::new(wire::Trust::System(options.extra_cas.clone()), &options)?;
        let embedded = match &options.embedded {
            None => None,
            Some(Embedded::Local(blobs)) => Some(Inside::Local(blobs.clone())),
            Some(Embedded::Remote { url, token, ca_pem }) => Some(Inside::Remote {
                http: Arc::new(Http::new(wire::Trust::Only(ca_pem.clone()), &options)?),
                url: location::parse_url(url)?,
                token: token.clone(),
            }),
        };
        Ok(Client(Arc::new(Inner { options, outside: Arc::new(outside), embedded })))
    }

    /// Looks up what a reference means: the digest to pin, and whether a node can run it. Transfers no layer.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        let found = self.find(reference).await.map_err(Act::Resolving.of(reference))?;
        Ok(Resolved { digest: found.digest, size: found.layer.as_ref().map_or(0, layer::Layer::size), kind: found.kind })
    }

    /// The imports of a component that none of `offered` serves, as far as that can be told without transferring it.
    pub async fn unsupported(&self, reference: &Reference, offered: &[&str]) -> Result<Vec<Unsupported>, Error> {
        self.try_unsupported(reference, offered).await.map_err(Act::Resolving.of(reference))
    }

    /// How a component is run, as far as that can be told without transferring it.
    pub async fn world(&self, reference: &Reference) -> Result<Option<World>, Error> {
        self.try_world(reference).await.map_err(Act::Resolving.of(reference))
    }

    /// Gets a component. With a digest in the reference exactly that one; otherwise whatever the tag means now.
    pub async fn pull(&self, reference: &Reference) -> Result<Artifact, Error> {
        let artifact = self.pull_any(reference).await?;
        match artifact.kind {
            Kind::Component => Ok(artifact),
            other => Err(Act::Pulling.of(reference)(Failure::Kind(other))),
        }
    }

    /// The same for a component or a folder of files.
    pub async fn pull_any(&self, reference: &Reference) -> Result<Artifact, Error> {
        self.try_pull(reference).await.map_err(Act::Pulling.of(reference))
    }

    /// Gets a component and reads what it is and needs.
    pub async fn inspect(&self, reference: &Reference) -> Result<Inspection, Error> {
        let artifact = self.pull(reference).await?;
        inspect::inspect(&artifact.wasm).map_err(Failure::from).map_err(Act::Pulling.of(reference))
    }

    /// Sends a component, only the parts that the registry lacks, under the reference's tag (or `latest`, or its digest if that is all
    /// it has, which must then be right). Answers the manifest's digest.
    pub async fn push(&self, reference: &Reference, packed: &Packed) -> Result<Digest, Error> {
        self.try_push(reference, packed).await.map_err(Act::Pushing.of(reference))
    }

    /// Manifests that are about the one with `digest` in the reference's repository: signatures, for instance. Registries that do not
    /// know the question are asked in the older way; none is an empty answer.
    pub async fn referrers(&self, reference: &Reference, digest: &Digest) -> Result<Vec<Descriptor>, Error> {
        self.try_referrers(reference, digest).await.map_err(Act::Listing.of(reference))
    }

    /// Checks that a registry takes this user name and password, without storing them.
    pub async fn check_login(&self, registry: &str, credential: &credentials::Credential) -> Result<(), Failure> {
        Remote::outside(self, registry, None, "login").check_login(credential).await
    }

    async fn try_push(&self, reference: &Reference, packed: &Packed) -> Result<Digest, Failure> {
        match self.home(reference)? {
            Place::Local(blobs) => transfer::store(&blobs, reference, packed).await,
            Place::Remote(remote) => transfer::send(&remote, reference, packed).await,
        }
    }

    /// The registry that the reference names, without its mirrors.
    fn home(&self, reference: &Reference) -> Result<Place, Failure> {
        let repository = reference.repository();
        match (&self.0.embedded, reference.registry()) {
            (None, None) => Err(Failure::NoEmbedded),
            (Some(Inside::Local(blobs)), None) => Ok(Place::Local(blobs.clone())),
            (Some(Inside::Remote { http, url, token }), None) => Ok(Place::Remote(Remote::inside(http, url, token, repository))),
            (_, Some(host)) => Ok(Place::Remote(Remote::outside(self, host, None, repository))),
        }
    }

    /// Where to look for a reference, in order: mirrors, then its registry.
    fn places(&self, reference: &Reference) -> Result<Vec<Place>, Failure> {
        let mut places = Vec::new();
        if let Some(host) = reference.registry() {
            let mirrors = &self.0.options.mirrors;
            for mirror in mirrors.get(host).or_else(|| mirrors.get("*")).into_iter().flatten() {
                let (host, path) = mirror.split_once('/').map_or((mirror.as_str(), None), |(host, path)| (host, Some(path)));
                places.push(Place::Remote(Remote::outside(self, host, path, &remote::repository_on(reference))));
            }
        }
        places.push(self.home(reference)?);
        Ok(places)
    }
}
