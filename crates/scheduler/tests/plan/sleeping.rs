//! Zero pods for no load: one stays bound to its node and sleeps.

use crate::teller::check;

#[test]
fn a_service_without_load_keeps_one_pod_that_may_sleep_and_says_that_it_does() {
    check(
        "node edge-1 4Gi
         deploy web 1 web
         scale web 0 5 concurrency=10 window=60
         quietly
         plan
         settle
         asleep web#1.0
         plan",
        "pod web#1-7 may sleep after 60s without a request
         waiting deployment web: 0 of 1 pods are ready
         look again at 1060s
         --
         deployment web revision 1: 1 pods, 1 updated, 1 ready, 1 available, MinimumReplicasAvailable, NewReplicaSetAvailable, asleep
         horizontalpodautoscaler web: 0 of 0 pods, load 0, ScaleDownStabilized, ValidMetricFound, DesiredWithinRange
         look again at 1060s
         --",
    );
}

#[test]
fn load_makes_more_pods_and_when_it_is_gone_one_is_left() {
    check(
        "node edge-1 4Gi
         deploy web 1 web
         scale web 0 5 concurrency=10 window=60
         settle
         asleep web#1.0
         settle
         replicas
         awake web#1.0
         load edge-1 web#1.0=35000
         settle
         replicas
         load edge-1
         settle
         after 61
         settle
         replicas
         after 600
         settle
         replicas",
        "web 1
         --
         web 4
         --
         web 1
         --
         web 1
         --",
    );
}

#[test]
fn a_new_revision_of_what_sleeps_is_ready_once_before_it_takes_its_place_and_a_bad_one_does_not() {
    check(
        "node edge-1 4Gi
         deploy web 1 web
         scale web 0 5 concurrency=10 window=60
         settle
         asleep web#1.0
         settle
         deploy web 1 bad
         settle
         pods
         deploy web 1 good
         settle
         pods",
        "web#1-7 on edge-1
         web#2-12 on edge-1
         --
         web#3-17 on edge-1
         --",
    );
}

#[test]
fn what_slept_on_a_lost_node_sleeps_elsewhere() {
    check(
        "node edge-1 4Gi
         node edge-2 4Gi
         deploy web 1 web
         scale web 0 5 concurrency=10 window=60
         settle
         asleep web#1.0
         settle
         pods
         silent edge-1
         after 7
         settle
         pods",
        "web#1-9 on edge-1
         --
         web#1-14 on edge-2
         --",
    );
}

#[test]
fn what_a_person_stopped_has_no_pod_and_does_not_sleep() {
    check(
        "node edge-1 4Gi
         deploy web 1 web
         scale web 0 5 concurrency=10 window=60
         settle
         asleep web#1.0
         settle
         stop web
         settle
         pods
         replicas
         after 600
         settle
         replicas",
        "--
         web 0
         --
         web 0
         --",
    );
}

#[test]
fn a_pod_whose_autoscaler_changes_its_mind_stays_awake() {
    check(
        "node edge-1 4Gi
         deploy web 1 web
         scale web 0 5 concurrency=10 window=60
         settle
         scale web 0 5 concurrency=10 window=5
         plan
         scale web 1 5 concurrency=10 window=5
         plan
         scale web 0 5 concurrency=10 window=5
         settle
         unscale web
         plan",
        "pod web#1-7 may sleep after 5s without a request
         horizontalpodautoscaler web: 1 of 1 pods, load 0, ScaleDownStabilized, ValidMetricFound, DesiredWithinRange
         look again at 1005s
         --
         pod web#1-7 stays awake
         horizontalpodautoscaler web: 1 of 1 pods, load 0, ScaleDownStabilized, ValidMetricFound, DesiredWithinRange
         look again at 1005s
         --
         pod web#1-7 stays awake
         --",
    );
}
