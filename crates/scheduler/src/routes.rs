//! Ingresses, Services and EndpointSlices to the routes that a gateway follows.

mod book;
mod canary;
mod find;
mod key;
mod openings;
mod read;

use std::sync::Arc;

pub use book::{Backend, Book, Changes};
pub use canary::Canary;
pub use find::{matches, normal_host, normal_path};
pub use key::Key;
pub use openings::{Lead, Lost, Opening, Openings};

/// Routes that one Ingress may ask for.
pub const MOST_OF_ONE: usize = 1_000;
/// Routes that a cluster may have.
pub const MOST_OF_ALL: usize = 200_000;
/// Bytes of a path.
pub const LONGEST: usize = 1_024;

/// One path prefix of a host and the Service behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A prefix by whole path elements, `/` for all; nothing is stripped.
    pub path: Arc<str>,
    /// Only this very path (`pathType: Exact`).
    pub exact: bool,
    /// Where its requests go; it need not exist.
    pub service: Key,
}

/// One ready pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// UID of the pod.
    pub pod: Arc<str>,
    /// Name of the node that runs it.
    pub node: Arc<str>,
    /// `host:port` of that node's port for calls from other nodes; empty where it cannot be reached.
    pub address: Arc<str>,
}

/// What one Ingress claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// When it was made, in seconds since 1970.
    pub born: i64,
    /// The App it belongs to; empty without one.
    pub app: Arc<str>,
    /// In its order.
    pub claims: Box<[Claim]>,
}

/// One path prefix of a host, and the Service that it is claimed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The host: lower case, without port; `*.example.com` matches one label, `""` every host.
    pub host: Arc<str>,
    /// Where a request of that host goes.
    pub route: Route,
}

/// What routing needs of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// The App it belongs to; empty without one.
    pub app: Arc<str>,
    /// Its own ports.
    pub ports: Box<[u16]>,
    /// Namespaces beside its own whose pods may call it; `*` for all.
    pub callers: Box<[Box<str>]>,
    /// How it is reached on nodes; nothing for most.
    pub place: Option<Box<Place>>,
}

/// Where a Service is reached on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The Service's UID.
    pub uid: Arc<str>,
    /// When it was made, in seconds since 1970.
    pub born: i64,
    /// Ports of the nodes.
    pub ports: Box<[NodePort]>,
}

/// A port of the nodes that a Service asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePort {
    /// What the Service calls its port; may be empty.
    pub name: Arc<str>,
    /// The number on nodes.
    pub number: u16,
    /// Whether the API gave it to this Service alone.
    pub given: bool,
}

/// The ready pods that one EndpointSlice names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    /// The Service that they are of.
    pub service: Key,
    /// Those that may get requests.
    pub endpoints: Box<[Endpoint]>,
    /// Which of them get a share of the requests and no more.
    pub canary: Option<Canary>,
    /// Names and numbers of the ports on which they listen themselves.
    pub bare: Box<[(Arc<str>, u16)]>,
}
