//! More pods for more load, and fewer again.

use crate::teller::check;

#[test]
fn more_load_makes_more_pods_at_once_and_less_takes_them_away_after_the_window() {
    check(
        "node edge-1 4Gi
         deploy web 1 web
         scale web 1 5 concurrency=10 window=60
         settle
         load edge-1 web#1.0=35000
         settle
         replicas
         load edge-1 web#1.0=9000
         settle
         replicas
         after 59
         settle
         replicas
         after 2
         settle
         replicas",
        "web 4
         --
         web 4
         --
         web 4
         --
         web 1
         --",
    );
}

#[test]
fn a_load_that_is_off_by_a_tenth_moves_nothing_and_no_more_than_the_most_are_made() {
    check(
        "node edge-1 4Gi
         deploy web 2 web
         scale web 2 5 requests_per_second=100 window=0
         settle
         load edge-1 web#1.0=105000 web#1.1=105000
         settle
         replicas
         load edge-1 web#1.0=1000000 web#1.1=1000000
         settle
         replicas
         load edge-1
         settle
         replicas",
        "web 2
         --
         web 5
         --
         web 2
         --",
    );
}

#[test]
fn a_short_dip_takes_no_pod_and_a_new_leader_waits_for_the_window_again() {
    check(
        "node edge-1 4Gi
         deploy web 1 web
         scale web 1 5 concurrency=10 window=60
         settle
         load edge-1 web#1.0=35000
         settle
         after 30
         load edge-1
         settle
         after 20
         load edge-1 web#1.0=35000
         settle
         after 50
         settle
         replicas
         load edge-1
         restart
         settle
         after 50
         settle
         replicas
         after 11
         settle
         replicas",
        "web 4
         --
         web 4
         --
         web 1
         --",
    );
}

#[test]
fn what_a_person_stopped_stays_stopped_and_what_has_no_ready_pod_stays_as_it_is() {
    check(
        "node edge-1 4Gi
         deploy web 0 web
         scale web 2 5 concurrency=10
         deploy bad 3 bad
         scale bad 1 5 concurrency=10 window=0
         settle
         replicas",
        "bad 3
         web 0
         --",
    );
}

#[test]
fn an_autoscaler_says_what_it_does() {
    check(
        "node edge-1 4Gi
         deploy web 1 web
         scale web 1 2 concurrency=10 window=60
         settle
         load edge-1 web#1.0=35000
         plan",
        "horizontalpodautoscaler web wants 4
         event ScaledUp deployment web: from 1 to 2 pods: the load is above what they should have
         event SuccessfulRescale horizontalpodautoscaler web: New size: 2; reason: from 1 to 2 pods: the load is above what they should have
         scale deployment web to 2
         horizontalpodautoscaler web: 1 of 2 pods, load 35000, SucceededRescale, ValidMetricFound, TooManyReplicas
         --",
    );
}
