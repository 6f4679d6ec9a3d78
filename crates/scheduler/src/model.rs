//! The small structs that the plan reads: what is asked for and what was observed.
//!
//! [`read`](fn@read) turns an API object into a [`Thing`]; [`Snapshot`] keeps all of them with their indexes and knows what
//! changed. Every time in here is on the leader's own monotonic clock.

mod change;
mod index;
mod parts;
mod quantity;
mod read;
mod snapshot;

pub use change::{LEASES, TAKEN_ROUTES};
pub use parts::{
    App, AppStatus, Claim, Claimed, Condition, Deployment, DeploymentStatus, Endpoint, Ingress, Key, Labels, Lease, Meta, Name, Node,
    NodeReady, ObjectId, OnFailure, Owner, Phase, Pod, ReplicaSet, Revision, Service, ServiceStatus, SetStatus, Share, Slice, Template,
    Trouble,
};
pub use quantity::{Resources, memory_text, parse_cpu, parse_memory};
pub use read::{Thing, canonical, read};
pub use snapshot::{Resolution, Snapshot, Unit};
