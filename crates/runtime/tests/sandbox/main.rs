//! The sandbox from outside: real components, hostile ones, and what becomes of them.

mod blobs;
mod bodies;
mod caching;
mod commands;
#[path = "../../../../fuzz/src/entries.rs"]
mod entries;
mod fuzzing;
mod grants;
mod guests;
mod harsh;
mod heads;
mod hostile;
mod outgoing;
mod outward;
mod races;
mod sockets;
mod support;
mod volumes;
