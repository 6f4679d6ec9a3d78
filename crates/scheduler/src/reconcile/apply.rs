//! Carries a plan out: each unit's actions in one commit, all units at once.

use super::lead::LEADER;
use super::write::{Fresh, kind_of, reads, writes};
use super::{AppWriter, CONFLICT, Leader, Written};
use crate::freeze;
use crate::model::{Key, ObjectId, Snapshot, Unit};
use crate::objects::{Error, Object, Objects, Result, Write};
use crate::plan::{Action, Step};
use crate::store::Guard;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Writes of one commit, with room for guards.
const WRITES: usize = 100;
/// Bytes of one commit, with room for what the store adds.
const BYTES: usize = 1_000_000;

/// What it takes to carry out a plan, without the loop's own state.
pub(super) struct Hands {
    pub objects: Objects,
    pub apps: Arc<dyn AppWriter>,
    /// Hold while nobody else leads, and nothing is frozen.
    pub guards: Vec<Guard>,
}

/// What came of one unit.
struct Applied {
    unit: Unit,
    written: Vec<Object>,
    removed: Vec<ObjectId>,
    result: Result<()>,
}

impl Leader {
    pub(super) async fn apply(&mut self, steps: Vec<Step>, now: Duration) -> Result<()> {
        let mut units: BTreeMap<Unit, Vec<Action>> = BTreeMap::new();
        for Step { unit, action } in steps {
            match action {
                Action::Resolve { deployment, typed, image } => self.ask((deployment, typed), image),
                Action::Advise { scaler, advice } => drop(self.snapshot.advice.insert(scaler, Arc::new(advice))),
                action => units.entry(unit).or_default().push(action),
            }
        }
        let mut applied = Vec::new();
        {
            let (hands, snapshot) = (&self.hands, &self.snapshot);
            let mut running: FuturesUnordered<_> = units.into_iter().map(|(unit, actions)| hands.apply(snapshot, unit, actions)).collect();
            while let Some(one) = running.next().await {
                applied.push(one);
            }
        }
        for one in applied {
            self.note(one, now)?;
        }
        Ok(())
    }

    /// Takes the outcome into the snapshot; a unit that met a newer object is planned again once the watch told of it.
    fn note(&mut self, applied: Applied, now: Duration) -> Result<()> {
        let Applied { unit, written, removed, result } = applied;
        self.follower.wrote(written, removed, &mut self.snapshot, now);
        match result {
            Ok(()) => Ok(()),
            Err(Error::Conflict { .. } | Error::NotFound { .. } | Error::AlreadyExists { .. }) => {
                self.again(unit, now + CONFLICT);
                Ok(())
            }
            // What the plan wants is planned again when it thaws.
            Err(Error::GuardFailed { key }) if key == freeze::KEY => Ok(()),
            Err(Error::GuardFailed { key }) if key != LEADER => {
                self.again(unit, now + CONFLICT);
                Ok(())
            }
            Err(error @ (Error::TooLarge(_) | Error::Invalid(_) | Error::Unreadable { .. })) => {
                tracing::error!(?unit, %error, "a decision cannot be carried out");
                self.again(unit, now + Duration::from_secs(5));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn again(&mut self, unit: Unit, at: Duration) {
        let wake = self.wakes.entry(unit).or_insert(at);
        *wake = at.min(*wake);
    }
}

impl Hands {
    async fn apply(&self, snapshot: &Snapshot, unit: Unit, actions: Vec<Action>) -> Applied {
        let mut applied = Applied { unit, written: Vec::new(), removed: Vec::new(), result: Ok(()) };
        applied.result = self.carry_out(snapshot, actions, &mut applied).await;
        applied
    }

    async fn carry_out(&self, snapshot: &Snapshot, actions: Vec<Action>, applied: &mut Applied) -> Result<()> {
        // What the API writes for us is not guarded by the keys, so they are looked at before.
        if actions.iter().any(|action| matches!(action, Action::RollBack { .. } | Action::Remake { .. })) {
            self.objects.commit(self.guards.iter().cloned().map(Write::Guard).collect()).await?;
        }
        for action in &actions {
            if let Action::RollBack { app, generation, to, why } = action {
                self.roll_back(app, *generation, *to, why).await?;
            }
        }
        let mut found = BTreeMap::new();
        for id in reads(actions.iter(), snapshot) {
            if let Some(object) = get(&self.objects, &id).await? {
                found.insert(id, object);
            }
        }
        let all = build(&actions, found, snapshot)?;
        for writes in split(all) {
            let removed = removals(&writes);
            let guarded = self.guards.iter().cloned().map(Write::Guard).chain(writes).collect();
            let written = self.objects.commit(guarded).await?;
            applied.written.extend(written);
            applied.removed.extend(removed);
        }
        // Last: that something is missing is told even if it cannot be made again.
        for action in &actions {
            if let Action::Remake { app, generation, .. } = action {
                self.remake(app, *generation).await?;
            }
        }
        Ok(())
    }

    async fn remake(&self, app: &Key, generation: i64) -> Result<()> {
        match self.apps.remake(&app.namespace, &app.name, generation).await {
            Ok(Written::Done) => Ok(()),
            Ok(Written::Stale) => Err(conflict("App", app)),
            Err(error) => Err(Error::Invalid(format!("making again what app {app} stands for: {error}"))),
        }
    }

    async fn roll_back(&self, app: &Key, generation: i64, to: i64, why: &str) -> Result<()> {
        match self.apps.roll_back(&app.namespace, &app.name, generation, to, why).await {
            Ok(Written::Done) => Ok(()),
            Ok(Written::Stale) => Err(conflict("App", app)),
            Err(error) => Err(Error::Invalid(format!("rolling {app} back to revision {to}: {error}"))),
        }
    }
}

fn conflict(kind: &'static str, key: &Key) -> Error {
    Error::Conflict { kind, name: format!("{}/{}", key.namespace, key.name) }
}

async fn get(objects: &Objects, id: &ObjectId) -> Result<Option<Object>> {
    match kind_of(id) {
        Some(kind) => objects.get(kind, &id.key.namespace, &id.key.name).await,
        None => Ok(None),
    }
}

fn build(actions: &[Action], found: BTreeMap<ObjectId, Object>, snapshot: &Snapshot) -> Result<Vec<Write>> {
    let mut uid = || uuid::Uuid::new_v4().to_string();
    let mut letters = suffix;
    let mut fresh = Fresh { uid: &mut uid, suffix: &mut letters, now: jiff::Timestamp::now() };
    writes(actions, found, snapshot, &mut fresh).map_err(|stale| conflict(stale.0.kind, &stale.0.key))
}

/// Five letters and digits that do not form words.
fn suffix() -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect()
}

fn removals(writes: &[Write]) -> Vec<ObjectId> {
    let removal = |write: &Write| match write {
        Write::Delete { kind, namespace, name, .. } => Some(ObjectId::new(kind, Key::new(namespace, name))),
        _ => None,
    };
    writes.iter().filter_map(removal).collect()
}

/// Cut so that each part fits in a commit. Guards of the actions stand at the end and concern single writes: such batches are small.
fn split(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut parts: Vec<Vec<Write>> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let size = match &write {
            Write::Create(object) | Write::Update(object) => object.0.to_string().len() + 512,
            _ => 512,
        };
        match parts.last_mut() {
            Some(part) if part.len() < WRITES && bytes + size <= BYTES => {
                bytes += size;
                part.push(write);
            }
            _ => {
                bytes = size;
                parts.push(vec![write]);
            }
        }
    }
    parts
}
