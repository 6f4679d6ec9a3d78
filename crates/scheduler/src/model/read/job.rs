//! Jobs and CronJobs as JSON to the small structs.

use super::{annotation, condition, count, count_or, find_condition, flag, items, template, text};
use crate::model::{CronJob, CronStatus, Ending, Job, JobStatus, Meta, Name, Overlap};
use crate::names;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Kubernetes' waits between a failure and the next pod.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(360));

pub(super) fn job(meta: Meta, object: &Value) -> Job {
    let spec = &object["spec"];
    let number = |at: &str| spec.pointer(at).filter(|value| value.is_number()).map(|_| count(spec, at));
    let length = |at: &str| number(at).map(|seconds| Duration::from_secs(u64::from(seconds)));
    Job {
        parallelism: count_or(spec, "/parallelism", 1),
        completions: number("/completions"),
        indexed: text(spec, "/completionMode") == "Indexed",
        retries: count_or(spec, "/backoffLimit", 6),
        deadline: length("/activeDeadlineSeconds"),
        keep: length("/ttlSecondsAfterFinished"),
        suspended: flag(spec, "/suspend"),
        backoff: annotation(&spec["template"], names::BACKOFF).and_then(backoff).unwrap_or(BACKOFF),
        template: template(&spec["template"]),
        status: status(&object["status"]),
        end_stamp: ["Complete", "Failed"].iter().find_map(|kind| time(find_condition(&object["status"], kind)?, "/lastTransitionTime")),
        began: None,
        over: None,
        failed: None,
        meta,
    }
}

/// `100ms..30s`.
fn backoff(text: &str) -> Option<(Duration, Duration)> {
    let (first, longest) = text.split_once("..")?;
    Some((super::duration(first), super::duration(longest)))
}

fn time(value: &Value, at: &str) -> Option<i64> {
    text(value, at).parse::<Timestamp>().ok().map(Timestamp::as_second)
}

fn status(status: &Value) -> JobStatus {
    let holds = |kind: &str, ending| Some((ending, condition(status, kind))).filter(|(_, condition)| condition.is_true());
    JobStatus {
        active: count(status, "/active"),
        ready: count(status, "/ready"),
        leaving: count(status, "/terminating"),
        succeeded: count(status, "/succeeded"),
        failed: count(status, "/failed"),
        indexes: indexes(text(status, "/completedIndexes")),
        started: time(status, "/startTime"),
        completed: time(status, "/completionTime"),
        target: holds("SuccessCriteriaMet", Ending::Complete).or_else(|| holds("FailureTarget", Ending::Failed)),
        end: holds("Complete", Ending::Complete).or_else(|| holds("Failed", Ending::Failed)),
        suspended: find_condition(status, "Suspended").map(|said| text(said, "/status") == "True"),
    }
}

/// `0,2-4,7`.
fn indexes(text: &str) -> BTreeSet<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

pub(super) fn cron_job(meta: Meta, object: &Value) -> CronJob {
    let spec = &object["spec"];
    let zone = text(spec, "/timeZone");
    let latest = spec.get("startingDeadlineSeconds").and_then(Value::as_i64);
    CronJob {
        schedule: text(spec, "/schedule").into(),
        zone: (!zone.is_empty()).then(|| zone.into()),
        latest,
        overlap: match text(spec, "/concurrencyPolicy") {
            "Forbid" => Overlap::Forbid,
            "Replace" => Overlap::Replace,
            _ => Overlap::Allow,
        },
        suspended: flag(spec, "/suspend"),
        history: (count_or(spec, "/successfulJobsHistoryLimit", 3) as usize, count_or(spec, "/failedJobsHistoryLimit", 1) as usize),
        status: cron_status(&object["status"]),
        meta,
    }
}

fn cron_status(status: &Value) -> CronStatus {
    let reference = |value: &Value| (Name::from(text(value, "/name")), Name::from(text(value, "/uid")));
    CronStatus {
        active: items(status, "/active").iter().map(reference).collect(),
        last: time(status, "/lastScheduleTime"),
        succeeded: time(status, "/lastSuccessfulTime"),
    }
}

impl Job {
    /// Times on the leader's own clock: it keeps what it saw itself, and takes the age of the rest from the wall clock.
    pub(in crate::model) fn on_this_clock(&mut self, old: Option<&Job>, now: Duration, wall: Timestamp) {
        let aged = |at: i64| now.saturating_sub(Duration::from_secs(u64::try_from(wall.as_second().saturating_sub(at)).unwrap_or(0)));
        let status = &self.status;
        let same = |is: Option<i64>, was: Option<i64>, known: Option<Duration>| match known.filter(|_| is == was) {
            Some(known) => Some(known),
            None => is.map(aged),
        };
        self.began = same(status.started, old.and_then(|old| old.status.started), old.and_then(|old| old.began));
        self.over = same(self.end_stamp, old.and_then(|old| old.end_stamp), old.and_then(|old| old.over));
        let more = status.failed > old.map_or(0, |old| old.status.failed);
        self.failed = if more { Some(now) } else { old.and_then(|old| old.failed) };
    }
}
