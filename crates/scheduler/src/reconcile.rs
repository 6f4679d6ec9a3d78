//! The loop: wait, snapshot, plan, apply.
//!
//! One turn takes in what the watch told, plans the units that it touched, and commits each unit's actions, all units at once,
//! so that the store syncs them together. What a commit wrote goes into the snapshot at once: the next turn never plans
//! against a state that it has changed itself.

mod apply;
mod clock;
mod follow;
mod lead;
mod status;
pub mod write;

use crate::freeze::Freezes;
use crate::model::{Name, Resolution, Snapshot, Unit};
use crate::objects::{self, Objects};
use crate::plan::plan_units;
use crate::store::Guard;
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

use clock::Clock;
use follow::Follower;
use lead::Lead;
pub use lead::Leading;

/// Turns an image as typed into an exact one.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// `ghcr.io/acme/web:2.0` → `ghcr.io/acme/web@sha256:…`; the error is a sentence for people.
    async fn resolve(&self, typed: &str) -> Result<String, String>;

    /// What an image imports and nodes do not offer, as a sentence; none where it needs no more than there is, or where that cannot
    /// be told from here.
    async fn unsupported(&self, _image: &str) -> Option<String> {
        None
    }

    /// Whether an image is a program that answers no requests, so far as that can be told from here.
    async fn is_program(&self, _image: &str) -> bool {
        false
    }
}

/// The API's one way to write an App, so that a roll back goes through the same expansion and checks as a deploy.
#[async_trait]
pub trait AppWriter: Send + Sync + 'static {
    /// Writes the spec of the App's ControllerRevision number `revision` (the App's generation that made it) as a new
    /// generation, with `why` in the annotation [`ROLLED_BACK`](crate::names::ROLLED_BACK), in one commit with its children.
    /// Changes nothing and answers [`Written::Stale`] when the App's generation is no longer `generation`: somebody deployed
    /// meanwhile. A deploy by a person takes the annotation away.
    async fn roll_back(&self, namespace: &str, app: &str, generation: i64, revision: i64, why: &str) -> Result<Written, String>;

    /// Makes what the App stands for and is no longer there, in one commit; what is there stays as it is.
    /// Changes nothing and answers [`Written::Stale`] when the App's generation is no longer `generation`.
    async fn remake(&self, namespace: &str, app: &str, generation: i64) -> Result<Written, String>;
}

/// What became of a write of an App.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is committed.
    Done,
    /// The App changed since the caller looked.
    Stale,
}

/// How long to wait before the store is asked again after it failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long a unit whose commit met a newer object waits for the watch to tell of it, at most.
const CONFLICT: Duration = Duration::from_millis(20);
/// Registries asked at once.
const ASKED_AT_ONCE: usize = 16;

/// Reconciles until `shutdown` ends: keeps a snapshot of all objects, plans when something changed or is due, and applies.
/// Nothing that fails ends it: it tries again. Of several servers over one store one does so at a time.
pub async fn run(objects: Objects, resolver: Arc<dyn Resolve>, apps: Arc<dyn AppWriter>, shutdown: impl Future<Output = ()> + Send) {
    run_as(objects, resolver, apps, Leading::default(), shutdown).await;
}

/// [`run`], that says in `leading` whether it leads.
pub async fn run_as(
    objects: Objects,
    resolver: Arc<dyn Resolve>,
    apps: Arc<dyn AppWriter>,
    leading: Leading,
    shutdown: impl Future<Output = ()> + Send,
) {
    tokio::pin!(shutdown);
    loop {
        let mut lead = tokio::select! {
            taken = Lead::take(objects.store()) => taken,
            () = &mut shutdown => return,
        };
        if let Ok(lead) = &mut lead {
            leading.set(true);
            let ended = tokio::select! {
                ended = reconcile(&objects, &resolver, &apps, lead.guard()) => Some(ended),
                ended = lead.keep() => Some(ended.into()),
                () = &mut shutdown => None,
            };
            leading.set(false);
            lead.give_up().await;
            let Some(error) = ended else { return };
            tracing::warn!(%error, "reconciling starts again");
        } else if let Err(error) = lead {
            tracing::warn!(%error, "nobody can be made the leader now");
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = &mut shutdown => return,
        }
    }
}

/// Until the watch breaks, another leader takes over or the store fails.
async fn reconcile(objects: &Objects, resolver: &Arc<dyn Resolve>, apps: &Arc<dyn AppWriter>, guard: Guard) -> objects::Error {
    match Leader::start(objects, resolver, apps, guard).await {
        Ok(mut leader) => loop {
            if let Err(error) = leader.turn().await {
                return error;
            }
        },
        Err(error) => error,
    }
}

type Asked = (crate::model::Key, Name);
/// What a registry said of a tag: its digest, or why not.
type Answer = (Asked, Result<String, String>);

struct Leader {
    hands: apply::Hands,
    resolver: Arc<dyn Resolve>,
    follower: Follower,
    snapshot: Snapshot,
    clock: Clock,
    wakes: BTreeMap<Unit, Duration>,
    answers: (mpsc::UnboundedSender<Answer>, mpsc::UnboundedReceiver<Answer>),
    registry: Arc<tokio::sync::Semaphore>,
    freezes: Freezes,
}

impl Leader {
    async fn start(objects: &Objects, resolver: &Arc<dyn Resolve>, apps: &Arc<dyn AppWriter>, guard: Guard) -> objects::Result<Leader> {
        let freezes = Freezes::start(objects.store()).await?;
        let mut clock = Clock::start();
        let mut snapshot = Snapshot::default();
        snapshot.set_wall(clock.wall().0, false);
        let follower = Follower::start(objects, &mut snapshot, clock.now()).await?;
        let everything = snapshot.all_units();
        everything.into_iter().for_each(|unit| snapshot.mark(unit));
        Ok(Leader {
            hands: apply::Hands { objects: objects.clone(), apps: apps.clone(), guards: vec![guard, Freezes::guard()] },
            resolver: resolver.clone(),
            follower,
            snapshot,
            clock,
            wakes: BTreeMap::new(),
            answers: mpsc::unbounded_channel(),
            registry: Arc::new(tokio::sync::Semaphore::new(ASKED_AT_ONCE)),
            freezes,
        })
    }

    async fn turn(&mut self) -> objects::Result<()> {
        self.wait().await?;
        let now = self.clock.now();
        let (wall, jumped) = self.clock.wall();
        self.snapshot.set_wall(wall, jumped);
        while let Ok(answer) = self.answers.1.try_recv() {
            self.take_answer(answer, now);
        }
        self.follower.drain(&mut self.snapshot, now)?;
        if self.freezes.is_frozen() {
            return Ok(());
        }
        let due: BTreeSet<Unit> = self.wakes.iter().filter(|(_, at)| **at <= now).map(|(unit, _)| unit.clone()).collect();
        due.into_iter().for_each(|unit| self.snapshot.mark(unit));
        let units = self.snapshot.take_dirty();
        if units.is_empty() {
            return Ok(());
        }
        for unit in &units {
            self.wakes.remove(unit);
        }
        let plan = plan_units(&self.snapshot, units, now);
        self.wakes.extend(plan.wakes);
        self.apply(plan.actions, now).await
    }

    /// Until something changed or is due.
    async fn wait(&mut self) -> objects::Result<()> {
        let frozen = self.freezes.is_frozen();
        if !self.snapshot.is_clean() && !frozen {
            return Ok(());
        }
        let now = self.clock.now();
        let pause = self.wakes.values().min().map_or(clock::TICK, |at| at.saturating_sub(now)).min(clock::TICK);
        let pause = if frozen { clock::TICK } else { pause };
        tokio::select! {
            changed = self.freezes.changed() => {
                changed?;
                // What was found out before may be long ago.
                let everything = self.snapshot.all_units();
                everything.into_iter().for_each(|unit| self.snapshot.mark(unit));
                Ok(())
            }
            changed = self.follower.next(&mut self.snapshot, now) => changed,
            Some(answer) = self.answers.1.recv() => {
                self.take_answer(answer, now);
                Ok(())
            }
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    fn take_answer(&mut self, (asked, answer): (Asked, Result<String, String>), now: Duration) {
        let tries = match self.snapshot.resolutions.get(&asked) {
            Some(Resolution::Failed { tries, .. }) => tries + 1,
            _ => 1,
        };
        let resolution = match answer {
            Ok(image) => Resolution::Done(image.into()),
            Err(why) => Resolution::Failed { why: why.into(), at: now, tries },
        };
        self.snapshot.mark(Unit::Deployment(asked.0.clone()));
        self.snapshot.resolutions.insert(asked, resolution);
    }

    /// Asks the registry beside the loop; the answer marks the Deployment.
    fn ask(&mut self, asked: Asked, image: Name) {
        // A failure stays on record until the next answer, so that the pauses between tries grow.
        if !matches!(self.snapshot.resolutions.get(&asked), Some(Resolution::Failed { .. })) {
            self.snapshot.resolutions.insert(asked.clone(), Resolution::Asked);
        }
        let (resolver, registry, answers) = (self.resolver.clone(), self.registry.clone(), self.answers.0.clone());
        tokio::spawn(async move {
            let _permit = registry.acquire().await;
            let answer = resolver.resolve(&image).await;
            // Nobody listens any more when the leader changed.
            let _ = answers.send((asked, answer));
        });
    }
}
