//! The plan from outside: stories that people wrote, and those that chance writes.

#![allow(clippy::disallowed_methods, reason = "only the pure core may not ask the clock or draw lots")]

mod apps;
mod balancers;
mod canaries;
mod cluster;
mod figures;
mod jobs;
mod nodes;
mod places;
mod revisions;
mod rollouts;
mod routes;
mod scaling;
mod simulation;
mod sleeping;
mod teller;
