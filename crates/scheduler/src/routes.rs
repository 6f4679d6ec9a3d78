//! Ingresses, Services and EndpointSlices to the table that a gateway routes by.

mod build;
mod find;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use build::table;
pub use find::{matches, normal_host, normal_path};

/// Where a gateway sends requests: made whole from objects, never changed in place.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Table {
    /// From host (lower case, without port; `*.example.com` matches one label, `""` every host) to its path prefixes, longest first.
    pub hosts: BTreeMap<String, Vec<Route>>,
    /// From (namespace, name of the Service) to where its pods are: what `http://NAME.internal` resolves to.
    pub backends: BTreeMap<(String, String), Arc<Backend>>,
    /// Claims that lost to an older Ingress.
    pub collisions: Vec<Collision>,
}

/// One path prefix of a host and the service behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A prefix by whole path elements, `/` for all; nothing is stripped.
    pub path: String,
    /// Only this very path (`pathType: Exact`).
    pub exact: bool,
    /// Where its requests go.
    pub backend: Arc<Backend>,
}

/// The ready pods of one Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// Pods that may get requests now, in order of their UIDs.
    pub endpoints: Vec<Endpoint>,
}

/// One ready pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// UID of the pod.
    pub pod: String,
    /// Name of the node that runs it.
    pub node: String,
    /// `host:port` of that node's port for calls from other nodes; empty where it cannot be reached.
    pub address: String,
}

/// What one Ingress claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// When it was made.
    pub born: Option<String>,
    /// Its namespace and name.
    pub owner: (String, String),
    /// In its order.
    pub claims: Box<[Claim]>,
}

/// One path prefix of a host, and the Service that it is claimed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The host, `""` for every host.
    pub host: String,
    /// The path prefix.
    pub path: String,
    /// Only this very path.
    pub exact: bool,
    /// A Service in the Ingress's namespace.
    pub service: String,
}

/// The ready pods that one EndpointSlice names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    /// Namespace and name of the Service that they are of.
    pub service: (String, String),
    /// Those that may get requests.
    pub endpoints: Box<[Endpoint]>,
}

/// A (host, path) that two Ingresses claim: the older one has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// The host, `""` for every host.
    pub host: String,
    /// The path prefix.
    pub path: String,
    /// Namespace and name of the Ingress that has the route.
    pub winner: (String, String),
    /// Namespace and name of the Ingress that does not.
    pub loser: (String, String),
}
