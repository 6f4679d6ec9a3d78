//! Jobs and CronJobs: what must hold within them.

use serde_json::Value;

use super::names::labels;
use super::workload::pod_spec;
use crate::api::status::Cause;
use crate::cron::{Schedule, zone_is_known};

/// The name of a CronJob's Job has the minute of its tick behind the CronJob's own.
const CRON_NAME: usize = 52;
/// Most numbers that the pods of an indexed Job may have.
const INDEXES: u64 = 100_000;

pub(super) fn job(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    job_spec(&object["spec"], "spec", causes);
    let Some(old) = old else { return };
    let waits = old["spec"]["suspend"] == true && old["status"]["startTime"].is_null();
    for field in ["template", "completions", "completionMode", "selector"] {
        let may_change = field == "template" && waits;
        if object["spec"][field] != old["spec"][field] && !may_change {
            causes.push(Cause::forbidden(format!("spec.{field}"), "cannot change once the job is there; delete it, or make another"));
        }
    }
}

fn job_spec(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    let template = &spec["template"];
    match template["spec"]["restartPolicy"].as_str() {
        Some("Never" | "OnFailure") => {}
        _ => causes.push(Cause::required(
            format!("{at}.template.spec.restartPolicy"),
            "write Never (a pod for each try) or OnFailure (the same pod tries again): what is to run for ever is a Deployment",
        )),
    }
    if spec["completionMode"] == "Indexed" {
        match spec["completions"].as_u64() {
            None => causes.push(Cause::required(format!("{at}.completions"), "an indexed job needs the number of its pods")),
            Some(completions) if completions > INDEXES => {
                causes.push(Cause::invalid(format!("{at}.completions"), format!("an indexed job has at most {INDEXES} pods")));
            }
            Some(_) => {}
        }
    }
    labels(&template["metadata"]["labels"], &format!("{at}.template.metadata.labels"), causes);
    if !template["spec"]["nodeName"].is_null() {
        causes.push(Cause::forbidden(format!("{at}.template.spec.nodeName"), "the scheduler places pods; write nodeSelector"));
    }
    pod_spec(&template["spec"], &format!("{at}.template.spec"), causes);
}

pub(super) fn cron_job(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if name.len() > CRON_NAME {
        causes.push(Cause::invalid(
            "metadata.name",
            format!("must be no more than {CRON_NAME} characters: its jobs add the minute of their tick"),
        ));
    }
    let schedule = spec["schedule"].as_str().unwrap_or_default();
    let zone = spec["timeZone"].as_str();
    if schedule.is_empty() {
        causes.push(Cause::required("spec.schedule", "a cron line is required, for instance \"0 3 * * *\""));
    } else if let Err(why) = Schedule::read(schedule, None) {
        causes.push(Cause::invalid("spec.schedule", why));
    }
    if let Some(Err(why)) = zone.map(zone_is_known) {
        causes.push(Cause::invalid("spec.timeZone", why));
    }
    job_spec(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", causes);
}
