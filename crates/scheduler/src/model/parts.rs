//! One struct for each kind that the plan looks into.

mod app;
mod meta;
mod node;
mod pod;
mod traffic;
mod workload;

pub use app::{App, AppStatus, Phase, Revision, ServiceStatus};
pub use meta::{Condition, Key, Labels, Meta, Name, ObjectId, Owner};
pub use node::{Lease, Node, NodeReady};
pub use pod::{Pod, Trouble};
pub use traffic::{Claimed, Endpoint, Ingress, Service, Slice};
pub use workload::{Claim, Deployment, DeploymentStatus, OnFailure, ReplicaSet, SetStatus, Share, Template};
