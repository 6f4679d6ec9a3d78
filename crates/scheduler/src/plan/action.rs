//! One step each, and what is said of those that are not taken.

use crate::model::{AppStatus, DeploymentStatus, Endpoint, Key, Name, NodeReady, ObjectId, SetStatus, Unit};

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
        /// The pods' port.
        port: u16,
        /// In order of pod name.
        endpoints: Vec<Endpoint>,
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
