//! The API as a client sees it: in process through the router, and over TLS on loopback.

#![allow(clippy::disallowed_methods, reason = "tests are no part of the pure core")]

mod apps;
mod credentials;
mod disaster;
#[path = "../store_conformance/etcd_server.rs"]
#[allow(dead_code, reason = "the store's own tests do more to its members")]
mod etcd_server;
mod hostile;
mod images;
mod imports;
mod kinds;
mod many;
mod moto;
mod mutated;
mod node_ports;
mod objects;
mod patches;
mod policies;
mod routes;
mod server;
mod support;
mod watches;
