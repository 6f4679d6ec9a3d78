//! From one revision of a Deployment to the next.

use crate::teller::check;

#[test]
fn a_new_deployment_makes_a_revision_and_its_pods_in_one_commit() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         deploy web 3 web
         plan",
        "create replicaset web#1 revision 1 with 3 pods of web
         event Scaled deployment web: web#1 goes from 0 to 3 pods
         deployment web revision 1: 3 pods, 3 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         create pod of web#1 on edge-1
         create pod of web#1 on edge-2
         create pod of web#1 on edge-1
         endpoints of web: none
         waiting deployment web: 0 of 3 pods are ready
         look again at 1006s
         --",
    );
}

#[test]
fn surge_first_and_the_old_pod_goes_when_the_new_one_is_ready() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         deploy web 2 next
         plan
         plan
         ready web#2.0
         plan",
        "create replicaset web#2 revision 2 with 1 pods of next
         event Scaled deployment web: web#2 goes from 0 to 1 pods
         deployment web revision 2: 3 pods, 1 updated, 2 ready, 2 available, MinimumReplicasAvailable, NewReplicaSetCreated, progress
         create pod of web#2 on edge-1
         look again at 1060s
         --
         look again at 1060s
         --
         delete pod web#1-7: replaced by a newer revision
         replicaset web#1 revision 1 asks for 1: 1 pods, 1 ready, 1 available
         event Scaled deployment web: web#1 goes from 2 to 1 pods
         replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 2: 2 pods, 1 updated, 2 ready, 2 available, MinimumReplicasAvailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6 web#2-12
         look again at 1060s
         --",
    );
}

#[test]
fn broken_old_pods_go_first_in_a_rollout() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         deploy web 2 next
         quietly
         unready web#1.0
         crash web#1.1 Trap unreachable
         ready web#2.0
         plan",
        "delete pod web#1-7: replaced by a newer revision
         replicaset web#1 revision 1 asks for 1: 1 pods, 0 ready, 0 available
         event Scaled deployment web: web#1 goes from 2 to 1 pods
         replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 2: 2 pods, 1 updated, 1 ready, 1 available, MinimumReplicasUnavailable, ReplicaSetUpdated, progress
         endpoints of web: web#2-12
         waiting deployment web: 1 of 2 pods are ready
         look again at 1060s
         --",
    );
}

#[test]
fn a_rollout_holds_while_a_pod_restarts() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         deploy web 2 next
         quietly
         ready web#2.0
         quietly
         quietly
         ready web#2.1
         crash web#2.0 Trap unreachable
         plan
         ready web#2.0
         plan",
        "endpoints of web: web#1-6 web#2-16
         waiting deployment web: web#2-12: Trap: unreachable
         look again at 1060s
         --
         delete pod web#1-6: replaced by a newer revision
         replicaset web#1 revision 1 asks for 0: 0 pods, 0 ready, 0 available
         event Scaled deployment web: web#1 goes from 1 to 0 pods
         replicaset web#2 revision 2 asks for 2: 2 pods, 2 ready, 2 available
         deployment web revision 2: 2 pods, 2 updated, 2 ready, 2 available, MinimumReplicasAvailable, NewReplicaSetAvailable, progress
         event Ready deployment web: all 2 pods of revision 2 are ready
         endpoints of web: web#2-12 web#2-16
         --",
    );
}

#[test]
fn recreate_ends_the_old_first() {
    check(
        "node edge-1 1Gi
         deploy web 1 web recreate
         settle
         deploy web 1 next recreate
         plan
         settle
         pods",
        "delete pod web#1-6: replaced by a newer revision
         replicaset web#1 revision 1 asks for 0: 0 pods, 0 ready, 0 available
         event Scaled deployment web: web#1 goes from 1 to 0 pods
         create replicaset web#2 revision 2 with 0 pods of next
         deployment web revision 2: 0 pods, 0 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         endpoints of web: none
         waiting deployment web: 0 of 1 pods are ready
         look again at 1060s
         --
         web#2-13 on edge-1
         --",
    );
}

#[test]
fn the_first_pods_are_watched_before_the_rollout_goes_on() {
    check(
        "node edge-1 1Gi
         deploy web 2 web bake=10s
         settle
         deploy web 2 next bake=10s
         quietly
         ready web#2.0
         plan
         after 10
         plan",
        "replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 2: 3 pods, 1 updated, 3 ready, 3 available, MinimumReplicasAvailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6 web#1-7 web#2-12
         look again at 1010s
         --
         delete pod web#1-7: replaced by a newer revision
         replicaset web#1 revision 1 asks for 1: 1 pods, 1 ready, 1 available
         event Scaled deployment web: web#1 goes from 2 to 1 pods
         deployment web revision 2: 2 pods, 1 updated, 2 ready, 2 available, MinimumReplicasAvailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6 web#2-12
         look again at 1016s
         --",
    );
}

#[test]
fn a_paused_deployment_is_scaled_and_not_rolled_out() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         deploy web 2 next paused
         plan
         deploy web 3 next paused
         plan
         settle
         deploy web 3 next
         plan
         settle
         pods",
        "deployment web revision 1: 2 pods, 0 updated, 2 ready, 2 available, MinimumReplicasAvailable, DeploymentPaused
         --
         replicaset web#1 revision 1 asks for 3: 3 pods, 2 ready, 2 available
         event Scaled deployment web: web#1 goes from 2 to 3 pods
         deployment web revision 1: 3 pods, 0 updated, 2 ready, 2 available, MinimumReplicasUnavailable, DeploymentPaused
         create pod of web#1 on edge-1
         waiting deployment web: 2 of 3 pods are ready
         --
         create replicaset web#2 revision 2 with 1 pods of next
         event Scaled deployment web: web#2 goes from 0 to 1 pods
         deployment web revision 2: 4 pods, 1 updated, 3 ready, 3 available, MinimumReplicasAvailable, NewReplicaSetCreated, progress
         create pod of web#2 on edge-1
         look again at 1060s
         --
         web#2-14 on edge-1
         web#2-18 on edge-1
         web#2-21 on edge-1
         --",
    );
}

#[test]
fn a_rollout_that_is_paused_stays_where_it_is() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         deploy web 2 next
         quietly
         deploy web 2 next paused
         ready web#2.0
         plan
         after 100
         plan
         deploy web 2 next
         plan",
        "replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 2: 3 pods, 1 updated, 3 ready, 3 available, MinimumReplicasAvailable, DeploymentPaused
         endpoints of web: web#1-6 web#1-7 web#2-12
         --
         look again at 1106s
         --
         delete pod web#1-7: replaced by a newer revision
         replicaset web#1 revision 1 asks for 1: 1 pods, 1 ready, 1 available
         event Scaled deployment web: web#1 goes from 2 to 1 pods
         deployment web revision 2: 2 pods, 1 updated, 2 ready, 2 available, MinimumReplicasAvailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6 web#2-12
         look again at 1160s
         --",
    );
}

#[test]
fn a_pod_counts_once_it_was_ready_for_long_enough() {
    check(
        "node edge-1 1Gi
         deploy web 1 web min=5
         quietly
         ready web#1.0
         plan
         after 5
         plan
         deploy web 1 next min=5
         quietly
         ready web#2.0
         plan
         after 4
         plan
         after 1
         plan",
        "replicaset web#1 revision 1 asks for 1: 1 pods, 1 ready, 0 available
         deployment web revision 1: 1 pods, 1 updated, 1 ready, 0 available, MinimumReplicasUnavailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6
         look again at 1005s
         --
         replicaset web#1 revision 1 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 1: 1 pods, 1 updated, 1 ready, 1 available, MinimumReplicasAvailable, NewReplicaSetAvailable, progress
         event Ready deployment web: all 1 pods of revision 1 are ready
         --
         replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 0 available
         deployment web revision 2: 2 pods, 1 updated, 2 ready, 1 available, MinimumReplicasAvailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6 web#2-11
         look again at 1010s
         --
         look again at 1010s
         --
         delete pod web#1-6: replaced by a newer revision
         replicaset web#1 revision 1 asks for 0: 0 pods, 0 ready, 0 available
         event Scaled deployment web: web#1 goes from 1 to 0 pods
         replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 2: 1 pods, 1 updated, 1 ready, 1 available, MinimumReplicasAvailable, NewReplicaSetAvailable, progress
         event Ready deployment web: all 1 pods of revision 2 are ready
         endpoints of web: web#2-11
         --",
    );
}

#[test]
fn shares_are_of_the_pods_asked_for_surge_rounded_up_unavailable_down() {
    check(
        "node edge-1 1Gi
         deploy web 5 web surge=30% unavailable=30%
         settle
         deploy web 5 next surge=30% unavailable=30%
         plan",
        "delete pod web#1-9: replaced by a newer revision
         replicaset web#1 revision 1 asks for 4: 4 pods, 4 ready, 4 available
         event Scaled deployment web: web#1 goes from 5 to 4 pods
         create replicaset web#2 revision 2 with 2 pods of next
         event Scaled deployment web: web#2 goes from 0 to 2 pods
         deployment web revision 2: 6 pods, 2 updated, 4 ready, 4 available, MinimumReplicasAvailable, NewReplicaSetCreated, progress
         create pod of web#2 on edge-1
         create pod of web#2 on edge-1
         endpoints of web: web#1-10 web#1-6 web#1-7 web#1-8
         waiting deployment web: 4 of 5 pods are ready
         look again at 1060s
         --",
    );
}

#[test]
fn a_pod_that_flaps_does_not_put_the_deadline_off() {
    check(
        "node edge-1 1Gi
         deploy web 1 web min=30
         settle
         after 31
         quietly
         deploy web 1 next min=30
         quietly
         ready web#2.0
         quietly
         after 20
         unready web#2.0
         quietly
         after 20
         ready web#2.0
         quietly
         after 20
         unready web#2.0
         plan",
        "replicaset web#2 revision 2 asks for 1: 1 pods, 0 ready, 0 available
         deployment web revision 2: 2 pods, 1 updated, 1 ready, 1 available, MinimumReplicasAvailable, ProgressDeadlineExceeded
         event NotReadyInTime deployment web: the revision is not ready, and nothing moved for 60 s
         endpoints of web: web#1-6
         look again at 1097s
         --",
    );
}
