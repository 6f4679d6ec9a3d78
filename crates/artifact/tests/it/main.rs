//! The crate from outside: against a hostile registry, its own server, the disk, and other people's tools.

mod bucket;
mod disk;
mod formats;
mod hostile;
mod logins;
mod server;
mod support;
mod tls;
mod tools;
mod transfers;
