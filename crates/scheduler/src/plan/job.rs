//! One Job: pods until enough of them succeeded, or too many failed.
//!
//! A pod's end is counted once: the commit that adds it to the Job's status marks the pod. A pod that is lost with its node, or deleted, is
//! replaced and counts as nothing.

use super::Action;
use super::draft::{Creation, Draft};
use super::pods::{troubles, u32_of};
use crate::model::{Condition, Ending, Job, JobStatus, Key, ObjectId, Pod, Unit};
use std::time::Duration;

/// Ends that are counted in one go: they are in one commit with the Job.
const COUNTED_AT_ONCE: usize = 40;

pub(super) fn plan(draft: &mut Draft, key: &Key) {
    let snapshot = draft.snapshot;
    let Some(job) = snapshot.jobs.get(key).filter(|job| !job.meta.deleting && !snapshot.is_orphan(&job.meta)) else { return };
    let work = Work::new(draft, job);
    if job.ended().is_some() { work.clean(draft) } else { work.go_on(draft) }
}

struct Work<'a> {
    job: &'a Job,
    unit: Unit,
    /// Pods that run or wait.
    active: Vec<&'a Pod>,
    /// Pods whose end is not in the status yet.
    ended: Vec<&'a Pod>,
    leaving: u32,
}

impl<'a> Work<'a> {
    fn new(draft: &mut Draft<'a>, job: &'a Job) -> Work<'a> {
        let unit = Unit::Job(job.meta.key.clone());
        let mut work = Work { job, unit, active: Vec::new(), ended: Vec::new(), leaving: 0 };
        for pod in draft.snapshot.pods_of(&job.meta.uid) {
            match &pod.node {
                _ if pod.ended && !pod.counted => work.ended.push(pod),
                _ if pod.ended => {}
                _ if pod.meta.deleting => work.leaving += 1,
                Some(node) if draft.snapshot.is_lost(node) => {
                    draft.end_pod(&work.unit, pod, &format!("node {node} is lost"));
                    work.leaving += 1;
                }
                _ => work.active.push(pod),
            }
        }
        work.ended.truncate(COUNTED_AT_ONCE);
        work
    }

    fn id(&self) -> ObjectId {
        ObjectId { kind: "Job", key: self.job.meta.key.clone() }
    }

    /// A Job that is over keeps no pod running, and goes when its time has come.
    fn clean(mut self, draft: &mut Draft<'a>) {
        self.end_active(draft, 0, "its job is over");
        let (Some(over), Some(keep)) = (self.job.over, self.job.keep) else { return };
        if over + keep <= draft.now {
            let why = format!("it was over {} s ago", keep.as_secs());
            draft.act(&self.unit, Action::Delete { object: self.id(), why: why.into() });
        } else {
            draft.wake(&self.unit, over + keep);
        }
    }

    fn go_on(mut self, draft: &mut Draft<'a>) {
        let mut status = self.count();
        self.start(draft, &mut status);
        status.target = status.target.take().or_else(|| self.verdict(draft, &status));
        let mut made = 0;
        if status.target.is_some() {
            self.end_active(draft, 0, "its job is over");
        } else if self.job.suspended {
            self.end_active(draft, 0, "its job is suspended");
        } else {
            made = self.fill(draft, &status);
        }
        status.active = u32_of(self.active.len()) + made;
        status.ready = u32_of(self.active.iter().filter(|pod| pod.ready.is_some()).count());
        status.leaving = self.leaving;
        if status.active + status.leaving == 0 {
            self.conclude(draft, &mut status);
        }
        for message in troubles(self.active.iter().copied()) {
            draft.wait(self.id(), message);
        }
        if status != self.job.status {
            let counted = self.ended.iter().map(|pod| pod.meta.key.clone()).collect();
            draft.act(&self.unit, Action::WriteJob { job: self.job.meta.key.clone(), status: Box::new(status), counted });
        }
    }

    /// The status with what ended since.
    fn count(&self) -> JobStatus {
        let mut status = self.job.status.clone();
        for pod in &self.ended {
            match (pod.succeeded, pod.index.filter(|_| self.job.indexed)) {
                (true, Some(index)) => status.succeeded += u32::from(status.indexes.insert(index)),
                (true, None) => status.succeeded += 1,
                (false, _) => status.failed += 1,
            }
        }
        status
    }

    fn start(&self, draft: &mut Draft, status: &mut JobStatus) {
        let suspended = self.job.suspended;
        if suspended != status.suspended.unwrap_or(false) {
            let (reason, message) = if suspended { ("Suspended", "the job waits, without pods") } else { ("Resumed", "the job goes on") };
            draft.tell(&self.unit, self.id(), reason, false, message.to_owned());
            status.suspended = Some(suspended);
        }
        status.started = if suspended { None } else { status.started.or(Some(draft.snapshot.wall.as_second())) };
    }

    /// How it ends, if that is clear.
    fn verdict(&self, draft: &mut Draft, status: &JobStatus) -> Option<(Ending, Condition)> {
        let said = |reason, message| Condition::new("True", reason, message);
        let enough = match self.job.completions {
            Some(completions) => status.succeeded >= completions,
            None => status.succeeded > 0 && self.active.is_empty(),
        };
        if enough {
            return Some((Ending::Complete, said("CompletionsReached", "Reached expected number of succeeded pods")));
        }
        let restarts: u32 = self.active.iter().map(|pod| pod.restarts).sum();
        if status.failed.saturating_add(restarts) > self.job.retries {
            return Some((Ending::Failed, said("BackoffLimitExceeded", "Job has reached the specified backoff limit")));
        }
        let due = self.job.began.zip(self.job.deadline).filter(|_| !self.job.suspended).map(|(began, deadline)| began + deadline)?;
        if due <= draft.now {
            return Some((Ending::Failed, said("DeadlineExceeded", "Job was active longer than specified deadline")));
        }
        draft.wake(&self.unit, due);
        None
    }

    /// Ends pods that are too many and has the missing ones made; how many.
    fn fill(&mut self, draft: &mut Draft<'a>, status: &JobStatus) -> u32 {
        let wanted = match self.job.completions {
            Some(completions) => self.job.parallelism.min(completions.saturating_sub(status.succeeded)),
            None if status.succeeded > 0 => u32_of(self.active.len()).min(self.job.parallelism),
            None => self.job.parallelism,
        };
        self.end_active(draft, wanted as usize, "fewer may run at once");
        let missing = wanted.saturating_sub(u32_of(self.active.len()));
        if missing == 0 || self.waits(draft, status) {
            return 0;
        }
        let indexes = if self.job.indexed { self.free_indexes(status, missing) } else { Vec::new() };
        let (unit, set, claim) = (self.unit.clone(), self.job.meta.key.clone(), self.job.template.need.clone());
        draft.creations.push(Creation { unit, set, claim, count: missing, indexes });
        missing
    }

    /// Numbers of which no pod is at work and none has succeeded, the lowest first.
    fn free_indexes(&self, status: &JobStatus, missing: u32) -> Vec<u32> {
        let busy = |index: &u32| self.active.iter().any(|pod| pod.index == Some(*index));
        let open = (0..self.job.completions.unwrap_or(0)).filter(|index| !status.indexes.contains(index) && !busy(index));
        open.take(missing as usize).collect()
    }

    /// Whether a failure is too fresh for another pod.
    fn waits(&self, draft: &mut Draft, status: &JobStatus) -> bool {
        // Told first, with the time of it: the pause begins then.
        if status.failed > self.job.status.failed {
            return true;
        }
        let Some(failed) = self.job.failed else { return false };
        let (first, longest) = self.job.backoff;
        let doubled = 1u32 << status.failed.saturating_sub(1).min(20);
        let again = failed + first.saturating_mul(doubled).min(longest.max(Duration::ZERO));
        if again <= draft.now {
            return false;
        }
        draft.wait(
            self.id(),
            format!("a pod failed; the next comes after a pause, {} of {} retries are used", status.failed, self.job.retries),
        );
        draft.wake(&self.unit, again);
        true
    }

    /// Leaves at most `most` pods running: those that are furthest stay.
    fn end_active(&mut self, draft: &mut Draft<'a>, most: usize, why: &str) {
        self.active.sort_by_key(|pod| (pod.node.is_none(), pod.ready.is_none(), pod.ready, pod.meta.born, pod.meta.key.clone()));
        for pod in self.active.split_off(most.min(self.active.len())) {
            draft.end_pod(&self.unit, pod, why);
            self.leaving += 1;
        }
    }

    /// Says how it ended, now that its last pod is gone.
    fn conclude(&self, draft: &mut Draft, status: &mut JobStatus) {
        let Some((ending, said)) = status.target.clone() else { return };
        match ending {
            Ending::Complete => {
                status.completed = Some(draft.snapshot.wall.as_second());
                draft.tell(&self.unit, self.id(), "Completed", false, "Job completed".to_owned());
            }
            Ending::Failed => {
                let reason = if &*said.reason == "DeadlineExceeded" { "DeadlineExceeded" } else { "BackoffLimitExceeded" };
                draft.tell(&self.unit, self.id(), reason, true, said.message.to_string());
            }
        }
        status.end = Some((ending, said));
    }
}
