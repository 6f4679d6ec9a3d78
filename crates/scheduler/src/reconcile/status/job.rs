//! Jobs, their pods and their statuses.

use super::{Said, condition, entry, find, new_pod, seconds};
use crate::model::{Condition, CronStatus, Ending, JobStatus};
use crate::names;
use crate::objects::Object;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A pod of a Job, with its number where it has one.
pub fn new_job_pod(job: &Object, name: &str, index: Option<u32>, place: Result<&str, &str>, now: Timestamp) -> Object {
    let mut pod = new_pod(job, name, place, now);
    let Some(index) = index.map(|index| index.to_string()) else { return pod };
    entry(&mut pod.0, "metadata", "labels")[names::JOB_INDEX] = json!(index);
    entry(&mut pod.0, "metadata", "annotations")[names::JOB_INDEX] = json!(index);
    if let Some(container) = pod.0.pointer_mut("/spec/containers/0") {
        let mut variables = container["env"].as_array().cloned().unwrap_or_default();
        variables.push(json!({"name": "JOB_COMPLETION_INDEX", "value": index}));
        container["env"] = json!(variables);
    }
    pod
}

/// The Job of one tick of a CronJob.
pub fn new_job(cron: &Object, name: &str, tick: i64) -> Object {
    let template = &cron.spec()["jobTemplate"];
    let mut metadata = json!({
        "name": name, "namespace": cron.namespace(), "labels": template["metadata"]["labels"],
        "annotations": template["metadata"]["annotations"], "ownerReferences": [cron.controller_reference()],
    });
    let at = Timestamp::from_second(tick).unwrap_or_default();
    let annotations = &mut metadata["annotations"];
    if !annotations.is_object() {
        *annotations = json!({});
    }
    annotations[names::CRON_TICK] = json!(at.to_string());
    if let Some(map) = metadata.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    Object(json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"] }))
}

/// Writes a Job's status.
pub fn write_job(object: &mut Object, status: &JobStatus, now: Timestamp) {
    let time = |at: Option<i64>| at.and_then(|at| Timestamp::from_second(at).ok()).map(seconds);
    let said = |kind: &'static str, said: &Condition| Said { kind, condition: said.clone() };
    let mut all: Vec<Said> = Vec::new();
    if let Some(suspended) = status.suspended {
        let condition = if suspended {
            Condition::new("True", "JobSuspended", "Job suspended")
        } else {
            Condition::new("False", "JobResumed", "Job resumed")
        };
        all.push(Said { kind: "Suspended", condition });
    }
    let words = |ending: Ending| if ending == Ending::Complete { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    all.extend(status.target.iter().map(|(ending, text)| said(words(*ending).0, text)));
    all.extend(status.end.iter().map(|(ending, text)| said(words(*ending).1, text)));
    let mut conditions: Vec<Value> = all.iter().map(|said| condition(said, find(object, said.kind), false, now)).collect();
    for condition in &mut conditions {
        // A Job's conditions have another name for it.
        let probed = condition.as_object_mut().and_then(|map| map.remove("lastUpdateTime"));
        condition["lastProbeTime"] = probed.unwrap_or_default();
    }
    let mut value = json!({
        "active": status.active, "ready": status.ready, "terminating": status.leaving, "succeeded": status.succeeded,
        "failed": status.failed, "uncountedTerminatedPods": {}, "startTime": time(status.started),
        "completionTime": time(status.completed), "conditions": conditions, "completedIndexes": ranges(&status.indexes),
    });
    if let Some(map) = value.as_object_mut() {
        map.retain(|name, value| !(value.is_null() || *value == json!([]) || (name == "completedIndexes" && *value == json!(""))));
    }
    object.set_status(value);
}

/// `0,2-4,7`.
fn ranges(indexes: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let text = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Writes a CronJob's status.
pub fn write_cron(object: &mut Object, status: &CronStatus) {
    let namespace = object.namespace().to_owned();
    let active = status
        .active
        .iter()
        .map(|(name, uid)| json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": namespace, "name": **name, "uid": **uid}));
    let active: Vec<Value> = active.collect();
    let mut value = json!({ "active": active });
    for (field, at) in [("lastScheduleTime", status.last), ("lastSuccessfulTime", status.succeeded)] {
        if let Some(time) = at.and_then(|at| Timestamp::from_second(at).ok()) {
            value[field] = json!(seconds(time));
        }
    }
    object.set_status(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_ranges() {
        assert_eq!(ranges(&[0, 2, 3, 4, 7].into()), "0,2-4,7");
        assert_eq!(ranges(&BTreeSet::new()), "");
    }
}
