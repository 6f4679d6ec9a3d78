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
    Advice, Aim, App, AppStatus, Claim, Claimed, Condition, CronJob, CronStatus, Deployment, DeploymentStatus, Ending, Endpoint, Ingress,
    Job, JobStatus, Key, Labels, Lease, Load, Loads, Measure, Meta, Name, Node, NodeReady, ObjectId, OnFailure, Overlap, Owner, Phase, Pod,
    Port, ReplicaSet, Revision, Scaler, ScalerStatus, Service, ServiceStatus, SetStatus, Share, Slice, Template, Trouble,
};
pub use quantity::{Resources, memory_text, parse_cpu, parse_memory};
pub use read::{Thing, canonical, read, template_text};
pub use snapshot::{Resolution, Snapshot, Unit};
