//! One Deployment: its revisions, their pods and what it says of itself.

use super::canary;
use super::draft::{Creation, Draft, Outcome, id_of};
use super::pods::{Group, troubles};
use super::rollout::{Ask, Have, targets};
use super::status::{self, LATE, PROVEN, STOPPED, Totals, Turn, UNRESOLVED, WORSE};
use super::{Action, NewSet};
use crate::model::{Deployment, Key, Name, ObjectId, ReplicaSet, Resolution, SetStatus, Template, Unit};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// Plans a Deployment with all its ReplicaSets and pods.
pub(super) fn plan(draft: &mut Draft, key: &Key) {
    let Some(deployment) = draft.snapshot.deployments.get(key) else { return };
    if deployment.meta.deleting {
        return;
    }
    Turnover::new(draft, deployment).run(draft);
}

/// Plans a ReplicaSet that no Deployment owns.
pub(super) fn plan_lone_set(draft: &mut Draft, key: &Key) {
    let snapshot = draft.snapshot;
    let Some(set) = snapshot.sets.get(key).filter(|set| !set.meta.deleting && snapshot.deployment_of(set).is_none()) else { return };
    if snapshot.is_orphan(&set.meta) {
        return;
    }
    let unit = Unit::Set(key.clone());
    let mut group = Group::new(draft, set, set.min_ready);
    let mut on_node = BTreeMap::new();
    group.count_nodes(&mut on_node);
    let missing = group.bring_to(draft, &unit, set.replicas, &mut on_node, "scaled down");
    create(draft, &unit, &set.meta.key, &set.template, missing);
    if let Some(at) = group.next_ready_for(set.min_ready) {
        draft.wake(&unit, at);
    }
    let status = group.status(set.meta.generation, missing);
    if status != set.status {
        let cause = "".into();
        draft.act(&unit, Action::ChangeSet { set: key.clone(), replicas: set.replicas, revision: set.revision, cause, status });
    }
}

fn create(draft: &mut Draft, unit: &Unit, set: &Key, template: &Template, count: u32) {
    if count > 0 {
        draft.creations.push(Creation { unit: unit.clone(), set: set.clone(), claim: template.need.clone(), count, indexes: Vec::new() });
    }
}

/// The revision that the Deployment asks for.
enum Current<'a> {
    Is(&'a ReplicaSet),
    New(Name),
    /// Its image is not known yet, or the Deployment is paused.
    None,
}

struct Turnover<'a> {
    deployment: &'a Deployment,
    unit: Unit,
    current: Current<'a>,
    unresolved: bool,
    /// Why the image could not be resolved the last time.
    refused: Option<String>,
    /// All old revisions, newest first.
    old: Vec<Group<'a>>,
    new: Option<Group<'a>>,
    waiting: Vec<String>,
    newest: u64,
    /// Why the new revision is not to go on.
    worse: Option<String>,
}

impl<'a> Turnover<'a> {
    fn new(draft: &mut Draft<'a>, deployment: &'a Deployment) -> Turnover<'a> {
        let unit = Unit::Deployment(deployment.meta.key.clone());
        let mut sets: Vec<&ReplicaSet> = draft.snapshot.sets_of(&deployment.meta.uid).collect();
        sets.sort_by(|a, b| b.revision.cmp(&a.revision).then_with(|| a.meta.key.cmp(&b.meta.key)));
        let newest = sets.iter().map(|set| set.revision).max().unwrap_or(0);
        let matching = sets.iter().find(|set| set.typed == deployment.template.text).copied();
        let matching = matching.or_else(|| sets.iter().find(|set| set.template.text == deployment.template.text).copied());
        let group = |set| Group::new(draft, set, deployment.min_ready);
        let old = sets.into_iter().filter(|set| !matching.is_some_and(|m| std::ptr::eq(m, *set))).map(group).collect();
        let new = matching.map(group);
        let mut turnover = Turnover {
            deployment,
            unit,
            current: Current::None,
            unresolved: false,
            refused: None,
            old,
            new,
            waiting: Vec::new(),
            newest,
            worse: None,
        };
        turnover.current = turnover.find_current(draft, matching);
        turnover
    }

    fn find_current(&mut self, draft: &mut Draft<'a>, matching: Option<&'a ReplicaSet>) -> Current<'a> {
        if let Some(set) = matching {
            return Current::Is(set);
        }
        if self.deployment.paused {
            return Current::None;
        }
        match self.image(draft) {
            Some(image) => Current::New(image),
            None => {
                self.unresolved = true;
                Current::None
            }
        }
    }

    /// The exact image of the template as typed, if it is known; else has it asked for.
    fn image(&mut self, draft: &mut Draft) -> Option<Name> {
        let typed = &self.deployment.template;
        if typed.image.contains("@sha256:") {
            return Some(typed.image.clone());
        }
        let asked = (self.deployment.meta.key.clone(), typed.text.clone());
        let ask = |draft: &mut Draft, unit: &Unit| {
            let (deployment, typed, image) = (asked.0.clone(), asked.1.clone(), self.deployment.template.image.clone());
            draft.act(unit, Action::Resolve { deployment, typed, image });
        };
        match draft.snapshot.resolutions.get(&asked) {
            Some(Resolution::Done(image)) => return Some(image.clone()),
            None => ask(draft, &self.unit),
            Some(Resolution::Asked) => {}
            Some(Resolution::Failed { why, at, tries }) => {
                let why = format!("{} cannot be resolved: {why}", typed.image);
                self.waiting.push(why.clone());
                self.refused = Some(why);
                let again = *at + Duration::from_secs(1 << (*tries).min(5));
                if again <= draft.now {
                    ask(draft, &self.unit);
                } else {
                    draft.wake(&self.unit, again);
                }
                return None;
            }
        }
        self.waiting.push(format!("the digest of {} is being asked for", typed.image));
        None
    }

    fn run(mut self, draft: &mut Draft<'a>) {
        let ask = self.ask(draft);
        let old: Vec<Have> = self.old.iter().map(Group::have).collect();
        let new = match (&self.current, &self.new) {
            (Current::None, _) => None,
            (_, Some(group)) => Some(group.have()),
            (_, None) => Some(Have::default()),
        };
        let (next, kept) = targets(&ask, new, &old);
        let mut on_node = BTreeMap::new();
        self.old.iter().chain(&self.new).for_each(|group| group.count_nodes(&mut on_node));
        let mut totals = Totals::default();
        for (group, target) in self.old.iter_mut().zip(kept) {
            change_set(draft, &self.unit, group, target, group.set.revision, &mut on_node, &mut totals, None);
        }
        let new_revision = self.bring_new(draft, next, &mut on_node, &mut totals);
        self.let_sleep(draft);
        self.conclude(draft, &ask, totals, new_revision);
    }

    fn ask(&mut self, draft: &mut Draft) -> Ask {
        let desired = self.deployment.replicas;
        let surge = self.deployment.surge.of(desired, true);
        let unavailable = self.deployment.unavailable.of(desired, false);
        // With neither, a rollout could never move.
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        let most_new = self.canary(draft);
        let hold = self.deployment.paused || self.worse.is_some() || (most_new.is_none() && self.is_baking(draft));
        Ask { desired, surge, unavailable, recreate: self.deployment.recreate, hold, most_new }
    }

    /// The most pods that a new revision may have while it is tried with a share of the requests; none where it is not, or no longer.
    fn canary(&mut self, draft: &mut Draft) -> Option<u32> {
        let moving = self.old.iter().any(|group| group.set.replicas > 0);
        let first = canary::first(self.deployment).filter(|_| moving && !self.deployment.recreate)?;
        let Some(new) = &self.new else { return Some(first) };
        let was = &self.deployment.status;
        // What was found out stays so for as long as nobody changes anything.
        let found = &*was.is_progressing.reason == WORSE && was.observed == self.deployment.meta.generation;
        let known = found.then(|| was.is_progressing.message.to_string());
        self.worse = known.or_else(|| canary::worse(draft.snapshot, new, &self.old).map(|why| format!("the revision does worse: {why}")));
        if let Some(at) = new.next_ready_for(self.deployment.bake) {
            draft.wake(&self.unit, at);
        }
        if let Some(why) = &self.worse {
            self.waiting.push(why.clone());
            return Some(first);
        }
        if canary::has_baked(self.deployment, new, first) {
            return None;
        }
        let (share, bake) = (self.deployment.canary?, self.deployment.bake.as_secs());
        self.waiting.push(format!("revision {} is tried with {share}% of the requests for {bake} s", new.set.revision));
        Some(first)
    }

    /// Whether the first pods of the revision are watched before the rollout goes on.
    fn is_baking(&self, draft: &mut Draft) -> bool {
        let (Some(new), bake) = (&self.new, self.deployment.bake) else { return false };
        let moving = self.old.iter().any(|group| group.set.replicas > 0);
        if bake.is_zero() || !moving || new.ready() == 0 || new.is_baked(bake) {
            return false;
        }
        if let Some(at) = new.next_ready_for(bake) {
            draft.wake(&self.unit, at);
        }
        true
    }

    /// Makes the new revision where there is none, and brings it to its size; whether it is new or taken up again.
    fn bring_new(&mut self, draft: &mut Draft<'a>, next: u32, on_node: &mut BTreeMap<Name, u32>, totals: &mut Totals) -> bool {
        match (&self.current, self.new.as_mut()) {
            (Current::New(image), _) => {
                let set = new_set(draft, self.deployment, image.clone(), self.newest + 1, next);
                self.newest += 1;
                create(draft, &self.unit, &set.set, &self.deployment.template, next);
                let name = set.set.clone();
                draft.act(&self.unit, Action::CreateSet(set));
                tell_scaled(draft, &self.unit, &name, 0, next);
                totals.replicas += next;
                totals.updated += next;
                true
            }
            (Current::Is(set), Some(group)) => {
                let taken_up = set.revision < self.newest;
                let revision = if taken_up { self.newest + 1 } else { set.revision };
                self.newest = revision;
                change_set(draft, &self.unit, group, next, revision, on_node, totals, Some(&self.deployment.cause));
                taken_up
            }
            _ => false,
        }
    }

    /// Tells the pods whether they may sleep: whose autoscaler asks for 0 pods keeps one, which costs nothing until a request comes.
    fn let_sleep(&self, draft: &mut Draft<'a>) {
        let snapshot = draft.snapshot;
        let scaler = snapshot.scaler_of(&self.deployment.meta.key).and_then(|key| snapshot.scalers.get(&key));
        let sleep = scaler.filter(|scaler| scaler.min == 0 && !scaler.meta.deleting).map(|scaler| scaler.window.as_secs().max(1));
        for pod in self.new.iter().chain(&self.old).flat_map(|group| &group.active).filter(|pod| pod.sleep != sleep) {
            draft.act(&self.unit, Action::LetSleep { pod: pod.meta.key.clone(), after: sleep });
        }
    }

    fn conclude(mut self, draft: &mut Draft<'a>, ask: &Ask, totals: Totals, new_revision: bool) {
        let floor = ask.desired.saturating_sub(ask.unavailable);
        let turn = Turn { new_revision, unresolved: self.unresolved, refused: self.refused.as_deref(), worse: self.worse.as_deref() };
        let verdict = status::judge(self.deployment, totals, floor, turn, draft.now);
        if let Some(due) = verdict.due {
            draft.wake(&self.unit, due);
        }
        for at in self.old.iter().chain(&self.new).filter_map(|group| group.next_ready_for(self.deployment.min_ready)) {
            draft.wake(&self.unit, at);
        }
        let revision = self.newest.max(1);
        let was = &self.deployment.status;
        if verdict.status != *was || verdict.progressed || (revision != self.deployment.revision && !self.unresolved) {
            let (deployment, status) = (self.deployment.meta.key.clone(), verdict.status.clone());
            draft.act(&self.unit, Action::WriteDeployment { deployment, revision, status, progressed: verdict.progressed });
        }
        self.tell_verdict(draft, &verdict);
        if verdict.complete {
            self.trim(draft);
        }
        self.explain(draft, totals);
        let outcome = Outcome {
            proven: matches!(&*verdict.status.is_progressing.reason, PROVEN | STOPPED),
            late: matches!(&*verdict.status.is_progressing.reason, LATE | WORSE),
            worse: self.worse,
            status: verdict.status,
            revision,
            desired: ask.desired,
            complete: verdict.complete,
            on_failure: self.deployment.on_failure,
            waiting: self.waiting,
        };
        draft.outcomes.insert(self.deployment.meta.key.clone(), outcome);
    }

    fn tell_verdict(&self, draft: &mut Draft, verdict: &status::Verdict) {
        let was = &*self.deployment.status.is_progressing.reason;
        let is = &*verdict.status.is_progressing.reason;
        let about = id_of(self.deployment);
        if is == PROVEN && was != PROVEN {
            let count = verdict.status.available;
            draft.tell(&self.unit, about, "Ready", false, format!("all {count} pods of revision {} are ready", self.newest.max(1)));
        } else if is == LATE && was != LATE {
            draft.tell(&self.unit, about, "NotReadyInTime", true, verdict.status.is_progressing.message.to_string());
        } else if is == WORSE && was != WORSE {
            draft.tell(&self.unit, about, WORSE, true, verdict.status.is_progressing.message.to_string());
        } else if is == UNRESOLVED && verdict.status.is_progressing != self.deployment.status.is_progressing {
            draft.tell(&self.unit, about, UNRESOLVED, true, verdict.status.is_progressing.message.to_string());
        }
    }

    /// What keeps pods from being ready, in the words that people see.
    fn explain(&mut self, draft: &mut Draft, totals: Totals) {
        let pods = self.new.iter().chain(&self.old).flat_map(|group| group.active.iter().copied());
        self.waiting.extend(troubles(pods));
        if totals.ready < self.deployment.replicas && self.waiting.is_empty() {
            self.waiting.push(format!("{} of {} pods are ready", totals.ready, self.deployment.replicas));
        }
        for message in self.waiting.clone() {
            draft.wait(id_of(self.deployment), message);
        }
    }

    /// Removes what is older than the history that is kept.
    fn trim(&self, draft: &mut Draft) {
        let idle = self.old.iter().filter(|group| group.set.replicas == 0 && group.active.is_empty() && group.leaving == 0);
        for group in idle.skip(self.deployment.history) {
            let object = ObjectId { kind: "ReplicaSet", key: group.set.meta.key.clone() };
            let why = format!("only {} old revisions are kept", self.deployment.history);
            draft.act(&self.unit, Action::Delete { object, why: why.into() });
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "one step of Turnover::run, for old and new revisions alike")]
fn change_set<'a>(
    draft: &mut Draft<'a>,
    unit: &Unit,
    group: &mut Group<'a>,
    target: u32,
    revision: u64,
    on_node: &mut BTreeMap<Name, u32>,
    totals: &mut Totals,
    // Why its Deployment was changed last; `None` for an old revision.
    cause: Option<&Name>,
) {
    let set = group.set;
    let is_new = cause.is_some();
    let cause = cause.filter(|cause| **cause != set.cause).cloned().unwrap_or_else(|| "".into());
    let why = if is_new { "scaled down" } else { "replaced by a newer revision" };
    let missing = group.bring_to(draft, unit, target, on_node, why);
    create(draft, unit, &set.meta.key, &set.template, missing);
    let generation = set.meta.generation + i64::from(target != set.replicas);
    let status = group.status(generation, missing);
    if status != set.status || target != set.replicas || revision != set.revision || !cause.is_empty() {
        draft.act(unit, Action::ChangeSet { set: set.meta.key.clone(), replicas: target, revision, cause, status });
    }
    tell_scaled(draft, unit, &set.meta.key, set.replicas, target);
    totals.replicas += status.replicas;
    totals.ready += status.ready;
    totals.available += status.available;
    totals.asleep += group.asleep();
    totals.updated += if is_new { status.replicas } else { 0 };
}

fn tell_scaled(draft: &mut Draft, unit: &Unit, set: &Key, from: u32, to: u32) {
    let Unit::Deployment(key) = unit else { return };
    if from == to {
        return;
    }
    let about = ObjectId { kind: "Deployment", key: key.clone() };
    draft.tell(unit, about, "Scaled", false, format!("{} goes from {from} to {to} pods", set.name));
}

/// Names come from a hash of the template; one that is taken by another template gets the next.
fn new_set(draft: &Draft, deployment: &Deployment, image: Name, revision: u64, replicas: u32) -> NewSet {
    let key = &deployment.meta.key;
    let mut attempt = 0u32;
    loop {
        let hash = short_hash(&deployment.template.text, &image, attempt);
        let set = key.sibling(&format!("{}-{hash}", key.name));
        if !draft.snapshot.sets.contains_key(&set) {
            let status = SetStatus { observed: 1, replicas, ready: 0, available: 0 };
            return NewSet { deployment: key.clone(), set, hash: hash.into(), revision, image, replicas, status };
        }
        attempt += 1;
    }
}

/// Ten letters and digits that do not form words.
fn short_hash(text: &str, image: &str, attempt: u32) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::new().chain_update(text).chain_update([0]).chain_update(image).chain_update(attempt.to_be_bytes()).finalize();
    digest.iter().take(10).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}
