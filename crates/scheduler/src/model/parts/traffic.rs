//! Where requests lead: routes, Services and the pods behind them.

use super::{Labels, Meta, Name};
use crate::routes::Canary;
use std::collections::BTreeSet;
use std::fmt;

/// Pods by label under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name, version, owner.
    pub meta: Meta,
    /// Labels of its pods; empty: none.
    pub selector: Labels,
    /// The ports of its pods.
    pub ports: Vec<Port>,
    /// Whether it is reached at the addresses of all nodes (`LoadBalancer`).
    pub balanced: bool,
    /// The addresses that its status names.
    pub shown: Vec<Name>,
}

/// A port of a Service, seen from its pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// What the Service calls it; may be empty.
    pub name: Name,
    /// Its number at the pods.
    pub number: u16,
    /// Whether the pods listen there themselves, so that connections lead there and not requests.
    pub bare: bool,
}

/// The ready pods of one Service, as last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Name, version, owner.
    pub meta: Meta,
    /// The Service's name; empty where no label says.
    pub service: Name,
    /// The ports of the pods.
    pub ports: Vec<Port>,
    /// In order of pod name.
    pub endpoints: Vec<Endpoint>,
    /// Which of them get a share of the requests and no more.
    pub canary: Option<Canary>,
}

/// A pod that may get requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The pod's name.
    pub pod: Name,
    /// The pod's UID.
    pub uid: Name,
    /// Its node.
    pub node: Name,
    /// Its address.
    pub address: Name,
}

/// Hosts and paths that lead to Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// Name, version, owner.
    pub meta: Meta,
    /// What it claims.
    pub claims: BTreeSet<Claimed>,
    /// The addresses that its status names.
    pub shown: Vec<Name>,
}

/// A host and path, in the form in which gateways compare them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimed {
    /// In lower case; empty: every host.
    pub host: String,
    /// Without a slash at its end.
    pub path: String,
    /// Only this very path.
    pub exact: bool,
}

impl fmt::Display for Claimed {
    /// `shop.localhost/users`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.host.is_empty() { "*" } else { &self.host }, self.path)
    }
}
