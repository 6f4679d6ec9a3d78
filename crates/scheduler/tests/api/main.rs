//! The API as a client sees it: in process through the router, and over TLS on loopback.

#![allow(clippy::disallowed_methods, reason = "tests are no part of the pure core")]

mod apps;
mod hostile;
mod imports;
mod objects;
mod policies;
mod server;
mod support;
mod watches;
