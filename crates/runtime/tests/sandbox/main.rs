//! The sandbox from outside: real components, hostile ones, and what becomes of them.

mod blobs;
mod bodies;
mod caching;
mod commands;
mod grants;
mod guests;
mod heads;
mod hostile;
mod outgoing;
mod support;
mod volumes;
