//! Runs what the scheduler decided: engines, sandboxes, instances, the gateway and the node's agent.

pub mod agent;
pub mod blobs;
pub mod body;
pub mod cache;
pub mod engine;
pub mod gateway;
pub mod instance;
pub mod kept;
pub mod keyvalue;
pub mod logs;
pub mod metrics;
pub mod node;
pub mod ports;
pub mod probe;
mod room;
pub mod sandbox;
pub mod site;
pub mod usage;
pub mod volumes;
pub mod wasi;
