//! One struct for each kind that the plan looks into.

mod app;
mod job;
mod meta;
mod node;
mod pod;
mod scale;
mod traffic;
mod workload;

pub use app::{App, AppStatus, Phase, Revision, ServiceStatus};
pub use job::{CronJob, CronStatus, Ending, Job, JobStatus, Overlap};
pub use meta::{Condition, Key, Labels, Meta, Name, ObjectId, Owner};
pub use node::{Lease, Node, NodeReady};
pub use pod::{Pod, Trouble};
pub use scale::{Advice, Aim, Load, Loads, Measure, Scaler, ScalerStatus};
pub use traffic::{Claimed, Endpoint, Ingress, Port, Service, Slice};
pub use workload::{Claim, Deployment, DeploymentStatus, OnFailure, ReplicaSet, SetStatus, Share, Template};
