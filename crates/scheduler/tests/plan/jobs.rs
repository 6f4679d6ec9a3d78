//! Jobs and CronJobs.

use crate::teller::check;

#[test]
fn a_job_runs_a_pod_to_its_end_and_says_so() {
    check(
        "node edge-1 1Gi
         quietly
         job once
         plan
         plan
         finish once.0 0
         plan
         plan
         pods",
        "job once: 1 active, 0 succeeded, 0 failed
         create pod of job once on edge-1
         --
         --
         event Completed job once: Job completed
         job once: 0 active, 1 succeeded, 0 failed, complete
         --
         --
         once-4 on edge-1
         --",
    );
}

#[test]
fn a_failing_job_pauses_longer_each_time_and_is_given_up() {
    check(
        "node edge-1 1Gi
         quietly
         job once backoffLimit=1
         quietly
         finish once.0 3
         plan
         plan
         after 10
         plan
         finish once.1 3
         plan
         plan",
        "job once: 0 active, 0 succeeded, 1 failed
         --
         waiting job once: a pod failed; the next comes after a pause, 1 of 1 retries are used
         look again at 1010s
         --
         job once: 1 active, 0 succeeded, 1 failed
         create pod of job once on edge-1
         look again at 1016s
         --
         event BackoffLimitExceeded job once: Job has reached the specified backoff limit
         job once: 0 active, 0 succeeded, 2 failed, failed: BackoffLimitExceeded
         --
         --",
    );
}

#[test]
fn so_many_at_once_until_there_are_enough() {
    check(
        "node edge-1 1Gi
         quietly
         job many completions=3 parallelism=2
         plan
         finish many.0 0
         plan
         finish many.1 0
         finish many.2 0
         plan
         plan",
        "job many: 2 active, 0 succeeded, 0 failed
         create pod of job many on edge-1
         create pod of job many on edge-1
         --
         job many: 2 active, 1 succeeded, 0 failed
         create pod of job many on edge-1
         --
         event Completed job many: Job completed
         job many: 0 active, 3 succeeded, 0 failed, complete
         --
         --",
    );
}

#[test]
fn each_number_of_an_indexed_job_succeeds_once() {
    check(
        "node edge-1 1Gi
         quietly
         job many completions=2 parallelism=2 completionMode=Indexed
         plan
         finish many.0 1
         finish many.1 0
         plan
         after 10
         plan",
        "job many: 2 active, 0 succeeded, 0 failed
         create pod number 0 of job many on edge-1
         create pod number 1 of job many on edge-1
         --
         job many: 0 active, 1 succeeded, 1 failed
         --
         job many: 1 active, 1 succeeded, 1 failed
         create pod number 0 of job many on edge-1
         look again at 1016s
         --",
    );
}

#[test]
fn a_pod_that_is_lost_with_its_node_is_replaced_and_counts_as_no_failure() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         job once backoffLimit=0
         settle
         silent edge-1
         silent edge-2
         after 7
         lease edge-2
         quietly
         plan
         plan",
        "delete pod once-6: node edge-1 is lost
         job once: 1 active, 0 succeeded, 0 failed, 1 leaving
         create pod of job once on edge-2
         waiting node edge-1: node edge-1 is lost
         --
         remove pod once-6: node edge-1 is lost
         waiting node edge-1: node edge-1 is lost
         --",
    );
}

#[test]
fn a_job_past_its_deadline_fails_once_its_pod_is_gone() {
    check(
        "node edge-1 1Gi
         job once activeDeadlineSeconds=30
         settle
         after 31
         plan
         jobs
         settle
         jobs",
        "delete pod once-4: its job is over
         job once: 0 active, 0 succeeded, 0 failed, 1 leaving, ending: DeadlineExceeded
         look again at 1037s
         --
         once FailureTarget
         --
         once FailureTarget Failed
         --",
    );
}

#[test]
fn a_suspended_job_waits_and_one_that_is_over_goes_when_its_time_has_come() {
    check(
        "node edge-1 1Gi
         quietly
         job once suspend=true ttlSecondsAfterFinished=60
         plan
         job once suspend=false ttlSecondsAfterFinished=60
         plan
         finish once.0 0
         quietly
         plan
         after 60
         restart
         plan",
        "event Suspended job once: the job waits, without pods
         job once: 0 active, 0 succeeded, 0 failed, suspended
         --
         event Resumed job once: the job goes on
         job once: 1 active, 0 succeeded, 0 failed
         create pod of job once on edge-1
         --
         look again at 1060s
         --
         delete job once: it was over 60 s ago
         look again at 1066s
         --",
    );
}

#[test]
fn a_tick_makes_one_job_and_only_so_many_are_kept() {
    check(
        "node edge-1 1Gi
         quietly
         cron tick *_*_*_*_* successfulJobsHistoryLimit=1
         plan
         after 60
         plan
         plan
         restart
         plan
         settle
         finish tick-29833351.0 0
         settle
         after 60
         settle
         finish tick-29833352.0 0
         settle
         jobs
         plan",
        "look again at 1060s
         --
         event SuccessfulCreate cronjob tick: Created job tick-29833351
         create job tick-29833351 of tick for 2026-09-21T14:31:00Z
         cronjob tick: active none, last 2026-09-21T14:31:00Z, succeeded never
         look again at 1066s
         --
         job tick-29833351: 1 active, 0 succeeded, 0 failed
         cronjob tick: active tick-29833351, last 2026-09-21T14:31:00Z, succeeded never
         create pod of job tick-29833351 on edge-1
         look again at 1120s
         --
         look again at 1066s
         --
         tick-29833352 SuccessCriteriaMet Complete
         --
         --",
    );
}

#[test]
fn a_clock_that_is_set_back_runs_no_tick_again_and_one_set_forward_runs_the_last_it_missed() {
    check(
        "node edge-1 1Gi
         quietly
         cron tick 0_*_*_*_*
         quietly
         clock 7200
         plan
         clock -3600
         quietly
         plan
         after 60
         quietly
         jobs
         clock 7200
         quietly
         jobs",
        "event SuccessfulCreate cronjob tick: Created job tick-29833440
         create job tick-29833440 of tick for 2026-09-21T16:00:00Z
         cronjob tick: active none, last 2026-09-21T16:00:00Z, succeeded never
         look again at 2800s
         --
         look again at 2800s
         --
         tick-29833440
         --
         tick-29833440
         tick-29833500
         --",
    );
}

#[test]
fn a_tick_that_finds_the_last_at_work_waits_or_takes_its_place() {
    check(
        "node edge-1 1Gi
         quietly
         cron one *_*_*_*_* concurrencyPolicy=Forbid
         cron two *_*_*_*_* concurrencyPolicy=Replace
         after 60
         settle
         after 60
         plan
         settle
         jobs
         finish one-29833351.0 0
         settle
         jobs",
        "event JobAlreadyActive cronjob one: the tick of 2026-09-21T14:32:00Z waits, or is left out: one-29833351 is still at work
         delete job two-29833351: the tick of 2026-09-21T14:32:00Z takes its place
         event SuccessfulCreate cronjob two: Created job two-29833352
         create job two-29833352 of two for 2026-09-21T14:32:00Z
         cronjob two: active none, last 2026-09-21T14:32:00Z, succeeded never
         waiting cronjob one: the tick of 2026-09-21T14:32:00Z waits: one-29833351 is still at work
         look again at 1126s
         --
         one-29833351
         two-29833352
         --
         one-29833351 SuccessCriteriaMet Complete
         one-29833352
         two-29833352
         --",
    );
}

#[test]
fn a_tick_that_is_too_late_is_left_out() {
    check(
        "node edge-1 1Gi
         quietly
         cron tick 0_*_*_*_* startingDeadlineSeconds=10
         quietly
         clock 7260
         plan
         jobs",
        "look again at 2740s
         --
         --",
    );
}
