//! One step each, and what is said of those that are not taken.

use crate::model::{
    Advice, AppStatus, CronStatus, DeploymentStatus, Endpoint, JobStatus, Key, Name, NodeReady, ObjectId, Port, ScalerStatus, SetStatus,
    Unit,
};
use crate::routes::Canary;

/// An action and the unit that decided it: the actions of one unit are committed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whose decision it is.
    pub unit: Unit,
    /// What to do.
    pub action: Action,
}

/// One change to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the registry which exact image a tag means.
    Resolve {
        /// The Deployment whose template names it.
        deployment: Key,
        /// The template as typed: a new template asks again.
        typed: Name,
        /// The image as typed.
        image: Name,
    },
    /// Make a new revision of a Deployment.
    CreateSet(NewSet),
    /// Change what a ReplicaSet asks for, or says.
    ChangeSet {
        /// Which.
        set: Key,
        /// Its new number of pods.
        replicas: u32,
        /// Its new number as a revision.
        revision: u64,
        /// Why it came to be, as its author says; empty: as before.
        cause: Name,
        /// What it says of itself.
        status: SetStatus,
    },
    /// Make one pod of a ReplicaSet.
    CreatePod {
        /// The ReplicaSet, which may be new in this plan.
        set: Key,
        /// Its node, or why there is none.
        place: Result<Name, Name>,
    },
    /// Remember what an autoscaler wants now.
    Advise {
        /// Which.
        scaler: Key,
        /// What it wanted within its window, and wants now.
        advice: Advice,
    },
    /// Change how many pods a Deployment asks for.
    Scale {
        /// Which.
        deployment: Key,
        /// Its new number.
        replicas: u32,
    },
    /// Write an autoscaler's status.
    WriteScaler {
        /// Which.
        scaler: Key,
        /// What it says of itself.
        status: Box<ScalerStatus>,
    },
    /// Make one pod of a Job.
    CreateJobPod {
        /// The Job.
        job: Key,
        /// The pod's number, where the Job's pods have numbers.
        index: Option<u32>,
        /// Its node, or why there is none.
        place: Result<Name, Name>,
    },
    /// Write a Job's status.
    WriteJob {
        /// Which.
        job: Key,
        /// What it says of itself.
        status: Box<JobStatus>,
        /// Pods whose end is in that status for the first time.
        counted: Vec<Key>,
    },
    /// Make the Job of one tick.
    CreateJob {
        /// The CronJob.
        cron: Key,
        /// The Job's name: it is made of the tick, so that no tick has two.
        job: Key,
        /// The tick, in seconds since 1970.
        tick: i64,
    },
    /// Write a CronJob's status.
    WriteCronJob {
        /// Which.
        cron: Key,
        /// What it says of itself.
        status: CronStatus,
    },
    /// Give a waiting pod its node.
    BindPod {
        /// Which.
        pod: Key,
        /// Its node, for ever.
        node: Name,
    },
    /// Say why a pod still has no node.
    ExplainPod {
        /// Which.
        pod: Key,
        /// A sentence.
        why: Name,
    },
    /// Say when a pod may sleep.
    LetSleep {
        /// Which.
        pod: Key,
        /// After so many seconds without a request; none: it stays awake.
        after: Option<u64>,
    },
    /// Ask for a pod's end: its agent lets it finish its requests and then removes it.
    DeletePod {
        /// Which.
        pod: Key,
        /// A sentence.
        why: Name,
    },
    /// Remove a pod that no agent runs any more.
    FinishPod {
        /// Which.
        pod: Key,
        /// A sentence.
        why: Name,
    },
    /// Write a Deployment's status and its revision's number.
    WriteDeployment {
        /// Which.
        deployment: Key,
        /// The number of its revision.
        revision: u64,
        /// What it says of itself.
        status: DeploymentStatus,
        /// Whether its deadline starts again.
        progressed: bool,
    },
    /// Write an App's status.
    WriteApp {
        /// Which.
        app: Key,
        /// What it says of itself.
        status: AppStatus,
    },
    /// Write which pods of a Service may get requests.
    WriteEndpoints {
        /// The Service.
        service: Key,
        /// The ports of the pods.
        ports: Vec<Port>,
        /// In order of pod name.
        endpoints: Vec<Endpoint>,
        /// Which of them get a share of the requests and no more.
        canary: Option<Canary>,
    },
    /// Write where a Service of the type LoadBalancer, or an Ingress, is reached.
    WriteBalancer {
        /// The Service or Ingress.
        object: ObjectId,
        /// Addresses of nodes, in order; none for a Service of another type.
        addresses: Vec<Name>,
    },
    /// Write that a node is lost, or back.
    MarkNode {
        /// Which.
        node: Name,
        /// What it is now.
        ready: NodeReady,
        /// Its Lease must still have this resourceVersion; 0: there must be none.
        lease: u64,
        /// A sentence.
        why: Name,
    },
    /// Write an App's last good generation as a new one.
    RollBack {
        /// Which.
        app: Key,
        /// Only if this is still its generation.
        generation: i64,
        /// The generation to go back to.
        to: i64,
        /// A sentence.
        why: Name,
    },
    /// Make again what an App stands for and is no longer there.
    Remake {
        /// Which.
        app: Key,
        /// Only if this is still its generation.
        generation: i64,
        /// What is missing: a sentence.
        why: Name,
    },
    /// Remove an object.
    Delete {
        /// Which.
        object: ObjectId,
        /// A sentence.
        why: Name,
    },
    /// Let go an object that waited for what it owned.
    Release {
        /// Which.
        object: ObjectId,
        /// A sentence.
        why: Name,
    },
    /// Tell people, as an Event.
    Tell {
        /// What it is about.
        about: ObjectId,
        /// One word.
        reason: &'static str,
        /// A sentence.
        message: String,
        /// Whether somebody should worry.
        warning: bool,
        /// The Event's own name, where the same is not to be said twice.
        name: Option<Name>,
    },
}

/// A revision to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSet {
    /// Its Deployment.
    pub deployment: Key,
    /// Its own name.
    pub set: Key,
    /// What tells its pods from those of other revisions.
    pub hash: Name,
    /// Its number.
    pub revision: u64,
    /// The exact image.
    pub image: Name,
    /// How many pods it starts with.
    pub replicas: u32,
    /// What it says of itself.
    pub status: SetStatus,
}

/// A decision not to act.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// What waits.
    pub object: ObjectId,
    /// For what: a sentence.
    pub message: String,
}
