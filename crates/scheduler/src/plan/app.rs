//! One App: what it says of itself, and its way back when a revision does not work.

use super::Action;
use super::draft::{Draft, Outcome};
use super::pods::u32_of;
use crate::model::{App, AppStatus, Ending, Job, Key, Name, ObjectId, OnFailure, Phase, ServiceStatus, Snapshot, Unit};
use crate::names;
use std::time::Duration;

pub(super) fn plan(draft: &mut Draft, key: &Key) {
    let Some(app) = draft.snapshot.apps.get(key) else { return };
    if app.meta.deleting {
        return;
    }
    let unit = Unit::App(key.clone());
    let view = View::new(draft, app);
    let back = view.way_back();
    let status = view.status(back);
    let message = status.message.clone();
    let missing = view.missing.clone();
    let about = ObjectId { kind: "App", key: key.clone() };
    if let Some(to) = back {
        let why = Name::from(message.as_str());
        draft.act(&unit, Action::RollBack { app: key.clone(), generation: app.meta.generation, to, why });
        draft.tell(&unit, about, "RolledBack", true, message);
        // The way back is a new generation, and that one's status is written next.
        return;
    }
    if status.phase != app.status.phase && status.phase == Phase::Failed {
        draft.tell(&unit, about, "Failed", true, message);
    } else if status.phase != app.status.phase && status.phase == Phase::Ready {
        draft.tell(&unit, about, "Ready", false, message);
    }
    // A generation that was seen before was there as a whole; of a new one not all may have been told yet.
    if !missing.is_empty() && app.status.observed == app.meta.generation && !draft.snapshot.is_going(&key.namespace) {
        let why = missing.join("; ");
        if !app.status.waiting.contains(&missing[0]) {
            draft.tell(&unit, ObjectId { kind: "App", key: key.clone() }, "Missing", true, why.clone());
        }
        draft.act(&unit, Action::Remake { app: key.clone(), generation: app.meta.generation, why: why.as_str().into() });
        draft.wake(&unit, draft.now + AGAIN);
    }
    for message in status.waiting.clone() {
        draft.wait(ObjectId { kind: "App", key: key.clone() }, message);
    }
    if status != app.status {
        draft.act(&unit, Action::WriteApp { app: key.clone(), status });
    }
}

struct View<'d> {
    app: &'d App,
    services: Vec<(String, &'d Key, &'d Outcome)>,
    /// Generations that can come back.
    kept: Vec<i64>,
    /// What it stands for and is not there, or not its own: a sentence each.
    missing: Vec<String>,
    /// Its jobs that run once.
    jobs: Vec<&'d Job>,
    /// Its jobs that run by the clock, with the runs that are at work.
    cron: Vec<(String, u32)>,
}

impl<'d> View<'d> {
    fn new(draft: &'d Draft, app: &'d App) -> View<'d> {
        let snapshot = draft.snapshot;
        let children = || snapshot.children(&app.meta.uid);
        let deployments = children().filter(|id| id.kind == "Deployment").filter_map(|id| {
            let labels = &snapshot.deployments.get(&id.key)?.meta.labels;
            let service = labels.get(names::SERVICE).cloned().unwrap_or_else(|| id.key.name.to_string());
            Some((service, &id.key, draft.outcomes.get(&id.key)?))
        });
        let kept = children().filter(|id| id.kind == "ControllerRevision").filter_map(|id| Some(snapshot.revisions.get(&id.key)?.number));
        let missing = app.parts.iter().filter_map(|id| lacks(draft.snapshot, app, id)).collect();
        let cron = children().filter(|id| id.kind == "CronJob").filter_map(|id| snapshot.cron_jobs.get(&id.key)).map(|cron| {
            let service = cron.meta.labels.get(names::SERVICE).cloned().unwrap_or_else(|| cron.meta.key.name.to_string());
            (service, u32_of(cron.status.active.len()))
        });
        let jobs = children().filter(|id| id.kind == "Job").filter_map(|id| snapshot.jobs.get(&id.key)).map(|job| &**job);
        View { app, services: deployments.collect(), kept: kept.collect(), missing, jobs: jobs.collect(), cron: cron.collect() }
    }

    fn all(&self, test: impl Fn(&Outcome) -> bool) -> bool {
        self.services.len() >= self.app.services && self.services.iter().all(|(.., outcome)| test(outcome))
    }

    fn late(&self) -> Option<&(String, &'d Key, &'d Outcome)> {
        self.services.iter().find(|(.., outcome)| outcome.late)
    }

    /// The generation to go back to: the last good one, once, when a service of this one is late.
    fn way_back(&self) -> Option<i64> {
        let wanted = self.services.iter().any(|(.., o)| o.late && o.on_failure == OnFailure::RollBack);
        let good = self.app.status.good.filter(|good| *good < self.app.meta.generation && self.kept.contains(good))?;
        (wanted && self.app.rolled_back.is_none()).then_some(good)
    }

    fn status(&self, back: Option<i64>) -> AppStatus {
        let was = &self.app.status;
        let phase = self.phase(back);
        // A generation is good once each template of it has worked, whether or not all its pods are there just now.
        let good = if self.all(|o| o.proven) { Some(self.app.meta.generation) } else { was.good };
        let waiting: Vec<String> = if matches!(phase, Phase::Ready | Phase::RolledBack) {
            Vec::new()
        } else {
            let services = self.services.iter().flat_map(|(_, key, o)| o.waiting.iter().map(move |line| format!("{}: {line}", key.name)));
            self.missing.iter().cloned().chain(services).collect()
        };
        AppStatus {
            phase,
            observed: self.app.meta.generation,
            good,
            services: self
                .services
                .iter()
                .map(|(name, _, outcome)| (name.clone(), service(outcome)))
                .chain(self.jobs.iter().map(|job| run(job)))
                .chain(
                    self.cron.iter().map(|(name, active)| (name.clone(), ServiceStatus { updated: *active, ..ServiceStatus::default() })),
                )
                .collect(),
            message: self.message(phase, back),
            waiting,
        }
    }

    fn phase(&self, back: Option<i64>) -> Phase {
        // A job at work holds nothing up; one that failed is a failure of the app.
        let failed = self.failed_job().is_some();
        if self.missing.is_empty() && self.all(|o| o.complete) && !failed {
            return if self.app.rolled_back.is_some() { Phase::RolledBack } else { Phase::Ready };
        }
        if (self.late().is_some() || failed) && back.is_none() { Phase::Failed } else { Phase::Progressing }
    }

    /// Why one of its jobs failed.
    fn failed_job(&self) -> Option<String> {
        let ended = |job: &&Job| Some((job.meta.key.name.clone(), job.status.end.clone()?));
        let mut failed = self.jobs.iter().filter_map(ended).filter(|(_, (ending, _))| *ending == Ending::Failed);
        failed.next().map(|(name, (_, said))| format!("job {name} failed: {}", said.message))
    }

    fn message(&self, phase: Phase, back: Option<i64>) -> String {
        let late = self.late().map(|(_, key, outcome)| failure(key, outcome));
        let failure = late.or_else(|| self.failed_job()).unwrap_or_default();
        match (phase, back, &self.app.rolled_back) {
            (_, Some(to), _) => format!("{failure}: going back to revision {to}"),
            (Phase::RolledBack, _, Some(why)) => format!("rolled back: {why}"),
            (Phase::Failed, ..) => failure,
            (Phase::Ready, ..) if !self.services.is_empty() && self.all(|o| o.status.asleep) => names::SLEEPS.to_owned(),
            (Phase::Ready, ..) => "all services are ready".to_owned(),
            _ if !self.missing.is_empty() => self.missing.join("; "),
            (_, _, Some(why)) => format!("rolling back: {why}"),
            _ => {
                let ready = self.services.iter().filter(|(.., o)| o.complete).count();
                format!("{ready} of {} services are ready", self.services.len().max(self.app.services))
            }
        }
    }
}

/// How long until an App looks again whether what is in its way has gone.
const AGAIN: Duration = Duration::from_secs(5);

/// What is wrong with one of the objects that an App stands for.
fn lacks(snapshot: &Snapshot, app: &App, id: &ObjectId) -> Option<String> {
    let kind = id.kind.to_ascii_lowercase();
    match snapshot.meta(id) {
        None => Some(format!("{kind} {} is gone and is made again", id.key.name)),
        Some(meta) if meta.owner.as_ref().is_some_and(|owner| owner.uid == app.meta.uid) => None,
        Some(_) => Some(format!("{kind} {} is not the app's own; delete it, and the app makes its own", id.key.name)),
    }
}

fn failure(key: &Key, outcome: &Outcome) -> String {
    if let Some(why) = &outcome.worse {
        return format!("{}: {why}", key.name);
    }
    let why = outcome.waiting.first().map(|line| format!(" ({line})")).unwrap_or_default();
    format!("{} was not ready in time{why}", key.name)
}

fn service(outcome: &Outcome) -> ServiceStatus {
    let status = &outcome.status;
    ServiceStatus {
        ready: status.ready,
        desired: outcome.desired,
        updated: status.updated,
        revision: outcome.revision,
        asleep: status.asleep,
    }
}

/// A job in the words of a service: pods that succeeded, of those that it takes.
fn run(job: &Job) -> (String, ServiceStatus) {
    let name = job.meta.labels.get(names::SERVICE).cloned().unwrap_or_else(|| job.meta.key.name.to_string());
    let desired = job.completions.unwrap_or(1);
    (name, ServiceStatus { ready: job.status.succeeded, desired, updated: job.status.active, revision: 1, asleep: false })
}
