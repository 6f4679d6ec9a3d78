//! redb against the simplest store that could be right: a list of every change.

use std::collections::BTreeMap;

use proptest::prelude::*;
use scheduler::store::Next;

use super::*;

/// What happens to both.
#[derive(Debug, Clone)]
enum Step {
    Commit { guards: Vec<(u8, Option<u8>)>, ops: Vec<(u8, Option<u8>)> },
    Compact { back: u64 },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pairs = |most| proptest::collection::vec((0..8u8, proptest::option::of(0..4u8)), 0..most);
    let step = prop_oneof![
        12 => (pairs(2), pairs(5)).prop_map(|(guards, ops)| Step::Commit { guards, ops }),
        2 => (0..12u64).prop_map(|back| Step::Compact { back }),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Every state that there was: the items after each revision, and its events.
#[derive(Default)]
struct Model {
    states: Vec<BTreeMap<String, Item>>,
    events: Vec<Event>,
    compacted: Revision,
}

impl Model {
    fn new() -> Model {
        Model { states: vec![BTreeMap::new()], ..Model::default() }
    }

    fn revision(&self) -> Revision {
        self.states.len() as u64 - 1
    }

    fn commit(&mut self, guards: &[Guard], ops: &[Op]) -> Commit {
        let now = self.states.last().unwrap();
        for guard in guards {
            let holds = match guard {
                Guard::Exists(key) => now.contains_key(key),
                Guard::Absent(key) => !now.contains_key(key),
                Guard::Modified(key, revision) => now.get(key).is_some_and(|item| item.modified == *revision),
            };
            if !holds {
                return Commit::Conflict(guard.key().to_owned());
            }
        }
        let (mut next, revision) = (now.clone(), self.revision() + 1);
        let mut events = Vec::new();
        for (ordinal, op) in (0..).zip(ops) {
            let previous = next.get(op.key()).cloned();
            let item = match op {
                Op::Delete { .. } => None,
                Op::Put { key, value, .. } => {
                    let created = previous.as_ref().map_or(revision, |item| item.created);
                    Some(Item { key: key.clone(), value: value.clone(), created, modified: revision })
                }
            };
            match &item {
                Some(item) => drop(next.insert(item.key.clone(), item.clone())),
                None => drop(next.remove(op.key())),
            }
            if item.is_some() || previous.is_some() {
                events.push(Event { revision, ordinal, item, previous });
            }
        }
        if !events.is_empty() {
            self.states.push(next);
            self.events.extend(events);
        }
        Commit::Done(self.revision())
    }
}

/// Guards and ops in terms of the model: a guard without a number asks that the key be absent, 0 that it exist, else that it was
/// modified that many revisions ago; each key at most once among the ops.
fn translate(model: &Model, guards: &[(u8, Option<u8>)], ops: &[(u8, Option<u8>)]) -> (Vec<Guard>, Vec<Op>) {
    let key = |n: &u8| format!("/k/{n}");
    let guards = guards.iter().map(|(n, want)| match want {
        None => Guard::Absent(key(n)),
        Some(0) => Guard::Exists(key(n)),
        Some(back) => Guard::Modified(key(n), (model.revision() + 1).saturating_sub(u64::from(*back))),
    });
    let ops: BTreeMap<_, _> = ops.iter().cloned().collect();
    let ops = ops.iter().map(|(n, value)| value.map_or_else(|| delete(&key(n)), |value| put(&key(n), &value.to_string())));
    (guards.collect(), ops.collect())
}

/// All that can be seen of the store is as the model says.
async fn compare(store: &dyn Store, model: &Model) {
    for (revision, state) in model.states.iter().enumerate() {
        let revision = revision as u64;
        let page = store.list("/k/", 0, Some(Next { revision, after: "/k/".to_owned() })).await;
        if revision < model.compacted {
            assert!(matches!(page, Err(Error::Compacted { .. })), "{page:?}");
            continue;
        }
        assert_eq!(page.unwrap().items, state.values().cloned().collect::<Vec<_>>(), "at revision {revision}");
        let mut watch = store.watch("", revision);
        for expected in model.events.iter().filter(|event| event.revision > revision) {
            assert_eq!(&next_event(&mut watch).await, expected);
        }
        assert!(futures::poll!(watch.next()).is_pending());
    }
}

async fn story(steps: Vec<Step>) {
    let engine = Engine::redb();
    let (mut store, mut model) = (engine.open(), Model::new());
    for step in steps {
        match step {
            Step::Commit { guards, ops } => {
                let (guards, ops) = translate(&model, &guards, &ops);
                let expected = model.commit(&guards, &ops);
                assert_eq!(store.commit(guards, ops).await.unwrap(), expected);
            }
            Step::Compact { back } => {
                let revision = model.revision().saturating_sub(back);
                model.compacted = model.compacted.max(revision);
                store.compact(revision).await.unwrap();
            }
            Step::Reopen => {
                drop(store);
                store = engine.open();
            }
        }
    }
    compare(&*store, &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn redb_does_what_the_model_does(steps in steps()) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(story(steps));
    }
}
