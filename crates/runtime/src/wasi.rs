//! The interfaces that guests may import, one file each.

pub(crate) mod blobstore;
pub(crate) mod config;
pub(crate) mod filesystem;
pub(crate) mod keyvalue;
pub(crate) mod logging;
pub mod outgoing;
pub(crate) mod sockets;
pub(crate) mod stdio;
