//! All objects at one moment, kept up change by change, and what has yet to be planned again.

use super::index::Index;
use super::parts::*;
use imbl::OrdMap;
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
    /// Objects of all other kinds.
    pub others: OrdMap<ObjectId, Arc<Meta>>,
    /// Images that were or are being resolved, by Deployment and template as typed.
    pub resolutions: OrdMap<(Key, Name), Resolution>,
    pub(super) index: Index,
    pub(super) dirty: BTreeSet<Unit>,
}

impl Snapshot {
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
        units.extend(self.metas().filter(|(_, meta)| self.is_orphan(meta)).map(|(id, _)| Unit::Orphan(id)));
        let events = self.others.keys().filter(|id| id.kind == "Event");
        units.extend(events.map(|id| Unit::Events(id.key.namespace.clone())));
        units.insert(Unit::Routes);
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
        apps.chain(deployments).chain(sets).chain(pods).chain(services).chain(slices).chain(ingresses).chain(revisions).chain(others)
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
            "Node" => self.nodes.get(&id.key.name).map(|o| &o.meta),
            "ControllerRevision" => self.revisions.get(&id.key).map(|o| &o.meta),
            _ => self.others.get(id).map(|meta| &**meta),
        }
    }

    /// Whether it names an owner that is not there.
    pub fn is_orphan(&self, meta: &Meta) -> bool {
        meta.owner.as_ref().is_some_and(|owner| self.by_uid(&owner.uid).is_none())
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
