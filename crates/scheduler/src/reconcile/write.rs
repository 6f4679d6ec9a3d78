//! Actions to writes: the objects as they are, changed as the plan says. Pure; the shell reads before and commits after.

use crate::api::defaults;
use crate::kinds::{self, KINDS, Kind};
use crate::model::{Key, LEASES, ObjectId, Snapshot};
use crate::names;
use crate::objects::{Object, Write};
use crate::plan::{Action, NewSet};
use crate::routes::Canary;
use crate::store::Guard;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

use super::status;

/// What the core may not make itself: identifiers and the time of day.
pub struct Fresh<'a> {
    /// A new UID.
    pub uid: &'a mut dyn FnMut() -> String,
    /// A few letters that make a name unique.
    pub suffix: &'a mut dyn FnMut() -> String,
    /// The time of day, for display.
    pub now: jiff::Timestamp,
}

/// The snapshot and the store differ on this object: wait for the watch, then plan again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale(pub ObjectId);

/// The kind of an object's manifest.
pub fn kind_of(id: &ObjectId) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.kind == id.kind)
}

/// Objects that must be read before these actions are turned into writes.
pub fn reads<'a>(actions: impl Iterator<Item = &'a Action>, snapshot: &Snapshot) -> BTreeSet<ObjectId> {
    let mut reads = BTreeSet::new();
    for action in actions {
        reads.extend(reads_of(action, snapshot));
    }
    reads
}

fn id(kind: &'static Kind, key: &Key) -> ObjectId {
    ObjectId::new(kind, key.clone())
}

fn node_id(name: &str) -> ObjectId {
    ObjectId::new(&kinds::NODE, Key::new("", name))
}

fn reads_of(action: &Action, snapshot: &Snapshot) -> Vec<ObjectId> {
    match action {
        Action::CreateSet(set) => vec![id(&kinds::DEPLOYMENT, &set.deployment)],
        Action::ChangeSet { set, .. } => vec![id(&kinds::REPLICA_SET, set)],
        // A set that this very commit makes is not there to be read.
        Action::CreatePod { set, .. } => snapshot.sets.contains_key(set).then(|| id(&kinds::REPLICA_SET, set)).into_iter().collect(),
        Action::Scale { deployment, .. } => vec![id(&kinds::DEPLOYMENT, deployment)],
        Action::WriteScaler { scaler, .. } => vec![id(&kinds::HPA, scaler)],
        Action::CreateJobPod { job, .. } => vec![id(&kinds::JOB, job)],
        Action::WriteJob { job, counted, .. } => {
            std::iter::once(id(&kinds::JOB, job)).chain(counted.iter().map(|pod| id(&kinds::POD, pod))).collect()
        }
        Action::CreateJob { cron, .. } | Action::WriteCronJob { cron, .. } => vec![id(&kinds::CRON_JOB, cron)],
        Action::BindPod { pod, .. } | Action::ExplainPod { pod, .. } | Action::LetSleep { pod, .. } | Action::DeletePod { pod, .. } => {
            vec![id(&kinds::POD, pod)]
        }
        Action::WriteDeployment { deployment, .. } => vec![id(&kinds::DEPLOYMENT, deployment)],
        Action::WriteApp { app, .. } => vec![id(&kinds::APP, app)],
        Action::WriteEndpoints { service, .. } => {
            snapshot.slices.contains_key(service).then(|| id(&kinds::ENDPOINT_SLICE, service)).into_iter().collect()
        }
        Action::MarkNode { node, .. } => vec![node_id(node)],
        Action::WriteBalancer { object, .. } | Action::Release { object, .. } => vec![object.clone()],
        Action::Delete { object, .. } => owner_of(object, snapshot).into_iter().collect(),
        Action::Advise { .. } | Action::Resolve { .. } | Action::RollBack { .. } | Action::Remake { .. } => Vec::new(),
        Action::FinishPod { .. } | Action::Tell { .. } => Vec::new(),
    }
}

/// Where the owner should be that an object is about to be removed for the lack of.
fn owner_of(object: &ObjectId, snapshot: &Snapshot) -> Option<ObjectId> {
    let meta = snapshot.meta(object).filter(|meta| snapshot.is_orphan(meta))?;
    let owner = meta.owner.as_ref()?;
    let kind = KINDS.iter().copied().find(|kind| kind.kind == &*owner.kind)?;
    let namespace = if kind.namespaced { &*object.key.namespace } else { "" };
    Some(ObjectId::new(kind, Key::new(namespace, &owner.name)))
}

/// The writes that carry out one unit's actions, ReplicaSets before their pods. `found` holds what [`reads`] named and is there.
pub fn writes(
    actions: &[Action],
    found: BTreeMap<ObjectId, Object>,
    snapshot: &Snapshot,
    fresh: &mut Fresh<'_>,
) -> Result<Vec<Write>, Stale> {
    let mut batch = Batch { found, snapshot, fresh, changed: BTreeMap::new(), made: Vec::new(), rest: Vec::new() };
    for action in actions {
        batch.add(action)?;
    }
    Ok(batch.finish())
}

struct Batch<'a, 'f> {
    found: BTreeMap<ObjectId, Object>,
    snapshot: &'a Snapshot,
    fresh: &'a mut Fresh<'f>,
    changed: BTreeMap<ObjectId, Object>,
    made: Vec<Object>,
    rest: Vec<Write>,
}

impl Batch<'_, '_> {
    fn add(&mut self, action: &Action) -> Result<(), Stale> {
        let now = self.fresh.now;
        match action {
            Action::CreateSet(set) => self.create_set(set)?,
            Action::ChangeSet { set, replicas, revision, cause, status } => {
                let object = self.change(id(&kinds::REPLICA_SET, set))?;
                object.0["spec"]["replicas"] = json!(replicas);
                object.set_annotation(names::REVISION, &revision.to_string());
                if !cause.is_empty() {
                    object.set_annotation(names::CHANGE_CAUSE, cause);
                }
                object.set_status(status::of_set(status));
            }
            Action::CreatePod { set, place } => self.create_pod(set, place.as_deref().map_err(|why| &**why))?,
            Action::Scale { deployment, replicas } => {
                self.change(id(&kinds::DEPLOYMENT, deployment))?.0["spec"]["replicas"] = json!(replicas);
            }
            Action::WriteScaler { scaler, status } => status::write_scaler(self.change(id(&kinds::HPA, scaler))?, status, now),
            Action::CreateJobPod { job, index, place } => self.create_job_pod(job, *index, place.as_deref().map_err(|why| &**why))?,
            Action::WriteJob { job, status, counted } => {
                status::write_job(self.change(id(&kinds::JOB, job))?, status, now);
                for pod in counted {
                    self.change(id(&kinds::POD, pod))?.set_annotation(names::COUNTED, "true");
                }
            }
            Action::CreateJob { cron, job, tick } => self.create_job(cron, job, *tick)?,
            Action::WriteCronJob { cron, status } => status::write_cron(self.change(id(&kinds::CRON_JOB, cron))?, status),
            Action::BindPod { pod, node } => {
                let object = self.change(id(&kinds::POD, pod))?;
                object.0["spec"]["nodeName"] = json!(&**node);
                status::set_condition(object, status::scheduled(Ok(node)), now);
            }
            Action::ExplainPod { pod, why } => {
                let object = self.change(id(&kinds::POD, pod))?;
                status::set_condition(object, status::scheduled(Err(why)), now);
            }
            Action::LetSleep { pod, after } => {
                let object = self.change(id(&kinds::POD, pod))?;
                match after {
                    Some(seconds) => object.set_annotation(names::SLEEP, &seconds.to_string()),
                    None => object.remove_annotation(names::SLEEP),
                }
            }
            Action::DeletePod { pod, .. } => {
                let object = self.change(id(&kinds::POD, pod))?;
                let grace = object.0.pointer("/spec/terminationGracePeriodSeconds").cloned().unwrap_or(json!(30));
                object.metadata_mut().insert("deletionTimestamp".to_owned(), json!(status::seconds(now)));
                object.metadata_mut().insert("deletionGracePeriodSeconds".to_owned(), grace);
            }
            Action::WriteDeployment { deployment, revision, status, progressed } => {
                let object = self.change(id(&kinds::DEPLOYMENT, deployment))?;
                object.set_annotation(names::REVISION, &revision.to_string());
                status::write_deployment(object, status, *progressed, now);
            }
            Action::WriteApp { app, status } => status::write_app(self.change(id(&kinds::APP, app))?, status, now),
            Action::WriteEndpoints { service, ports, endpoints, canary } => {
                self.write_slice(service, status::endpoints(endpoints, ports), canary.as_ref())?;
            }
            Action::WriteBalancer { object, addresses } => status::write_balancer(self.change(object.clone())?, addresses),
            Action::MarkNode { node, ready, lease, why } => {
                let object = self.change(node_id(node))?;
                status::set_condition(object, status::node_ready(*ready, why), now);
                self.rest.push(Write::Guard(lease_guard(node, *lease)));
            }
            Action::FinishPod { pod, .. } => self.delete(&id(&kinds::POD, pod))?,
            Action::Delete { object, .. } => self.delete(object)?,
            Action::Release { object, .. } => self.release(object)?,
            Action::Tell { about, reason, message, warning, name } => self.tell(about, reason, message, *warning, name.as_deref()),
            // Not commits of their own: the shell sees to them.
            Action::Advise { .. } | Action::Resolve { .. } | Action::RollBack { .. } | Action::Remake { .. } => {}
        }
        Ok(())
    }

    /// The object as it is, or as this batch left it.
    fn change(&mut self, id: ObjectId) -> Result<&mut Object, Stale> {
        if !self.changed.contains_key(&id) {
            let object = self.found.get(&id).cloned().ok_or_else(|| Stale(id.clone()))?;
            let known = self.snapshot.meta(&id).map(|meta| meta.version);
            if known != Some(object.resource_version()) {
                return Err(Stale(id));
            }
            self.changed.insert(id.clone(), object);
        }
        self.changed.get_mut(&id).ok_or(Stale(id))
    }

    fn create_set(&mut self, set: &NewSet) -> Result<(), Stale> {
        let deployment = self.change(id(&kinds::DEPLOYMENT, &set.deployment))?.clone();
        let mut object = status::new_set(&deployment, set);
        object.stamp_new(&(self.fresh.uid)(), self.fresh.now);
        self.made.push(object);
        Ok(())
    }

    fn create_pod(&mut self, set: &Key, place: Result<&str, &str>) -> Result<(), Stale> {
        let id = id(&kinds::REPLICA_SET, set);
        let is_it = |object: &&Object| object.kind() == "ReplicaSet" && object.name() == &*set.name;
        let made = self.made.iter().find(is_it);
        let owner = made.or_else(|| self.found.get(&id)).ok_or_else(|| Stale(id.clone()))?;
        if made.is_none() && self.snapshot.meta(&id).is_none_or(|meta| &*meta.uid != owner.uid()) {
            return Err(Stale(id));
        }
        let name = format!("{}-{}", set.name, (self.fresh.suffix)());
        let mut pod = status::new_pod(owner, &name, place, self.fresh.now);
        pod.stamp_new(&(self.fresh.uid)(), self.fresh.now);
        self.made.push(pod);
        Ok(())
    }

    fn create_job_pod(&mut self, job: &Key, index: Option<u32>, place: Result<&str, &str>) -> Result<(), Stale> {
        let owner = self.change(id(&kinds::JOB, job))?.clone();
        let suffix = (self.fresh.suffix)();
        let name = match index {
            Some(index) => format!("{}-{index}-{suffix}", job.name),
            None => format!("{}-{suffix}", job.name),
        };
        let mut pod = status::new_job_pod(&owner, &name, index, place, self.fresh.now);
        pod.stamp_new(&(self.fresh.uid)(), self.fresh.now);
        self.made.push(pod);
        Ok(())
    }

    /// In one commit with the CronJob's status, which must still be the one that the tick was decided on.
    fn create_job(&mut self, cron: &Key, job: &Key, tick: i64) -> Result<(), Stale> {
        let owner = self.change(id(&kinds::CRON_JOB, cron))?.clone();
        let mut object = status::new_job(&owner, &job.name, tick);
        object.stamp_new(&(self.fresh.uid)(), self.fresh.now);
        defaults::fill(&kinds::JOB, &mut object.0);
        self.made.push(object);
        Ok(())
    }

    fn write_slice(&mut self, service: &Key, body: Value, canary: Option<&Canary>) -> Result<(), Stale> {
        let share = |object: &mut Object| match canary {
            Some(canary) => object.set_annotation(names::CANARY, &canary.to_string()),
            None => object.remove_annotation(names::CANARY),
        };
        let slice = id(&kinds::ENDPOINT_SLICE, service);
        if self.snapshot.slices.contains_key(service) {
            let object = self.change(slice)?;
            object.0["endpoints"] = body["endpoints"].clone();
            object.0["ports"] = body["ports"].clone();
            share(object);
            return Ok(());
        }
        let owner = self.snapshot.services.get(service).ok_or(Stale(slice))?;
        let mut object = status::new_slice(service, &owner.meta.uid, body);
        if canary.is_some() {
            share(&mut object);
        }
        object.stamp_new(&(self.fresh.uid)(), self.fresh.now);
        self.made.push(object);
        Ok(())
    }

    fn delete(&mut self, object: &ObjectId) -> Result<(), Stale> {
        let (meta, kind) = self.snapshot.meta(object).zip(kind_of(object)).ok_or_else(|| Stale(object.clone()))?;
        if let Some(owner) = owner_of(object, self.snapshot) {
            let there = self.found.get(&owner).filter(|owner| owner.deletion_timestamp().is_none());
            if there.is_some() && there.map(Object::uid) == meta.owner.as_ref().map(|owner| &*owner.uid) {
                return Err(Stale(owner));
            }
        }
        let Key { namespace, name } = &object.key;
        let resource_version = Some(meta.version);
        self.rest.push(Write::Delete { kind, namespace: namespace.to_string(), name: name.to_string(), resource_version });
        Ok(())
    }

    /// Takes the finalizer away; the last one lets the object go.
    fn release(&mut self, id: &ObjectId) -> Result<(), Stale> {
        let object = self.change(id.clone())?;
        if let Some(finalizers) = object.metadata_mut().get_mut("finalizers").and_then(Value::as_array_mut) {
            finalizers.retain(|finalizer| finalizer != names::FOREGROUND);
        }
        if object.finalizers().next().is_some() {
            return Ok(());
        }
        self.changed.remove(id);
        self.delete(id)
    }

    fn tell(&mut self, about: &ObjectId, reason: &str, message: &str, warning: bool, name: Option<&str>) {
        let uid = self.snapshot.meta(about).map_or("", |meta| &*meta.uid);
        let mut event = status::event(about, uid, reason, message, warning, self.fresh.now);
        let unique = || format!("{}.{:x}{}", about.key.name, self.fresh.now.as_millisecond(), (self.fresh.suffix)());
        let name = name.map_or_else(unique, str::to_owned);
        event.metadata_mut().insert("name".to_owned(), json!(name));
        event.stamp_new(&(self.fresh.uid)(), self.fresh.now);
        self.made.push(event);
    }

    /// What was changed, then what was made, so that a batch cut into several commits never makes pods that nobody asked for.
    fn finish(self) -> Vec<Write> {
        let Batch { found, changed, made, rest, .. } = self;
        let stamp = |(id, mut object): (ObjectId, Object)| {
            if let Some(before) = found.get(&id) {
                let deleted = object.metadata().and_then(|m| m.get("deletionTimestamp")).cloned();
                let grace = object.metadata().and_then(|m| m.get("deletionGracePeriodSeconds")).cloned();
                object.stamp_changed(before);
                // The mark of deletion that this batch set is the one thing that a plain change must not carry.
                for (name, value) in [("deletionTimestamp", deleted), ("deletionGracePeriodSeconds", grace)] {
                    if let Some(value) = value {
                        object.metadata_mut().insert(name.to_owned(), value);
                    }
                }
            }
            Write::Update(object)
        };
        let mut writes: Vec<Write> = changed.into_iter().map(stamp).collect();
        writes.extend(made.into_iter().map(Write::Create));
        writes.extend(rest);
        writes
    }
}

fn lease_guard(node: &str, version: u64) -> Guard {
    let key = kinds::LEASE.key(LEASES, node);
    if version == 0 { Guard::Absent(key) } else { Guard::Modified(key, version / 256) }
}
