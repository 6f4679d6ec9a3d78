//! Stock kubectl against the server, over TLS on loopback. Skipped with a word where kubectl is missing, unless WCTL_REQUIRE_TOOLS=1.

#![allow(clippy::disallowed_methods, reason = "tests are no part of the pure core")]

mod agent;
mod by_hand;
mod client;
mod discovery;
mod forward;
mod generators;
mod program;
mod reads;
mod services;
mod support;
mod top;
mod verbs;
mod writes;
