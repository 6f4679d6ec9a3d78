//! What can go wrong with a registry, each said so that a person knows what to do.

use std::net::IpAddr;
use std::time::Duration;

use super::Kind;
use crate::digest::Digest;
use crate::reference::Reference;
use crate::{blobs, credentials, digest, inspect, manifest};

/// An act on a reference that failed; the source says why.
#[derive(Debug, thiserror::Error)]
#[error("{act} {reference}")]
pub struct Error {
    act: &'static str,
    reference: Box<Reference>,
    #[source]
    failure: Box<Failure>,
}

impl Error {
    /// Why it failed.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// The whole chain of causes in one line, for places that keep only a text.
    pub fn sentence(&self) -> String {
        sentence(self)
    }
}

/// The chain of causes of `error` in one line.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// What was being done.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Resolving,
    Pulling,
    Pushing,
    Listing,
}

impl Act {
    pub fn of(self, reference: &Reference) -> impl FnOnce(Failure) -> Error {
        let act = match self {
            Act::Resolving => "resolving",
            Act::Pulling => "pulling",
            Act::Pushing => "pushing",
            Act::Listing => "listing what refers to",
        };
        let reference = Box::new(reference.clone());
        move |failure| Error { act, reference, failure: Box::new(failure) }
    }
}

/// Why a registry, or this side, did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A reference without a host, and no embedded registry.
    #[error("the reference names no registry and no wctl server is known here: write registry/name, or start one with `wctl up`")]
    NoEmbedded,
    /// The options cannot be used.
    #[error("setting up the registry client: {0}")]
    Setup(String),
    /// No connection, or it broke.
    #[error("reaching {url}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// An address that nobody but the user may send us to.
    #[error("{host} is at {address}, which is refused: {why}")]
    Address {
        /// The host's name.
        host: String,
        /// Where it leads.
        address: IpAddr,
        /// The rule.
        why: &'static str,
    },
    /// A redirect or location that is not followed.
    #[error("the registry sends us on to {to}, which is refused: {why}")]
    Redirect {
        /// The target.
        to: String,
        /// The rule.
        why: &'static str,
    },
    /// Nothing in time.
    #[error("no answer from {url} within {limit:?}")]
    Late {
        /// What was asked.
        url: String,
        /// How long we waited.
        limit: Duration,
    },
    /// Bytes come too slowly.
    #[error("{what} comes too slowly: {received} bytes so far, fewer than {slowest} bytes/s over {patience:?}")]
    Slow {
        /// What was coming.
        what: String,
        /// How much had come.
        received: u64,
        /// The least speed.
        slowest: u64,
        /// Over which time.
        patience: Duration,
    },
    /// A blob broke off again and again.
    #[error("{what} broke off after {received} of {size} bytes, {attempts} times in all")]
    Cut {
        /// What was coming.
        what: String,
        /// How much had come.
        received: u64,
        /// How much there is.
        size: u64,
        /// How often it was tried.
        attempts: u32,
    },
    /// The registry wants a login, or another one.
    #[error("{registry} wants a login: run `wctl login {registry}`, or check that this user may do it")]
    Unauthorized {
        /// The registry's host.
        registry: String,
    },
    /// The registry refuses.
    #[error("{registry} denies it: {message}")]
    Denied {
        /// The registry's host.
        registry: String,
        /// What it says.
        message: String,
    },
    /// Nothing there.
    #[error("{registry} has no {what}")]
    NotFound {
        /// The registry's host.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// Any other answer.
    #[error("{url} answered {status}: {message}")]
    Status {
        /// What was asked.
        url: String,
        /// The status code.
        status: u16,
        /// What it says.
        message: String,
    },
    /// A busy registry that asks for more patience than we have.
    #[error("{registry} is busy and asks to wait {wait}: try again later")]
    Busy {
        /// The registry's host.
        registry: String,
        /// As it says.
        wait: String,
    },
    /// A token service that cannot be used.
    #[error("the token service {realm} of {registry} cannot be used: {why}")]
    Token {
        /// The registry's host.
        registry: String,
        /// The service's address.
        realm: String,
        /// Why.
        why: String,
    },
    /// An answer that makes no sense.
    #[error("{url} answered nonsense: {why}")]
    Nonsense {
        /// What was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// Content that is not what its digest promises.
    #[error("{what} has the digest {got}, not {wanted}: it was damaged or exchanged")]
    Digest {
        /// What came.
        what: String,
        /// What was promised.
        wanted: Digest,
        /// What it is.
        got: Digest,
    },
    /// Content of the wrong length.
    #[error("{what} has {got} bytes where {wanted} were promised")]
    Size {
        /// What came.
        what: String,
        /// What was promised.
        wanted: u64,
        /// What came or was announced; for more than promised, where we stopped.
        got: u64,
    },
    /// Content beyond the limit.
    #[error("{what} has more than the {limit} bytes that are allowed")]
    TooLarge {
        /// What came.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// Indexes within indexes.
    #[error("the index leads to no manifest within {0} steps")]
    Nested(usize),
    /// An index with absurdly many entries.
    #[error("the index has {0} entries, more than anybody needs")]
    ManyEntries(usize),
    /// A layer that is not one component.
    #[error("the image holds no single component: {0}")]
    Layers(String),
    /// Something that no node can run.
    #[error("{}", refusal(.0))]
    Kind(Kind),
    /// A manifest that is refused.
    #[error("reading the manifest")]
    Manifest(#[from] manifest::Error),
    /// A digest that is refused.
    #[error("reading the manifest")]
    BadDigest(#[from] digest::ParseError),
    /// The layer is no component.
    #[error("reading the layer")]
    Component(#[from] inspect::Error),
    /// A config that cannot be read.
    #[error("reading the image's config")]
    Config(#[source] serde_json::Error),
    /// User names and passwords could not be read.
    #[error("finding the credentials")]
    Credentials(#[from] credentials::Error),
    /// The embedded registry failed.
    #[error("using the embedded registry")]
    Blobs(#[from] blobs::Error),
}

fn refusal(kind: &Kind) -> String {
    match kind {
        Kind::Component => "it is a component".to_string(),
        Kind::Files => "it is a folder of files, not a WebAssembly component".to_string(),
        Kind::LinuxImage { platform } => format!(
            "it is a Linux container image ({platform}), and wctl runs WebAssembly components: build the program for wasm32-wasip2 and push \
             it with `wctl push`, or run the image with Docker"
        ),
        Kind::Other { what } => format!("it is {what}, not a WebAssembly component"),
    }
}
