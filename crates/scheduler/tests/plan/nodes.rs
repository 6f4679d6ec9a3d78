//! Nodes that come and go, and leaders.

use crate::teller::check;

#[test]
fn a_lost_node_is_said_to_be_lost_and_its_pods_are_replaced() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         deploy web 2 web
         settle
         silent edge-2
         after 7
         plan
         plan
         plan
         lease edge-2
         plan",
        "node edge-2 is lost: node edge-2 has not reported for 6 s
         event NodeLost node edge-2: node edge-2 has not reported for 6 s
         look again at 1013s
         --
         delete pod web#1-9: node edge-2 is lost
         replicaset web#1 revision 1 asks for 2: 2 pods, 1 ready, 1 available
         deployment web revision 1: 2 pods, 2 updated, 1 ready, 1 available, MinimumReplicasUnavailable, NewReplicaSetAvailable
         create pod of web#1 on edge-1
         endpoints of web: web#1-8
         waiting node edge-2: node edge-2 is lost
         waiting deployment web: 1 of 2 pods are ready
         --
         remove pod web#1-9: node edge-2 is lost
         waiting node edge-2: node edge-2 is lost
         waiting deployment web: 1 of 2 pods are ready
         --
         node edge-2 is back: node edge-2 reports again
         event NodeBack node edge-2: node edge-2 reports again
         waiting deployment web: 1 of 2 pods are ready
         --",
    );
}

#[test]
fn a_new_leader_counts_anew_and_touches_nothing() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         silent edge-1
         after 3600
         restart
         plan
         after 5
         plan
         after 2
         plan",
        "look again at 4606s
         --
         --
         node edge-1 is lost: node edge-1 has not reported for 6 s
         event NodeLost node edge-1: node edge-1 has not reported for 6 s
         --",
    );
}

#[test]
fn a_node_is_lost_after_six_seconds_and_not_before() {
    check(
        "node edge-1 1Gi
         quietly
         silent edge-1
         after 5
         cordon edge-1
         plan
         after 1
         plan",
        "look again at 1006s
         --
         node edge-1 is lost: node edge-1 has not reported for 6 s
         event NodeLost node edge-1: node edge-1 has not reported for 6 s
         --",
    );
}

#[test]
fn a_lost_node_is_back_when_it_was_heard_and_not_because_the_leader_changed() {
    check(
        "node edge-1 1Gi
         quietly
         silent edge-1
         after 7
         quietly
         restart
         plan
         lease edge-1
         plan",
        "waiting node edge-1: node edge-1 is lost
         --
         node edge-1 is back: node edge-1 reports again
         event NodeBack node edge-1: node edge-1 reports again
         --",
    );
}

#[test]
fn endpoints_of_a_lost_node_get_no_requests_even_if_nothing_replaces_them() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         deploy web 2 web
         settle
         cordon edge-1
         silent edge-2
         after 7
         quietly
         plan
         pods",
        "delete pod web#1-9: node edge-2 is lost
         replicaset web#1 revision 1 asks for 2: 2 pods, 1 ready, 1 available
         deployment web revision 1: 2 pods, 2 updated, 1 ready, 1 available, MinimumReplicasUnavailable, NewReplicaSetAvailable
         create pod of web#1 without a node: no node may take it (edge-1: cordoned, edge-2: lost)
         event Unschedulable deployment web: no node may take it (edge-1: cordoned, edge-2: lost)
         endpoints of web: web#1-8
         waiting node edge-2: node edge-2 is lost
         waiting deployment web: 1 of 2 pods are ready
         waiting deployment web: no node may take it (edge-1: cordoned, edge-2: lost)
         --
         web#1-14 on nowhere
         web#1-8 on edge-1
         web#1-9 on edge-2 leaving
         --",
    );
}
