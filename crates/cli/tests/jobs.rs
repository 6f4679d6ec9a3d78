//! Programs that run to their end: once, and by the clock.

mod common;

use std::time::{Duration, Instant};

use common::{LONG, Machine, component, teller};
use serde_json::Value;

/// What `wctl get KIND NAME` says once `holds` does.
#[track_caller]
fn until(machine: &Machine, args: &[&str], holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + LONG;
    loop {
        let value = machine.json(args);
        if holds(&value) {
            return value;
        }
        assert!(Instant::now() < deadline, "it never came to that: {value}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is(job: &Value, condition: &str) -> bool {
    job["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == condition && c["status"] == "True")
}

/// The only Job whose name begins so, when `holds` does.
#[track_caller]
fn job(machine: &Machine, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let found = |list: &Value| {
        list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|job| job["metadata"]["name"].as_str().is_some_and(|n| n.starts_with(name)))
            .cloned()
    };
    let list = until(machine, &["get", "jobs"], |list| found(list).is_some_and(|job| holds(&job)));
    found(&list).unwrap()
}

#[test]
fn a_job_runs_once_and_its_log_stays_and_one_that_fails_is_tried_again_and_given_up() {
    let machine = Machine::up(&[]);
    let image = teller().display();
    let fails = |code: u32| {
        format!(
            "  fails:\n    image: {image}\n    args: [exit, \"{code}\"]\n    job: {{ retries: 1 }}\n    restart: {{ backoff: 100ms..1s }}\n"
        )
    };
    let file = format!("app: work\nservices:\n  once:\n    image: {image}\n    args: [args, hello]\n    job: {{}}\n{}", fails(3));
    machine.deploy(&file);
    let done = job(&machine, "work-once-", |job| is(job, "Complete"));
    assert_eq!((&done["status"]["succeeded"], &done["status"]["active"]), (&1.into(), &0.into()), "{done}");
    assert!(done["status"]["completionTime"].is_string() && is(&done, "SuccessCriteriaMet"), "{done}");
    let failed = job(&machine, "work-fails-", |job| is(job, "Failed"));
    assert_eq!(failed["status"]["failed"], 2, "the first try and one more: {failed}");
    assert!(is(&failed, "FailureTarget") && failed.to_string().contains("BackoffLimitExceeded"), "{failed}");
    let log = machine.ok(&["logs", "work/once"]);
    assert!(log.contains("hello"), "{log}");
    let name = done["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(machine.ok(&["logs", &format!("job/{name}")]).contains("hello"));
    let pods = machine.json(&["get", "pods"]);
    let codes: Vec<i64> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|pod| pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64())
        .collect();
    // A guest of WASI 0.2 can only tell that it failed.
    assert_eq!(codes.iter().filter(|code| **code == 1).count(), 2, "{pods}");
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{pods}");
    let status = until(&machine, &["status", "work"], |status| status["status"]["phase"] == "Failed");
    assert!(status.to_string().contains("backoff limit"), "{status}");
    // What did not change does not run again, what did does.
    machine.deploy(&format!("app: work\nservices:\n  once:\n    image: {image}\n    args: [args, hello]\n    job: {{}}\n{}", fails(0)));
    job(&machine, "work-fails-", |job| is(job, "Complete"));
    let again = job(&machine, "work-once-", |_| true);
    assert_eq!(again["metadata"]["uid"], done["metadata"]["uid"]);
    until(&machine, &["status", "work"], |status| status["status"]["phase"] == "Ready");
}

#[test]
fn a_service_that_answers_requests_fails_as_a_job() {
    let machine = Machine::up(&[]);
    machine.deploy(&format!("app: odd\nimage: {}\njob: {{ retries: 0 }}\n", component("hello").display()));
    job(&machine, "odd-", |job| is(job, "Failed"));
    let pods = machine.json(&["get", "pods"]);
    assert!(pods.to_string().contains("the guest trapped"), "{pods}");
}

#[test]
#[ignore = "slow: it waits for the clock's next minutes"]
fn a_cron_job_runs_each_minute_and_once() {
    let machine = Machine::up(&[]);
    machine.deploy(&format!("app: tick\nimage: {}\nargs: [args, tick]\njob: {{ cron: \"* * * * *\" }}\n", teller().display()));
    let list = until(&machine, &["get", "jobs"], |list| {
        list["items"].as_array().is_some_and(|jobs| jobs.iter().filter(|job| is(job, "Complete")).count() >= 2)
    });
    let mut ticks: Vec<String> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"].to_string())
        .collect();
    ticks.dedup();
    assert_eq!(ticks.len(), list["items"].as_array().unwrap().len(), "{list}");
    assert!(machine.ok(&["logs", "tick"]).contains("tick"));
}
