//! A cluster of several machines: a server and three nodes as real processes, each in a network namespace of its own, with links that can
//! be cut. Needs root and iproute2; elsewhere each test says so and passes, unless WCTL_REQUIRE_TOOLS=1.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../../runtime/tests/sandbox/guests.rs"]
mod guests;

mod asleep;
mod fleet;
mod load;
mod net;

mod losing;
mod parting;
mod rolling;
mod servers;
mod serving;
