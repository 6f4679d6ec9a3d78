//! A cluster of values: a store without disk, agents without instances, and the real plan and its real writes.

mod people;

use scheduler::kinds::{self, KINDS, Kind};
use scheduler::model::{Key, LEASES, ObjectId, Resolution, Snapshot, Unit, read};
use scheduler::objects::{Object, Write};
use scheduler::plan::{Action, Plan, plan_units};
use scheduler::reconcile::write::{Fresh, reads, writes};
use scheduler::store::Guard;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const NAMESPACE: &str = "default";

/// A change that the leader's watch has yet to tell.
enum News {
    Put(&'static Kind, Value),
    Gone(ObjectId, u64),
}

pub struct Cluster {
    pub store: BTreeMap<ObjectId, Object>,
    pub snapshot: Snapshot,
    pub now: Duration,
    /// Every UID that a pod ever had, with the node that it was bound to.
    pub seen: BTreeMap<String, Option<String>>,
    /// Units whose last commit met newer objects.
    pub conflicts: BTreeSet<Unit>,
    news: Vec<News>,
    wakes: BTreeMap<Unit, Duration>,
    version: u64,
    count: u64,
    /// Every tick that had a Job, with the UID of its CronJob.
    ticks: BTreeSet<(String, String)>,
    /// Seconds by which the clock on the wall was set.
    skew: i64,
}

fn id_of(object: &Object) -> (ObjectId, &'static Kind) {
    let kind = KINDS.iter().copied().find(|kind| kind.kind == object.kind()).expect("a known kind");
    (ObjectId::new(kind, Key::new(object.namespace(), object.name())), kind)
}

pub fn id(kind: &'static Kind, name: &str) -> ObjectId {
    ObjectId::new(kind, Key::new(if kind.namespaced { NAMESPACE } else { "" }, name))
}

impl Cluster {
    pub fn new() -> Cluster {
        Cluster {
            store: BTreeMap::new(),
            snapshot: Snapshot::default(),
            now: Duration::from_secs(1000),
            seen: BTreeMap::new(),
            conflicts: BTreeSet::new(),
            news: Vec::new(),
            wakes: BTreeMap::new(),
            version: 256,
            count: 0,
            ticks: BTreeSet::new(),
            skew: 0,
        }
    }

    fn fresh(&mut self) -> String {
        self.count += 1;
        format!("uid-{}", self.count)
    }

    /// Puts an object as the API would; the leader hears of it with the next [`Cluster::tell`].
    pub fn put(&mut self, object: Value) {
        let mut object = Object(object);
        let (id, kind) = id_of(&object);
        match self.store.get(&id).cloned() {
            Some(before) => object.stamp_changed(&before),
            None => {
                let uid = self.fresh();
                object.stamp_new(&uid, self.wall());
            }
        }
        self.commit_put(id, kind, object);
    }

    fn commit_put(&mut self, id: ObjectId, kind: &'static Kind, mut object: Object) {
        self.version += 256;
        object.metadata_mut().insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        if kind.kind == "Pod" {
            self.note_pod(&object);
        }
        self.news.push(News::Put(kind, object.0.clone()));
        self.store.insert(id, object);
    }

    /// A pod is its UID, bound to a node once.
    fn note_pod(&mut self, pod: &Object) {
        let node = pod.spec()["nodeName"].as_str().map(str::to_owned);
        if let Some(Some(bound)) = self.seen.get(pod.uid()) {
            assert_eq!(Some(bound), node.as_ref(), "pod {} moved", pod.name());
        }
        self.seen.insert(pod.uid().to_owned(), node);
    }

    pub fn remove(&mut self, id: &ObjectId) {
        self.version += 256;
        if self.store.remove(id).is_some() {
            self.news.push(News::Gone(id.clone(), self.version));
        }
    }

    pub fn change(&mut self, id: &ObjectId, change: impl FnOnce(&mut Value)) {
        if let Some(mut object) = self.store.get(id).cloned() {
            change(&mut object.0);
            self.put_raw(object.0);
        }
    }

    fn put_raw(&mut self, object: Value) {
        let mut object = Object(object);
        let (id, kind) = id_of(&object);
        let deletion = object.0["metadata"].get("deletionTimestamp").cloned();
        if let Some(before) = self.store.get(&id).cloned() {
            object.stamp_changed(&before);
        }
        if let Some(deletion) = deletion {
            object.metadata_mut().insert("deletionTimestamp".to_owned(), deletion);
        }
        self.commit_put(id, kind, object);
    }

    /// The leader hears of everything that happened.
    pub fn tell(&mut self) {
        for news in std::mem::take(&mut self.news) {
            match news {
                News::Put(kind, object) => self.snapshot.put(read(kind, &object, self.now), self.now),
                News::Gone(id, version) => {
                    if self.snapshot.meta(&id).is_none_or(|meta| meta.version < version) {
                        self.snapshot.remove(&id);
                    }
                }
            }
        }
    }

    pub fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(1_790_000_000_000 + 1000 * self.skew + self.now.as_millis() as i64).expect("a time")
    }

    /// A new leader: it knows what the store says and nothing else.
    pub fn restart(&mut self) {
        self.news.clear();
        self.wakes.clear();
        self.snapshot = Snapshot::default();
        let wall = self.wall();
        self.snapshot.set_wall(wall, false);
        for object in self.store.values() {
            let (_, kind) = id_of(object);
            self.snapshot.put(read(kind, &object.0, self.now), self.now);
        }
        let units = self.snapshot.all_units();
        units.into_iter().for_each(|unit| self.snapshot.mark(unit));
    }

    /// The clock on the wall is set: forward, or back.
    pub fn set_clock(&mut self, by: i64) {
        // Not before what the objects say of themselves.
        self.skew = (self.skew + by).max(-900);
        let wall = self.wall();
        self.snapshot.set_wall(wall, true);
    }

    /// Plans what is due, and gives the units too, without doing anything.
    pub fn decide(&mut self) -> Plan {
        let wall = self.wall();
        self.snapshot.set_wall(wall, false);
        let due: Vec<Unit> = self.wakes.iter().filter(|(_, at)| **at <= self.now).map(|(unit, _)| unit.clone()).collect();
        due.into_iter().chain(std::mem::take(&mut self.conflicts)).for_each(|unit| self.snapshot.mark(unit));
        let units = self.snapshot.take_dirty();
        for unit in &units {
            self.wakes.remove(unit);
        }
        let plan = plan_units(&self.snapshot, units, self.now);
        self.wakes.extend(plan.wakes.iter().cloned());
        plan
    }

    /// One turn of the loop.
    pub fn turn(&mut self) -> Plan {
        let plan = self.decide();
        self.carry_out(&plan);
        plan
    }

    /// Commits each unit's actions as the loop does: all or nothing, guarded by versions.
    pub fn carry_out(&mut self, plan: &Plan) {
        let mut units: BTreeMap<Unit, Vec<Action>> = BTreeMap::new();
        for step in &plan.actions {
            units.entry(step.unit.clone()).or_default().push(step.action.clone());
        }
        for (unit, actions) in units {
            if !self.commit(&actions) {
                self.conflicts.insert(unit);
            }
        }
    }

    fn commit(&mut self, actions: &[Action]) -> bool {
        let before = self.news.len();
        for action in actions {
            match action {
                Action::Advise { scaler, advice } => {
                    self.snapshot.advice.insert(scaler.clone(), std::sync::Arc::new(advice.clone()));
                }
                Action::Resolve { deployment, typed, image } => {
                    let exact = Resolution::Done(format!("{image}@sha256:0").as_str().into());
                    self.snapshot.resolutions.insert((deployment.clone(), typed.clone()), exact);
                    self.snapshot.mark(Unit::Deployment(deployment.clone()));
                }
                Action::RollBack { app, generation, to, why } if !self.roll_back(&app.name, *generation, *to, why) => return false,
                _ => {}
            }
        }
        let wanted = reads(actions.iter(), &self.snapshot);
        let found = wanted.into_iter().filter_map(|id| self.store.get(&id).cloned().map(|object| (id, object))).collect();
        let (mut uids, mut names) = (self.count, self.count);
        let mut uid = || {
            uids += 1;
            format!("uid-{uids}")
        };
        let mut suffix = || {
            names += 1;
            format!("{names}")
        };
        let mut fresh = Fresh { uid: &mut uid, suffix: &mut suffix, now: self.wall() };
        let Ok(all) = writes(actions, found, &self.snapshot, &mut fresh) else { return false };
        self.count = uids.max(names);
        if !all.iter().all(|write| self.holds(write)) {
            return false;
        }
        all.into_iter().for_each(|write| self.write(write));
        // What the leader wrote itself it knows at once; news of others stay untold.
        let own = self.news.split_off(before);
        let untold = std::mem::replace(&mut self.news, own);
        self.tell();
        self.news = untold;
        actions.iter().all(|action| match action {
            Action::Remake { app, generation, .. } => self.remake(&app.name, *generation),
            _ => true,
        })
    }

    fn holds(&self, write: &Write) -> bool {
        let version = |id: &ObjectId| self.store.get(id).map(Object::resource_version);
        match write {
            Write::Create(object) => version(&id_of(object).0).is_none(),
            Write::Update(object) => version(&id_of(object).0) == Some(object.resource_version()),
            Write::Delete { kind, namespace, name, resource_version } => {
                version(&ObjectId::new(kind, Key::new(namespace, name))) == *resource_version
            }
            Write::Guard(Guard::Modified(key, revision)) => self.revision(key) == Some(*revision),
            Write::Guard(Guard::Absent(key)) => self.revision(key).is_none(),
            Write::Guard(Guard::Exists(key)) => self.revision(key).is_some(),
            Write::Turn(_) => unreachable!("the plan takes no turns"),
        }
    }

    fn revision(&self, key: &str) -> Option<u64> {
        let name = key.rsplit('/').next()?;
        self.store.get(&ObjectId::new(&kinds::LEASE, Key::new(LEASES, name))).map(|lease| lease.resource_version() / 256)
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Create(object) => {
                let (id, kind) = id_of(&object);
                if let Some(tick) = object.annotation(scheduler::names::CRON_TICK) {
                    let cron = object.controller().map(|owner| owner["uid"].to_string()).unwrap_or_default();
                    assert!(self.ticks.insert((cron, tick.to_owned())), "the tick of {tick} runs again as {}", object.name());
                }
                if kind.kind == "Pod" {
                    assert!(!self.seen.contains_key(object.uid()), "the UID {} is used again", object.uid());
                }
                self.commit_put(id, kind, object);
            }
            Write::Update(object) => {
                let (id, kind) = id_of(&object);
                self.commit_put(id, kind, object);
            }
            Write::Delete { kind, namespace, name, .. } => self.remove(&ObjectId::new(kind, Key::new(&namespace, &name))),
            Write::Guard(_) | Write::Turn(_) => {}
        }
    }

    pub fn all(&self, kind: &'static Kind) -> Vec<&Object> {
        let first = ObjectId::new(kind, Key::new("", ""));
        self.store.range(first..).take_while(|(id, _)| id.kind == kind.kind).map(|(_, object)| object).collect()
    }

    pub fn get(&self, kind: &'static Kind, name: &str) -> Option<&Object> {
        self.store.get(&id(kind, name))
    }

    pub fn report(&mut self, pod: &str, ready: bool, trouble: Option<(&str, &str)>) {
        let status = if ready { "True" } else { "False" };
        self.change(&id(&kinds::POD, pod), |pod| {
            pod["status"]["phase"] = json!("Running");
            pod["status"]["podIP"] = json!("10.0.0.1");
            let others = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let mut conditions: Vec<Value> = others.into_iter().filter(|c| c["type"] != "Ready").collect();
            conditions.push(json!({"type": "Ready", "status": status}));
            pod["status"]["conditions"] = json!(conditions);
            pod["status"]["containerStatuses"] = match trouble {
                Some((reason, message)) => json!([{"ready": false, "state": {"waiting": {"reason": reason, "message": message}}}]),
                None => json!([{"ready": ready}]),
            };
        });
    }

    /// A pod that may sleep does, or is awake again.
    pub fn sleep(&mut self, pod: &str, asleep: bool) {
        self.change(&id(&kinds::POD, pod), |pod| {
            let others = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let mut conditions: Vec<Value> = others.into_iter().filter(|c| c["type"] != scheduler::names::ASLEEP).collect();
            if asleep {
                conditions.push(json!({"type": scheduler::names::ASLEEP, "status": "True"}));
            }
            pod["status"]["conditions"] = json!(conditions);
        });
    }

    /// A pod's program came to its end.
    pub fn finish(&mut self, pod: &str, code: i32) {
        self.change(&id(&kinds::POD, pod), |pod| {
            pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
            pod["status"]["containerStatuses"] = json!([{"ready": false, "state": {"terminated": {"exitCode": code, "reason": "Exit"}}}]);
        });
    }

    /// Every pod whose image does not say `bad` becomes ready, those on their way out go; whether anything changed.
    pub fn agents(&mut self) -> bool {
        let mut changed = false;
        let has_news = |pod: &&Object| !pod.spec()["nodeName"].is_null() && (pod.deletion_timestamp().is_some() || !scheduler_ready(pod));
        let pods: Vec<Object> = self.all(&kinds::POD).into_iter().filter(has_news).cloned().collect();
        for pod in pods {
            if matches!(pod.status()["phase"].as_str(), Some("Succeeded" | "Failed")) && pod.deletion_timestamp().is_none() {
                continue;
            }
            let ready = scheduler_ready(&pod);
            let bad = pod.spec()["containers"][0]["image"].as_str().is_some_and(|image| image.contains("bad"));
            if pod.deletion_timestamp().is_some() {
                self.remove(&id(&kinds::POD, pod.name()));
                changed = true;
            } else if !ready && !bad {
                self.report(pod.name(), true, None);
                changed = true;
            }
        }
        changed
    }

    /// Turns and agents in turn until neither has anything to do.
    pub fn settle(&mut self) {
        for _ in 0..500 {
            self.tell();
            let plan = self.turn();
            let busy = self.agents();
            if plan.actions.is_empty() && !busy && self.conflicts.is_empty() && self.snapshot.is_clean() {
                return;
            }
        }
        panic!("it does not settle: {}", self.decide());
    }
}

pub fn scheduler_ready(pod: &Object) -> bool {
    pod.status()["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

pub fn is_asleep(pod: &Object) -> bool {
    let conditions = pod.status()["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == scheduler::names::ASLEEP && c["status"] == "True")
}
