//! A node from outside: a real server, real components, requests over sockets.

#[path = "../sandbox/guests.rs"]
mod guests;

mod bystander;
mod cluster;
mod deadlines;
mod failing;
mod forwarding;
mod frames;
mod healing;
mod hostile;
mod http2;
mod network;
mod odd;
mod protocol;
mod rolling;
mod services;
mod sleeping;
mod slow;
mod talking;
mod volumes;
