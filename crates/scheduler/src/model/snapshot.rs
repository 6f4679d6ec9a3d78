//! All objects at one moment, kept up change by change, and what has yet to be planned again.

use super::index::Index;
use super::parts::*;
use imbl::OrdMap;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What the plan decides about in one go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A node: whether it is lost, and the end of the pods that nobody runs any more.
    Node(Name),
    /// A Deployment with its ReplicaSets and their pods.
    Deployment(Key),
    /// A ReplicaSet without a Deployment, with its pods.
    Set(Key),
    /// The pods that wait for a node.
    Unplaced,
    /// A Service's endpoints.
    Service(Key),
    /// An autoscaler: how many pods its Deployment should have.
    Scaler(Key),
    /// A Job with its pods.
    Job(Key),
    /// A CronJob: its ticks, and which of its Jobs are kept.
    CronJob(Key),
    /// An App's status, and its way back.
    App(Key),
    /// An App's ControllerRevisions.
    History(Key),
    /// An object whose owner is gone.
    Orphan(ObjectId),
    /// The Events of a namespace.
    Events(Name),
    /// What all Ingresses claim.
    Routes,
    /// Where Services of the type LoadBalancer, and Ingresses, are reached.
    Balancers,
    /// A namespace that is to go, with everything in it.
    Namespace(Name),
}

/// What became of an image as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Somebody asks the registry.
    Asked,
    /// The exact image.
    Done(Name),
    /// The registry's answer was no.
    Failed {
        /// A sentence.
        why: Name,
        /// When.
        at: Duration,
        /// How often in a row.
        tries: u32,
    },
}

/// All objects at one moment. Cloning costs next to nothing, and a clone does not change with its original.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Apps.
    pub apps: OrdMap<Key, Arc<App>>,
    /// Deployments.
    pub deployments: OrdMap<Key, Arc<Deployment>>,
    /// ReplicaSets.
    pub sets: OrdMap<Key, Arc<ReplicaSet>>,
    /// Pods.
    pub pods: OrdMap<Key, Arc<Pod>>,
    /// Services.
    pub services: OrdMap<Key, Arc<Service>>,
    /// EndpointSlices.
    pub slices: OrdMap<Key, Arc<Slice>>,
    /// Ingresses.
    pub ingresses: OrdMap<Key, Arc<Ingress>>,
    /// Nodes.
    pub nodes: OrdMap<Name, Arc<Node>>,
    /// Leases by node.
    pub leases: OrdMap<Name, Lease>,
    /// ControllerRevisions.
    pub revisions: OrdMap<Key, Arc<Revision>>,
    /// Autoscalers.
    pub scalers: OrdMap<Key, Arc<Scaler>>,
    /// What each autoscaler wanted lately.
    pub advice: OrdMap<Key, Arc<Advice>>,
    /// The loads of busy pods by node.
    pub loads: OrdMap<Name, Arc<Loads>>,
    /// Jobs.
    pub jobs: OrdMap<Key, Arc<Job>>,
    /// CronJobs.
    pub cron_jobs: OrdMap<Key, Arc<CronJob>>,
    /// The time of day: only cron ticks and the ages of what this leader did not see itself come from it.
    pub wall: Timestamp,
    /// Objects of all other kinds.
    pub others: OrdMap<ObjectId, Arc<Meta>>,
    /// Images that were or are being resolved, by Deployment and template as typed.
    pub resolutions: OrdMap<(Key, Name), Resolution>,
    pub(super) index: Index,
    pub(super) dirty: BTreeSet<Unit>,
}

impl Snapshot {
    /// Sets the time of day; where it moved otherwise than this leader's own clock, what goes by it is looked at again.
    pub fn set_wall(&mut self, wall: Timestamp, jumped: bool) {
        self.wall = wall;
        if jumped {
            self.dirty.extend(self.cron_jobs.keys().cloned().map(Unit::CronJob));
        }
    }

    /// What changed since this was last asked.
    pub fn take_dirty(&mut self) -> BTreeSet<Unit> {
        std::mem::take(&mut self.dirty)
    }

    /// Whether nothing changed since [`Snapshot::take_dirty`].
    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Has something planned again: its commit failed, or its time has come.
    pub fn mark(&mut self, unit: Unit) {
        self.dirty.insert(unit);
    }

    /// Every unit that there is: what full planning looks at.
    pub fn all_units(&self) -> BTreeSet<Unit> {
        let mut units: BTreeSet<Unit> = self.nodes.keys().chain(self.nodes_with_pods()).cloned().map(Unit::Node).collect();
        units.insert(Unit::Unplaced);
        units.extend(self.deployments.keys().cloned().map(Unit::Deployment));
        units.extend(self.sets.values().filter(|set| self.deployment_of(set).is_none()).map(|set| Unit::Set(set.meta.key.clone())));
        units.extend(self.services.keys().cloned().map(Unit::Service));
        units.extend(self.apps.keys().flat_map(|key| [Unit::App(key.clone()), Unit::History(key.clone())]));
        units.extend(self.metas().filter(|(_, meta)| meta.foreground || self.is_orphan(meta)).map(|(id, _)| Unit::Orphan(id)));
        let events = self.others.keys().filter(|id| id.kind == "Event");
        units.extend(events.map(|id| Unit::Events(id.key.namespace.clone())));
        units.insert(Unit::Routes);
        units.insert(Unit::Balancers);
        units.extend(self.scalers.keys().cloned().map(Unit::Scaler));
        units.extend(self.jobs.keys().cloned().map(Unit::Job));
        units.extend(self.cron_jobs.keys().cloned().map(Unit::CronJob));
        let going = self.others.iter().filter(|(id, meta)| id.kind == "Namespace" && meta.deleting);
        units.extend(going.map(|(id, _)| Unit::Namespace(id.key.name.clone())));
        units
    }

    fn metas(&self) -> impl Iterator<Item = (ObjectId, &Meta)> {
        let id = |kind: &'static str, meta: &Meta| ObjectId { kind, key: meta.key.clone() };
        let apps = self.apps.values().map(move |o| (id("App", &o.meta), &o.meta));
        let deployments = self.deployments.values().map(move |o| (id("Deployment", &o.meta), &o.meta));
        let sets = self.sets.values().map(move |o| (id("ReplicaSet", &o.meta), &o.meta));
        let pods = self.pods.values().map(move |o| (id("Pod", &o.meta), &o.meta));
        let services = self.services.values().map(move |o| (id("Service", &o.meta), &o.meta));
        let slices = self.slices.values().map(move |o| (id("EndpointSlice", &o.meta), &o.meta));
        let revisions = self.revisions.values().map(move |o| (id("ControllerRevision", &o.meta), &o.meta));
        let others = self.others.iter().map(|(id, meta)| (id.clone(), &**meta));
        let ingresses = self.ingresses.values().map(move |o| (id("Ingress", &o.meta), &o.meta));
        let jobs = self.jobs.values().map(move |o| (id("Job", &o.meta), &o.meta));
        let cron_jobs = self.cron_jobs.values().map(move |o| (id("CronJob", &o.meta), &o.meta));
        let scalers = self.scalers.values().map(move |o| (id("HorizontalPodAutoscaler", &o.meta), &o.meta));
        let work = jobs.chain(cron_jobs).chain(scalers);
        work.chain(apps)
            .chain(deployments)
            .chain(sets)
            .chain(pods)
            .chain(services)
            .chain(slices)
            .chain(ingresses)
            .chain(revisions)
            .chain(others)
    }

    /// What is in a namespace: a look at everything, for one that is to go.
    pub fn inside<'s>(&'s self, namespace: &'s str) -> impl Iterator<Item = (ObjectId, &'s Meta)> {
        self.metas().filter(move |(id, _)| &*id.key.namespace == namespace)
    }

    /// Whether a namespace is to go.
    pub fn is_going(&self, namespace: &Name) -> bool {
        let id = ObjectId { kind: "Namespace", key: Key { namespace: "".into(), name: namespace.clone() } };
        !namespace.is_empty() && self.others.get(&id).is_some_and(|meta| meta.deleting)
    }

    /// An object's common part.
    pub fn meta(&self, id: &ObjectId) -> Option<&Meta> {
        match id.kind {
            "App" => self.apps.get(&id.key).map(|o| &o.meta),
            "Deployment" => self.deployments.get(&id.key).map(|o| &o.meta),
            "ReplicaSet" => self.sets.get(&id.key).map(|o| &o.meta),
            "Pod" => self.pods.get(&id.key).map(|o| &o.meta),
            "Service" => self.services.get(&id.key).map(|o| &o.meta),
            "EndpointSlice" => self.slices.get(&id.key).map(|o| &o.meta),
            "Ingress" => self.ingresses.get(&id.key).map(|o| &o.meta),
            "HorizontalPodAutoscaler" => self.scalers.get(&id.key).map(|o| &o.meta),
            "Job" => self.jobs.get(&id.key).map(|o| &o.meta),
            "CronJob" => self.cron_jobs.get(&id.key).map(|o| &o.meta),
            "Node" => self.nodes.get(&id.key.name).map(|o| &o.meta),
            "ControllerRevision" => self.revisions.get(&id.key).map(|o| &o.meta),
            _ => self.others.get(id).map(|meta| &**meta),
        }
    }

    /// Whether it names an owner that is not there, or that goes after it.
    pub fn is_orphan(&self, meta: &Meta) -> bool {
        let Some(owner) = &meta.owner else { return false };
        let Some(owner) = self.by_uid(&owner.uid) else { return true };
        // Owners are at most so many levels deep; a circle has no end.
        let mut above = self.meta(owner);
        for _ in 0..8 {
            match above {
                Some(meta) if meta.foreground => return true,
                Some(Meta { owner: Some(owner), .. }) => above = self.by_uid(&owner.uid).and_then(|id| self.meta(id)),
                _ => return false,
            }
        }
        false
    }

    /// The Deployment that a ReplicaSet is a revision of.
    pub fn deployment_of(&self, set: &ReplicaSet) -> Option<&Deployment> {
        let owner = set.meta.owner.as_ref()?;
        let deployment = self.deployments.get(&set.meta.key.sibling(&owner.name))?;
        (deployment.meta.uid == owner.uid).then_some(&**deployment)
    }

    /// The App that owns an object.
    pub fn app_of(&self, meta: &Meta) -> Option<&App> {
        let owner = meta.owner.as_ref()?;
        let app = self.apps.get(&meta.key.sibling(&owner.name))?;
        (app.meta.uid == owner.uid).then_some(&**app)
    }

    /// Whether nobody runs a node's pods any more: it is gone, or went silent.
    pub fn is_lost(&self, node: &str) -> bool {
        self.nodes.get(node).is_none_or(|node| node.ready == NodeReady::Lost)
    }
}
