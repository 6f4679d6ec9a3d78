//! What a revision is made of, and how many are kept.

use crate::teller::check;

#[test]
fn a_tag_is_resolved_first() {
    check(
        "node edge-1 1Gi
         deploy web 1 web:1.0
         plan
         plan",
        "resolve web:1.0 for deployment web
         deployment web revision 1: 0 pods, 0 updated, 0 ready, 0 available, MinimumReplicasUnavailable, ResolvingImage, progress
         endpoints of web: none
         waiting deployment web: the digest of web:1.0 is being asked for
         look again at 1006s
         --
         create replicaset web#1 revision 1 with 1 pods of web:1.0
         event Scaled deployment web: web#1 goes from 0 to 1 pods
         deployment web revision 1: 1 pods, 1 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         create pod of web#1 on edge-1
         waiting deployment web: 0 of 1 pods are ready
         look again at 1060s
         --",
    );
}

#[test]
fn a_tag_that_is_not_there_is_asked_for_again_and_later_each_time() {
    check(
        "node edge-1 1Gi
         deploy web 1 web:1.0
         unresolved web 1
         plan
         after 1
         plan
         after 1
         plan
         unresolved web 2
         after 3
         plan
         after 1
         plan",
        "deployment web revision 1: 0 pods, 0 updated, 0 ready, 0 available, MinimumReplicasUnavailable, ImageUnresolved, progress
         event ImageUnresolved deployment web: web:1.0 cannot be resolved: there is no such tag
         endpoints of web: none
         waiting deployment web: web:1.0 cannot be resolved: there is no such tag
         look again at 1002s
         --
         waiting deployment web: web:1.0 cannot be resolved: there is no such tag
         look again at 1002s
         --
         resolve web:1.0 for deployment web
         waiting deployment web: web:1.0 cannot be resolved: there is no such tag
         look again at 1060s
         --
         waiting deployment web: web:1.0 cannot be resolved: there is no such tag
         look again at 1006s
         --
         resolve web:1.0 for deployment web
         waiting deployment web: web:1.0 cannot be resolved: there is no such tag
         look again at 1012s
         --",
    );
}

#[test]
fn as_many_old_revisions_are_kept_as_asked_for() {
    check(
        "node edge-1 1Gi
         deploy web 1 v1
         settle
         deploy web 1 v2
         settle
         deploy web 1 v3
         settle
         sets
         deploy web 1 v4
         settle
         sets",
        "web#1 web#2 web#3
         web#2 web#3 web#4",
    );
}
