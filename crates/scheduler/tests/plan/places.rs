//! Which pods go where, and which go first.

use crate::teller::check;

#[test]
fn nothing_fits_and_every_node_says_why() {
    check(
        "node edge-1 100Mi
         node edge-2 1Gi region=us
         node edge-3 1Gi
         cordon edge-3
         deploy web 3 web memory=90Mi node=region=eu
         plan
         node edge-4 100Mi region=eu
         plan",
        "create replicaset web#1 revision 1 with 3 pods of web
         event Scaled deployment web: web#1 goes from 0 to 3 pods
         deployment web revision 1: 3 pods, 3 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         create pod of web#1 without a node: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         create pod of web#1 without a node: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         create pod of web#1 without a node: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         event Unschedulable deployment web: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         endpoints of web: none
         waiting deployment web: 0 of 3 pods are ready
         waiting deployment web: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         look again at 1006s
         --
         bind pod web#1-10 to edge-4
         pod web#1-11 still has no node: no node has 90Mi free (edge-4: 10Mi free of 100Mi, edge-2: has no label region=eu, edge-3: cordoned, and 1 more)
         pod web#1-12 still has no node: no node has 90Mi free (edge-4: 10Mi free of 100Mi, edge-2: has no label region=eu, edge-3: cordoned, and 1 more)
         waiting deployment web: 3 pods: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         waiting pod web#1-11: no node has 90Mi free (edge-4: 10Mi free of 100Mi, edge-2: has no label region=eu, edge-3: cordoned, and 1 more)
         waiting pod web#1-12: no node has 90Mi free (edge-4: 10Mi free of 100Mi, edge-2: has no label region=eu, edge-3: cordoned, and 1 more)
         look again at 1006s
         --",
    );
}

#[test]
fn scaling_down_takes_the_broken_then_the_crowded_then_the_newest() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         deploy web 5 web
         settle
         unready web#1.1
         quietly
         deploy web 2 web
         plan",
        "delete pod web#1-9: scaled down
         delete pod web#1-8: scaled down
         delete pod web#1-12: scaled down
         replicaset web#1 revision 1 asks for 2: 2 pods, 2 ready, 2 available
         event Scaled deployment web: web#1 goes from 5 to 2 pods
         deployment web revision 1: 2 pods, 2 updated, 2 ready, 2 available, MinimumReplicasAvailable, NewReplicaSetAvailable
         endpoints of web: web#1-10 web#1-11
         --",
    );
}

#[test]
fn pods_are_spread_over_the_values_of_a_label() {
    check(
        "node edge-1 1Gi zone=a
         node edge-2 4Gi zone=b
         node edge-3 4Gi zone=b
         deploy web 4 web spread=zone
         quietly
         pods",
        "web#1-10 on edge-1
         web#1-11 on edge-2
         web#1-12 on edge-3
         web#1-13 on edge-1
         --",
    );
}

#[test]
fn pods_are_spread_over_several_labels_the_first_before_the_others() {
    check(
        "node edge-1 4Gi zone=a rack=a1
         node edge-2 4Gi zone=a rack=a1
         node edge-3 4Gi zone=a rack=a2
         node edge-4 4Gi zone=b rack=b1
         deploy web 4 web spread=zone,rack
         quietly
         pods",
        "web#1-12 on edge-1
         web#1-13 on edge-4
         web#1-14 on edge-3
         web#1-15 on edge-4
         --",
    );
}

#[test]
fn pods_are_spread_over_nodes_before_the_emptiest_gets_a_second_one() {
    check(
        "node edge-1 1Gi
         node edge-2 8Gi
         deploy web 2 web memory=256Mi
         quietly
         deploy blog 3 blog
         quietly
         pods",
        "blog#1-15 on edge-2
         blog#1-16 on edge-1
         blog#1-17 on edge-2
         web#1-8 on edge-1
         web#1-9 on edge-2
         --",
    );
}

#[test]
fn a_port_of_a_node_goes_to_one_pod_and_the_next_waits_for_it() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         deploy chat 3 chat listen=5000/tcp surge=0 unavailable=1
         settle
         pods
         deploy mail 1 mail listen=25/tcp
         quietly
         deploy chat 1 chat listen=5000/tcp surge=0 unavailable=1
         settle
         pods
         deploy chat 1 chat:2 listen=5000/tcp surge=0 unavailable=1
         settle
         pods",
        "chat#1-10 on nowhere
         chat#1-8 on edge-1
         chat#1-9 on edge-2
         --
         chat#1-8 on edge-1
         mail#1-17 on edge-1
         --
         chat#2-24 on edge-2
         mail#1-17 on edge-1
         --",
    );
}

#[test]
fn a_pod_that_goes_gets_no_node_in_the_same_plan() {
    check(
        "node edge-1 100Mi
         deploy web 3 web memory=60Mi
         quietly
         node edge-2 1Gi
         deploy web 1 web memory=60Mi
         plan
         pods",
        "delete pod web#1-8: scaled down
         delete pod web#1-7: scaled down
         replicaset web#1 revision 1 asks for 1: 1 pods, 0 ready, 0 available
         event Scaled deployment web: web#1 goes from 3 to 1 pods
         deployment web revision 1: 1 pods, 1 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated
         waiting deployment web: 0 of 1 pods are ready
         look again at 1006s
         --
         web#1-6 on edge-1
         web#1-7 on nowhere leaving
         web#1-8 on nowhere leaving
         --",
    );
}
