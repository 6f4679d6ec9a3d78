//! One change to the snapshot: the object, its indexes, and which units have to be planned again.

use super::parts::*;
use super::read::Thing;
use super::snapshot::{Snapshot, Unit};
use std::sync::Arc;
use std::time::Duration;

/// The namespace where nodes keep their Leases, each under its node's name.
pub const LEASES: &str = "kube-node-lease";

/// What the names of Events have in them that tell an Ingress of its taken routes.
pub const TAKEN_ROUTES: &str = ".taken-";

impl Thing {
    /// Kind and place.
    pub fn id(&self) -> ObjectId {
        let (kind, meta) = self.kind_and_meta();
        ObjectId { kind, key: meta.key.clone() }
    }

    /// What every object has.
    pub fn meta(&self) -> &Meta {
        self.kind_and_meta().1
    }

    fn kind_and_meta(&self) -> (&'static str, &Meta) {
        match self {
            Thing::App(o) => ("App", &o.meta),
            Thing::Deployment(o) => ("Deployment", &o.meta),
            Thing::ReplicaSet(o) => ("ReplicaSet", &o.meta),
            Thing::Pod(o) => ("Pod", &o.meta),
            Thing::Service(o) => ("Service", &o.meta),
            Thing::Slice(o) => ("EndpointSlice", &o.meta),
            Thing::Ingress(o) => ("Ingress", &o.meta),
            Thing::Node(o) => ("Node", &o.meta),
            Thing::Lease(meta, _) => ("Lease", meta),
            Thing::Scaler(o) => ("HorizontalPodAutoscaler", &o.meta),
            Thing::Revision(o) => ("ControllerRevision", &o.meta),
            Thing::Job(o) => ("Job", &o.meta),
            Thing::CronJob(o) => ("CronJob", &o.meta),
            Thing::Other(kind, meta) => (kind, meta),
        }
    }
}

impl Snapshot {
    /// Takes in a new or changed object, unless it is older than what is known; `now` is the leader's time.
    pub fn put(&mut self, thing: Thing, now: Duration) {
        if let Thing::Lease(meta, loads) = thing {
            return self.put_lease(&meta, loads, now);
        }
        let id = thing.id();
        if self.meta(&id).is_some_and(|known| known.version >= thing.meta().version) {
            return;
        }
        let lost = self.is_lost_node(&id);
        self.touch(&id);
        self.replace(&id, thing, now);
        self.touch(&id);
        if lost != self.is_lost_node(&id) {
            self.touch_pods_on(&id.key.name);
        }
    }

    /// Takes note that an object is gone.
    pub fn remove(&mut self, id: &ObjectId) {
        if id.kind == "Lease" {
            self.leases.remove(&id.key.name);
            self.put_loads(&id.key.name, Loads::new());
            return;
        }
        let Some(uid) = self.meta(id).map(|meta| meta.uid.clone()) else { return };
        self.touch(id);
        self.take(id);
        let orphans: Vec<Unit> = self.children(&uid).cloned().map(Unit::Orphan).collect();
        self.dirty.extend(orphans);
        match id.kind {
            "Node" => self.touch_pods_on(&id.key.name),
            "HorizontalPodAutoscaler" => drop(self.advice.remove(&id.key)),
            "Deployment" => self.forget_resolutions(&id.key),
            _ => {}
        }
    }

    /// A Lease tells that its node lives, and what its pods have to do.
    fn put_lease(&mut self, meta: &Meta, loads: Loads, now: Duration) {
        if &*meta.key.namespace != LEASES {
            return;
        }
        let node = meta.key.name.clone();
        let known = self.leases.get(&node).copied();
        if known.is_some_and(|lease| lease.version >= meta.version) {
            return;
        }
        self.leases.insert(node.clone(), Lease { version: meta.version, seen: now, renewed: known.is_some_and(|lease| lease.version > 0) });
        self.put_loads(&node, loads);
        if known.is_none() || self.is_lost(&node) {
            self.dirty.insert(Unit::Node(node));
        }
    }

    /// Has those planned again whose pods have another load now: what is idle, and stays so, costs nothing.
    fn put_loads(&mut self, node: &Name, loads: Loads) {
        let before = if loads.is_empty() { self.loads.remove(node) } else { self.loads.insert(node.clone(), Arc::new(loads)) };
        let (before, now) = (before.unwrap_or_default(), self.loads.get(node).cloned().unwrap_or_default());
        let changed = before.keys().chain(now.keys()).filter(|uid| before.get(*uid) != now.get(*uid));
        let units: Vec<Unit> = changed.flat_map(|uid| self.units_of_load(uid)).collect();
        self.dirty.extend(units);
    }

    /// The autoscaler of a pod's Deployment, and that itself where it compares revisions.
    fn units_of_load(&self, uid: &str) -> impl Iterator<Item = Unit> + use<> {
        let pod = self.by_uid(uid).and_then(|id| self.pods.get(&id.key));
        let owner = pod.and_then(|pod| self.by_uid(&pod.meta.owner.as_ref()?.uid));
        let deployment = owner.and_then(|id| self.deployment_of(self.sets.get(&id.key)?));
        let scaler = deployment.and_then(|deployment| self.scaler_of(&deployment.meta.key)).map(Unit::Scaler);
        let tried =
            deployment.filter(|deployment| deployment.canary.is_some()).map(|deployment| Unit::Deployment(deployment.meta.key.clone()));
        scaler.into_iter().chain(tried)
    }

    /// The Services whose requests a Deployment shares out among its revisions.
    fn shared_out(&self, deployment: &Deployment) -> Vec<Unit> {
        let of = |deployment: &Deployment| self.services_of(&deployment.meta.key.namespace, &deployment.template.labels);
        Some(deployment).filter(|deployment| deployment.canary.is_some()).map(of).into_iter().flatten().map(Unit::Service).collect()
    }

    fn is_lost_node(&self, id: &ObjectId) -> bool {
        id.kind == "Node" && self.is_lost(&id.key.name)
    }

    fn replace(&mut self, id: &ObjectId, thing: Thing, now: Duration) {
        let old = self.take(id);
        let key = id.key.clone();
        self.index.add_object(id, thing.meta());
        match thing {
            Thing::App(o) => drop(self.apps.insert(key, Arc::new(o))),
            Thing::Deployment(mut o) => {
                if let Some(Thing::Deployment(old)) = &old {
                    o.progressed = progressed(old, &o, now);
                    if old.template.text == o.template.text {
                        o.most_ready = o.most_ready.max(old.most_ready);
                    }
                }
                self.deployments.insert(key, Arc::new(o));
            }
            Thing::ReplicaSet(o) => drop(self.sets.insert(key, Arc::new(o))),
            Thing::Pod(mut o) => {
                if let Some(Thing::Pod(Pod { ready: Some(since), .. })) = old {
                    o.ready = o.ready.map(|_| since);
                }
                self.index.add_pod(&mut o);
                self.pods.insert(key, Arc::new(o));
            }
            Thing::Service(o) => {
                self.index.add_service(&o);
                self.services.insert(key, Arc::new(o));
            }
            Thing::Slice(o) => drop(self.slices.insert(key, Arc::new(o))),
            Thing::Ingress(o) => drop(self.ingresses.insert(key, Arc::new(o))),
            Thing::Node(o) => {
                // Its silence counts from now, even if it never says a word.
                self.leases.entry(key.name.clone()).or_insert(Lease { version: 0, seen: now, renewed: false });
                self.nodes.insert(key.name, Arc::new(o));
            }
            Thing::Revision(o) => drop(self.revisions.insert(key, Arc::new(o))),
            Thing::Job(mut o) => {
                let old = if let Some(Thing::Job(old)) = old { Some(old) } else { None };
                o.on_this_clock(old.as_ref(), now, self.wall);
                self.jobs.insert(key, Arc::new(o));
            }
            Thing::CronJob(o) => drop(self.cron_jobs.insert(key, Arc::new(o))),
            Thing::Other(_, meta) => drop(self.others.insert(id.clone(), Arc::new(meta))),
            Thing::Scaler(mut o) => {
                if let Some(Thing::Scaler(old)) = old.filter(|old| matches!(old, Thing::Scaler(old) if old.status == o.status)) {
                    o.told = old.told;
                }
                self.index.add_scaler(&o);
                self.scalers.insert(key, Arc::new(o));
            }
            Thing::Lease(..) => {}
        }
    }

    /// Takes an object out of everything.
    fn take(&mut self, id: &ObjectId) -> Option<Thing> {
        let meta = self.meta(id)?.clone();
        self.index.remove_object(id, &meta);
        match id.kind {
            "App" => self.apps.remove(&id.key).map(|o| Thing::App((*o).clone())),
            "Deployment" => self.deployments.remove(&id.key).map(|o| Thing::Deployment((*o).clone())),
            "ReplicaSet" => self.sets.remove(&id.key).map(|o| Thing::ReplicaSet((*o).clone())),
            "Pod" => self.pods.remove(&id.key).map(|o| {
                self.index.remove_pod(&o);
                Thing::Pod((*o).clone())
            }),
            "Service" => self.services.remove(&id.key).map(|o| {
                self.index.remove_service(&o);
                Thing::Service((*o).clone())
            }),
            "EndpointSlice" => self.slices.remove(&id.key).map(|o| Thing::Slice((*o).clone())),
            "Ingress" => self.ingresses.remove(&id.key).map(|o| Thing::Ingress((*o).clone())),
            "Node" => self.nodes.remove(&id.key.name).map(|o| Thing::Node((*o).clone())),
            "ControllerRevision" => self.revisions.remove(&id.key).map(|o| Thing::Revision((*o).clone())),
            "HorizontalPodAutoscaler" => self.scalers.remove(&id.key).map(|o| {
                self.index.remove_scaler(&o);
                Thing::Scaler((*o).clone())
            }),
            "Job" => self.jobs.remove(&id.key).map(|o| Thing::Job((*o).clone())),
            "CronJob" => self.cron_jobs.remove(&id.key).map(|o| Thing::CronJob((*o).clone())),
            kind => self.others.remove(id).map(|meta| Thing::Other(kind, (*meta).clone())),
        }
    }

    fn forget_resolutions(&mut self, deployment: &Key) {
        let gone: Vec<_> = self.resolutions.keys().filter(|(key, _)| key == deployment).cloned().collect();
        for key in gone {
            self.resolutions.remove(&key);
        }
    }

    /// Marks what depends on an object as it is now.
    fn touch(&mut self, id: &ObjectId) {
        let Some(meta) = self.meta(id) else { return };
        let mut units = Vec::new();
        if meta.foreground || self.is_orphan(meta) {
            units.push(Unit::Orphan(id.clone()));
        }
        if meta.foreground {
            self.add_descendants(&meta.uid, 0, &mut units);
        }
        // Who waits for the last of its own to go.
        let owner = meta.owner.as_ref().and_then(|owner| self.by_uid(&owner.uid));
        let waits = |owner: &&ObjectId| self.meta(owner).is_some_and(|meta| meta.deleting || self.is_orphan(meta));
        units.extend(owner.filter(waits).cloned().map(Unit::Orphan));
        match id.kind {
            "App" => units.extend([Unit::App(id.key.clone()), Unit::History(id.key.clone())]),
            "Deployment" => {
                units.push(Unit::Deployment(id.key.clone()));
                units.extend(self.scaler_of(&id.key).map(Unit::Scaler));
                units.extend(self.deployments.get(&id.key).into_iter().flat_map(|deployment| self.shared_out(deployment)));
            }
            "HorizontalPodAutoscaler" => {
                units.push(Unit::Scaler(id.key.clone()));
                // Its pods hear of it whether they may sleep.
                units.extend(self.scalers.get(&id.key).map(|scaler| Unit::Deployment(scaler.target.clone())));
            }
            "ReplicaSet" => {
                units.extend(self.sets.get(&id.key).map(|set| self.unit_of_set(set)));
                let deployment = self.sets.get(&id.key).and_then(|set| self.deployment_of(set));
                units.extend(deployment.into_iter().flat_map(|deployment| self.shared_out(deployment)));
            }
            "Pod" => units.extend(self.pods.get(&id.key).into_iter().flat_map(|pod| self.units_of_pod(pod))),
            "Service" => {
                units.push(Unit::Service(id.key.clone()));
                let balanced = self.services.get(&id.key).is_some_and(|service| service.balanced || !service.shown.is_empty());
                units.extend(balanced.then_some(Unit::Balancers));
            }
            "Job" => {
                units.push(Unit::Job(id.key.clone()));
                let owner = meta.owner.as_ref().filter(|owner| &*owner.kind == "CronJob");
                units.extend(owner.map(|owner| Unit::CronJob(id.key.sibling(&owner.name))));
            }
            "CronJob" => units.push(Unit::CronJob(id.key.clone())),
            "EndpointSlice" => units.extend(self.slices.get(&id.key).map(|slice| Unit::Service(id.key.sibling(&slice.service)))),
            "Node" => units.extend([Unit::Node(id.key.name.clone()), Unit::Unplaced, Unit::Balancers]),
            "ControllerRevision" => {
                let owner = meta.owner.as_ref().map(|owner| id.key.sibling(&owner.name));
                // An App can go back only to what is kept.
                units.extend(owner.into_iter().flat_map(|app| [Unit::History(app.clone()), Unit::App(app)]));
            }
            "Event" => units.push(Unit::Events(id.key.namespace.clone())),
            "Ingress" => units.extend([Unit::Routes, Unit::Balancers]),
            "Namespace" if meta.deleting => units.push(Unit::Namespace(id.key.name.clone())),
            _ => {}
        }
        // An App makes again what it stands for, and is not ready meanwhile.
        if matches!(id.kind, "Deployment" | "Service" | "Ingress" | "Job" | "CronJob" | "HorizontalPodAutoscaler")
            && let Some(owner) = meta.owner.as_ref().filter(|owner| &*owner.kind == "App")
        {
            units.push(Unit::App(id.key.sibling(&owner.name)));
        }
        // Said again once it is forgotten, as long as it holds.
        if id.kind == "Event" && id.key.name.contains(TAKEN_ROUTES) {
            units.push(Unit::Routes);
        }
        if self.is_going(&id.key.namespace) {
            units.push(Unit::Namespace(id.key.namespace.clone()));
        }
        self.dirty.extend(units);
    }

    fn add_descendants(&self, uid: &str, depth: u32, units: &mut Vec<Unit>) {
        for child in self.children(uid) {
            units.push(Unit::Orphan(child.clone()));
            if let Some(meta) = self.meta(child).filter(|_| depth < 8) {
                self.add_descendants(&meta.uid, depth + 1, units);
            }
        }
    }

    fn touch_pods_on(&mut self, node: &Name) {
        let units: Vec<Unit> = self.pods_on(node).flat_map(|pod| self.units_of_pod(pod)).collect();
        self.dirty.extend(units);
        self.dirty.extend([Unit::Node(node.clone()), Unit::Unplaced]);
    }

    fn unit_of_set(&self, set: &ReplicaSet) -> Unit {
        match self.deployment_of(set) {
            Some(deployment) => Unit::Deployment(deployment.meta.key.clone()),
            None => Unit::Set(set.meta.key.clone()),
        }
    }

    /// Its Deployment, its Services, its node if nobody runs it or it is on its way out, and those that wait for room.
    fn units_of_pod(&self, pod: &Pod) -> Vec<Unit> {
        let owner = pod.meta.owner.as_ref().and_then(|owner| self.by_uid(&owner.uid));
        let set = owner.filter(|id| id.kind == "ReplicaSet").and_then(|id| self.sets.get(&id.key));
        let mut units: Vec<Unit> = set.map(|set| self.unit_of_set(set)).into_iter().collect();
        let deployment = set.and_then(|set| self.deployment_of(set));
        units.extend(deployment.and_then(|deployment| self.scaler_of(&deployment.meta.key)).map(Unit::Scaler));
        units.extend(owner.filter(|id| id.kind == "Job").map(|id| Unit::Job(id.key.clone())));
        units.extend(self.services_of(&pod.meta.key.namespace, &pod.meta.labels).into_iter().map(Unit::Service));
        units.extend(pod.node.iter().filter(|node| self.is_lost(node)).cloned().map(Unit::Node));
        units.push(Unit::Unplaced);
        units
    }
}

/// Progress is what the status says it is, and a new template.
fn progressed(old: &Deployment, new: &Deployment, now: Duration) -> Duration {
    let same = old.progress_stamp == new.progress_stamp && old.template.text == new.template.text && old.paused == new.paused;
    if same { old.progressed } else { now }
}
