//! What nobody needs any more: objects without their owner, namespaces that are to go, old generations of Apps, too many Events.

use super::Action;
use super::draft::Draft;
use crate::model::{Key, Name, ObjectId, Unit};

/// Generations of an App that are kept.
const HISTORY: usize = 10;
/// Events of a namespace that are kept; trimming begins when there are a tenth more.
const EVENTS: usize = 500;

pub(super) fn orphan(draft: &mut Draft, id: &ObjectId) {
    let snapshot = draft.snapshot;
    let Some(meta) = snapshot.meta(id) else { return };
    let unit = Unit::Orphan(id.clone());
    let has_children = snapshot.children(&meta.uid).next().is_some();
    if meta.foreground && !has_children {
        let why = "everything that it owned is gone".into();
        return draft.act(&unit, Action::Release { object: id.clone(), why });
    }
    if !snapshot.is_orphan(meta) {
        return;
    }
    let there = meta.owner.as_ref().is_some_and(|owner| snapshot.by_uid(&owner.uid).is_some());
    // What is deleted from below up waits for what it owns itself.
    if there && has_children {
        return;
    }
    let what = if there { "being deleted" } else { "gone" };
    let owner = meta.owner.as_ref().map(|owner| format!("its {} {} is {what}", owner.kind, owner.name)).unwrap_or_default();
    match snapshot.pods.get(&id.key).filter(|_| id.kind == "Pod") {
        Some(pod) => draft.end_pod(&unit, pod, &owner),
        None if meta.deleting => {}
        None => draft.act(&unit, Action::Delete { object: id.clone(), why: owner.into() }),
    }
}

/// Empties a namespace, then removes it: what a server left half done that ended in the middle, and what was under way meanwhile.
pub(super) fn namespace(draft: &mut Draft, name: &Name) {
    let snapshot = draft.snapshot;
    if !snapshot.is_going(name) {
        return;
    }
    let unit = Unit::Namespace(name.clone());
    let why = format!("its namespace {name} is being deleted");
    let mut empty = true;
    for (id, meta) in snapshot.inside(name) {
        empty = false;
        match snapshot.pods.get(&id.key).filter(|_| id.kind == "Pod") {
            Some(pod) => draft.end_pod(&unit, pod, &why),
            None if meta.deleting => {}
            None => draft.act(&unit, Action::Delete { object: id, why: why.as_str().into() }),
        }
    }
    if empty {
        let object = ObjectId { kind: "Namespace", key: Key { namespace: "".into(), name: name.clone() } };
        draft.act(&unit, Action::Delete { object, why: "nothing is left in it".into() });
    }
}

pub(super) fn history(draft: &mut Draft, key: &Key) {
    let snapshot = draft.snapshot;
    let Some(app) = snapshot.apps.get(key) else { return };
    let owned = snapshot.children(&app.meta.uid).filter(|id| id.kind == "ControllerRevision");
    let mut revisions: Vec<_> = owned.filter_map(|id| snapshot.revisions.get(&id.key)).collect();
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    let needed = |number: i64| Some(number) == app.status.good || number == app.meta.generation;
    // What was merely scaled later goes first: however often an app is scaled, there is a rollout to go back to. The newest of
    // those that are alike stays, since it has the number that people know and the mark of a failure.
    let (rollouts, scales): (Vec<_>, Vec<_>) =
        (0..revisions.len()).partition(|i| i.checked_sub(1).is_none_or(|newer| revisions[newer].rollout != revisions[*i].rollout));
    let surplus = revisions.len().saturating_sub(HISTORY);
    let oldest_first = scales.into_iter().rev().chain(rollouts.into_iter().rev()).map(|i| revisions[i]);
    for revision in oldest_first.filter(|revision| !needed(revision.number)).take(surplus) {
        let object = ObjectId { kind: "ControllerRevision", key: revision.meta.key.clone() };
        let why = format!("only {HISTORY} generations are kept");
        draft.act(&Unit::History(key.clone()), Action::Delete { object, why: why.into() });
    }
}

pub(super) fn events(draft: &mut Draft, namespace: &Name) {
    let first = ObjectId { kind: "Event", key: Key { namespace: namespace.clone(), name: "".into() } };
    let all = draft.snapshot.others.range(first..).take_while(|(id, _)| id.kind == "Event" && id.key.namespace == *namespace);
    let mut all: Vec<_> = all.map(|(id, meta)| (meta.version, id)).collect();
    if all.len() <= EVENTS + EVENTS / 10 {
        return;
    }
    all.sort();
    let surplus = all.len() - EVENTS;
    for (_, id) in all.into_iter().take(surplus) {
        let why = format!("only {EVENTS} events are kept");
        draft.act(&Unit::Events(namespace.clone()), Action::Delete { object: id.clone(), why: why.into() });
    }
}
