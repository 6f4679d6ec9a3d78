//! A new revision is tried with a share of pods and requests before it gets more.

use crate::teller::check;

#[test]
fn a_canary_gets_its_share_bakes_and_then_the_rollout_goes_on() {
    check(
        "node edge-1 4Gi
         deploy web 4 web canary=10% bake=30s
         settle
         deploy web 4 next canary=10% bake=30s
         quietly
         ready web#2.0
         plan
         settle
         pods
         after 29
         settle
         sets
         pods
         after 2
         settle
         pods",
        "delete pod web#1-9: replaced by a newer revision
         replicaset web#1 revision 1 asks for 3: 3 pods, 3 ready, 3 available
         event Scaled deployment web: web#1 goes from 4 to 3 pods
         replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 2: 4 pods, 1 updated, 4 ready, 4 available, MinimumReplicasAvailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6 web#1-7 web#1-8 web#2-14, with 10% for web#2-14
         waiting deployment web: revision 2 is tried with 10% of the requests for 30 s
         look again at 1030s
         --
         web#1-6 on edge-1
         web#1-7 on edge-1
         web#1-8 on edge-1
         web#2-14 on edge-1
         --
         web#1 web#2
         web#1-6 on edge-1
         web#1-7 on edge-1
         web#1-8 on edge-1
         web#2-14 on edge-1
         --
         web#2-14 on edge-1
         web#2-18 on edge-1
         web#2-21 on edge-1
         web#2-24 on edge-1
         --",
    );
}

#[test]
fn a_canary_that_fails_more_than_the_old_goes_no_further_and_one_that_fails_as_much_does() {
    check(
        "node edge-1 4Gi
         deploy web 4 web canary=10% bake=30s
         settle
         deploy web 4 next canary=10% bake=30s
         settle
         load edge-1 web#2.0=2/10
         plan
         load edge-1 web#2.0=4/40 web#1.0=5/100
         plan
         load edge-1 web#2.0=5/40 web#1.0=5/100
         plan
         load edge-1
         after 600
         settle
         pods",
        "waiting deployment web: revision 2 is tried with 10% of the requests for 30 s
         look again at 1030s
         --
         waiting deployment web: revision 2 is tried with 10% of the requests for 30 s
         look again at 1030s
         --
         deployment web revision 2: 4 pods, 1 updated, 4 ready, 4 available, MinimumReplicasAvailable, CanaryFailed
         event CanaryFailed deployment web: the revision does worse: 12 of 100 requests failed lately, and 5 of the old revision's
         waiting deployment web: the revision does worse: 12 of 100 requests failed lately, and 5 of the old revision's
         look again at 1030s
         --
         web#1-6 on edge-1
         web#1-7 on edge-1
         web#1-8 on edge-1
         web#2-14 on edge-1
         --",
    );
}

#[test]
fn an_app_goes_back_from_a_canary_that_is_worse() {
    check(
        "node edge-1 4Gi
         app shop web=3:v1
         settle
         tried shop-web 20% 60s
         app shop web=3:v2
         tried shop-web 20% 60s
         settle
         load edge-1 shop-web#2.0=30/60
         settle
         pods",
        "shop-web#3-10 on edge-1
         shop-web#3-24 on edge-1
         shop-web#3-8 on edge-1
         --",
    );
}

#[test]
fn a_single_pod_has_one_of_the_old_revision_beside_its_canary_and_a_pause_keeps_both() {
    check(
        "node edge-1 4Gi
         deploy web 1 web canary=20% bake=30s
         settle
         deploy web 1 next canary=20% bake=30s
         settle
         pods
         deploy web 1 next canary=20% bake=30s paused
         after 60
         settle
         pods
         deploy web 1 next canary=20% bake=30s
         settle
         pods",
        "web#1-6 on edge-1
         web#2-11 on edge-1
         --
         web#1-6 on edge-1
         web#2-11 on edge-1
         --
         web#2-11 on edge-1
         --",
    );
}
