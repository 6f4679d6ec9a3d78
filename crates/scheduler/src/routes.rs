//! Ingresses, Services and EndpointSlices to the table that a gateway routes by.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a gateway sends requests: made whole from objects, never changed in place.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Table {
    /// From host (lower case, without port; `""` matches every host) to its path prefixes, longest first.
    pub hosts: BTreeMap<String, Vec<Route>>,
    /// From (namespace, name of the Service) to where its pods are: what `http://NAME.internal` resolves to.
    pub backends: BTreeMap<(String, String), Arc<Backend>>,
}

/// One path prefix of a host and the service behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A prefix by whole path elements, `/` for all; nothing is stripped.
    pub path: String,
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
    /// Pods that may get requests now.
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
