//! Ingresses, Services and EndpointSlices to the routes that a gateway follows.

mod book;
mod find;
mod key;
mod read;

use std::sync::Arc;

pub use book::{Backend, Book, Changes};
pub use find::{matches, normal_host, normal_path};
pub use key::Key;

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

/// The ready pods that one EndpointSlice names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    /// The Service that they are of.
    pub service: Key,
    /// Those that may get requests.
    pub endpoints: Box<[Endpoint]>,
}
