//! The plan from outside: stories that people wrote, and those that chance writes.

mod cluster;
mod simulation;
mod stories;
