//! A node from outside: a real server, real components, requests over sockets.

#[path = "../sandbox/guests.rs"]
mod guests;

mod cluster;
mod failing;
mod healing;
mod network;
mod rolling;
mod talking;
mod volumes;
