//! One CronJob: a Job for each tick, and only so many old ones.
//!
//! A tick runs once in the whole cluster: the commit that makes its Job also writes the tick into the status it was decided on, and the
//! Job's name is made of the tick. Clocks that are set back run no tick again.

use super::Action;
use super::draft::Draft;
use crate::cron::Schedule;
use crate::model::{CronJob, CronStatus, Ending, Job, Key, ObjectId, Overlap, Unit};
use jiff::Timestamp;
use std::time::Duration;

/// A last tick that is further ahead than this was written by a clock that was plainly wrong, and is forgotten.
const AHEAD: i64 = 24 * 3600;

pub(super) fn plan(draft: &mut Draft, key: &Key) {
    let snapshot = draft.snapshot;
    let Some(cron) = snapshot.cron_jobs.get(key).filter(|cron| !cron.meta.deleting && !snapshot.is_orphan(&cron.meta)) else { return };
    Clockwork::new(draft, cron).run(draft);
}

struct Clockwork<'a> {
    cron: &'a CronJob,
    unit: Unit,
    active: Vec<&'a Job>,
    ended: Vec<&'a Job>,
}

impl<'a> Clockwork<'a> {
    fn new(draft: &Draft<'a>, cron: &'a CronJob) -> Clockwork<'a> {
        let own = draft.snapshot.children(&cron.meta.uid).filter(|id| id.kind == "Job");
        let jobs = own.filter_map(|id| draft.snapshot.jobs.get(&id.key)).map(|job| &**job).filter(|job| !job.meta.deleting);
        let (ended, active) = jobs.partition(|job| job.ended().is_some());
        Clockwork { cron, unit: Unit::CronJob(cron.meta.key.clone()), active, ended }
    }

    fn id(&self) -> ObjectId {
        ObjectId { kind: "CronJob", key: self.cron.meta.key.clone() }
    }

    fn run(mut self, draft: &mut Draft<'a>) {
        let mut last = self.cron.status.last;
        if !self.cron.suspended {
            match Schedule::read(&self.cron.schedule, self.cron.zone.as_deref()) {
                Ok(schedule) => last = self.tick(draft, &schedule),
                Err(why) => draft.wait(self.id(), why),
            }
        }
        self.trim(draft);
        let reference = |job: &&Job| (job.meta.key.name.clone(), job.meta.uid.clone());
        let succeeded = self.ended.iter().filter_map(|job| job.status.completed).max().max(self.cron.status.succeeded);
        let status = CronStatus { active: self.active.iter().map(reference).collect(), last, succeeded };
        if status != self.cron.status {
            draft.act(&self.unit, Action::WriteCronJob { cron: self.cron.meta.key.clone(), status });
        }
    }

    /// Runs the tick that is due, if one is; gives the last tick that ran, or is passed over.
    fn tick(&mut self, draft: &mut Draft<'a>, schedule: &Schedule) -> Option<i64> {
        let wall = draft.snapshot.wall;
        if let Some(next) = schedule.after(wall) {
            let pause = Duration::try_from(next.duration_since(wall)).unwrap_or_default();
            draft.wake(&self.unit, draft.now + pause);
        }
        let before = self.cron.status.last;
        let Some(due) = schedule.last(self.earliest(wall), wall).map(Timestamp::as_second) else { return before };
        let job = self.cron.meta.key.sibling(&format!("{}-{}", self.cron.meta.key.name, due / 60));
        if draft.snapshot.jobs.contains_key(&job) {
            return Some(due);
        }
        match self.cron.overlap {
            Overlap::Forbid if !self.active.is_empty() => {
                let busy = &self.active[0].meta.key.name;
                draft.wait(self.id(), format!("the tick of {} waits: {busy} is still at work", shown(due)));
                self.tell_once(draft, due, format!("the tick of {} waits, or is left out: {busy} is still at work", shown(due)));
                return before;
            }
            Overlap::Replace => {
                for old in std::mem::take(&mut self.active) {
                    let why = format!("the tick of {} takes its place", shown(due));
                    delete(draft, &self.unit, old, why);
                }
            }
            Overlap::Allow | Overlap::Forbid => {}
        }
        draft.tell(&self.unit, self.id(), "SuccessfulCreate", false, format!("Created job {}", job.name));
        draft.act(&self.unit, Action::CreateJob { cron: self.cron.meta.key.clone(), job, tick: due });
        Some(due)
    }

    /// After this a tick counts as missed and still runs: after the last one, and no later than allowed.
    fn earliest(&self, wall: Timestamp) -> Timestamp {
        let now = wall.as_second();
        let from = match self.cron.status.last {
            Some(last) if last > now + AHEAD => now,
            Some(last) => last,
            None => self.cron.meta.born,
        };
        // A tick is seen a moment after its time at best.
        let latest = self.cron.latest.map_or(i64::MIN, |latest| now.saturating_sub(latest).saturating_sub(1));
        Timestamp::from_second(from.max(latest)).unwrap_or(wall)
    }

    fn tell_once(&self, draft: &mut Draft, due: i64, message: String) {
        let name = format!("{}.busy-{}", self.cron.meta.key.name, due / 60);
        let event = ObjectId { kind: "Event", key: self.cron.meta.key.sibling(&name) };
        if !draft.snapshot.others.contains_key(&event) {
            let name = Some(event.key.name);
            draft.act(&self.unit, Action::Tell { about: self.id(), reason: "JobAlreadyActive", message, warning: false, name });
        }
    }

    /// Removes what is older than the history that is kept.
    fn trim(&mut self, draft: &mut Draft<'a>) {
        self.ended.sort_by(|a, b| (b.meta.born, &b.meta.key).cmp(&(a.meta.born, &a.meta.key)));
        for (ending, kept) in [(Ending::Complete, self.cron.history.0), (Ending::Failed, self.cron.history.1)] {
            for old in self.ended.iter().filter(|job| job.ended() == Some(ending)).skip(kept) {
                delete(draft, &self.unit, old, format!("only {kept} such jobs are kept"));
            }
        }
    }
}

fn delete(draft: &mut Draft, unit: &Unit, job: &Job, why: String) {
    let object = ObjectId { kind: "Job", key: job.meta.key.clone() };
    draft.act(unit, Action::Delete { object, why: why.into() });
}

fn shown(seconds: i64) -> String {
    Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
