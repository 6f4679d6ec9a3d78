//! Apps: their services together, and their way back.

use crate::cluster::{Cluster, id};
use crate::teller::check;
use scheduler::kinds;
use scheduler::plan::Action;
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn all_services_of_an_app_go_back_when_one_is_not_ready_in_time() {
    check(
        "node edge-1 1Gi
         app shop user=1:user web=1:web
         settle
         app shop user=1:user2 web=1:bad
         settle
         crash shop-web#2.0 Trap unreachable
         quietly
         after 61
         plan
         settle
         pods",
        "deployment shop-web revision 2: 2 pods, 1 updated, 1 ready, 1 available, MinimumReplicasAvailable, ProgressDeadlineExceeded
         event NotReadyInTime deployment shop-web: the revision is not ready, and nothing moved for 60 s
         roll back app shop to 1: shop-web was not ready in time (shop-web#2-25: Trap: unreachable): going back to revision 1
         event RolledBack app shop: shop-web was not ready in time (shop-web#2-25: Trap: unreachable): going back to revision 1
         waiting deployment shop-web: shop-web#2-25: Trap: unreachable
         look again at 1067s
         --
         shop-user#3-33 on edge-1
         shop-web#3-13 on edge-1
         --",
    );
}

#[test]
fn a_first_deploy_that_fails_stays_and_says_so() {
    check(
        "node edge-1 1Gi
         app shop web=1:bad
         settle
         after 61
         plan",
        "deployment shop-web revision 1: 1 pods, 1 updated, 0 ready, 0 available, MinimumReplicasUnavailable, ProgressDeadlineExceeded
         event NotReadyInTime deployment shop-web: the revision is not ready, and nothing moved for 60 s
         event Failed app shop: shop-web was not ready in time (0 of 1 pods are ready)
         app shop: Failed generation 1: shop-web was not ready in time (0 of 1 pods are ready)
         waiting deployment shop-web: 0 of 1 pods are ready
         waiting app shop: shop-web: 0 of 1 pods are ready
         look again at 1067s
         --",
    );
}

#[test]
fn an_app_that_is_deleted_goes_with_everything() {
    check(
        "node edge-1 1Gi
         app shop web=1:web
         settle
         delete app shop
         plan
         settle
         pods",
        "delete controllerrevision shop-1: its App shop is gone
         delete deployment shop-web: its App shop is gone
         delete service shop-web: its App shop is gone
         --
         --",
    );
}

#[test]
fn zero_replicas_is_stopped() {
    check(
        "node edge-1 1Gi
         app shop web=2:web
         settle
         app shop web=0:web
         plan
         settle
         pods",
        "delete pod shop-web#1-9: scaled down
         delete pod shop-web#1-8: scaled down
         replicaset shop-web#1 revision 1 asks for 0: 0 pods, 0 ready, 0 available
         event Scaled deployment shop-web: shop-web#1 goes from 2 to 0 pods
         deployment shop-web revision 1: 0 pods, 0 updated, 0 ready, 0 available, MinimumReplicasAvailable, NewReplicaSetAvailable
         endpoints of shop-web: none
         app shop: Ready generation 2 good 2: all services are ready
         --
         --",
    );
}

#[test]
fn a_second_service_costs_the_first_one_nothing() {
    check(
        "node edge-1 1Gi
         app shop shop=1:web
         settle
         app shop shop=1:web user=1:user
         plan
         settle
         pods",
        "create replicaset shop-user#1 revision 1 with 1 pods of user
         event Scaled deployment shop-user: shop-user#1 goes from 0 to 1 pods
         deployment shop-user revision 1: 1 pods, 1 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         create pod of shop-user#1 on edge-1
         endpoints of shop-user: none
         app shop: Progressing generation 2 good 1: 1 of 2 services are ready
         waiting deployment shop-user: 0 of 1 pods are ready
         waiting app shop: shop-user: 0 of 1 pods are ready
         look again at 1060s
         --
         shop#1-8 on edge-1
         shop-user#1-17 on edge-1
         --",
    );
}

#[test]
fn the_way_back_is_gone_once() {
    check(
        "node edge-1 1Gi
         app shop web=1:web
         settle
         app shop web=1:bad
         quietly
         after 61
         unready shop-web#1.0
         quietly
         quietly
         after 61
         plan
         after 61
         plan",
        "deployment shop-web revision 3: 2 pods, 1 updated, 0 ready, 0 available, MinimumReplicasUnavailable, ProgressDeadlineExceeded
         event NotReadyInTime deployment shop-web: the revision is not ready, and nothing moved for 60 s
         event Failed app shop: shop-web was not ready in time (0 of 1 pods are ready)
         app shop: Failed generation 3 good 1: shop-web was not ready in time (0 of 1 pods are ready)
         waiting deployment shop-web: 0 of 1 pods are ready
         waiting app shop: shop-web: 0 of 1 pods are ready
         look again at 1128s
         --
         waiting deployment shop-web: 0 of 1 pods are ready
         waiting app shop: shop-web: 0 of 1 pods are ready
         look again at 1189s
         --",
    );
}

#[test]
fn an_app_that_failed_goes_back_once_the_good_revision_is_known() {
    let mut cluster = Cluster::new();
    let web = |image: &str| BTreeMap::from([("web".to_owned(), (1, format!("{image}@sha256:0")))]);
    cluster.node("edge-1", "1Gi", serde_json::json!({}));
    cluster.app("shop", &web("web"), None);
    cluster.settle();
    let good = cluster.get(&kinds::CONTROLLER_REVISION, "shop-1").expect("the good revision").0.clone();
    cluster.remove(&id(&kinds::CONTROLLER_REVISION, "shop-1"));
    cluster.app("shop", &web("bad"), None);
    cluster.settle();
    cluster.now += Duration::from_secs(61);
    cluster.lease("edge-1");
    cluster.settle();
    let phase = |cluster: &Cluster| cluster.get(&kinds::APP, "shop").expect("the App").status()["phase"].clone();
    assert_eq!(phase(&cluster), "Failed", "there is nothing to go back to");
    cluster.put(good);
    cluster.tell();
    let plan = cluster.turn();
    assert!(plan.actions.iter().any(|step| matches!(step.action, Action::RollBack { to: 1, .. })), "{plan}");
}

#[test]
fn an_app_makes_again_what_was_deleted_of_it_and_is_not_ready_meanwhile() {
    check(
        "node edge-1 1Gi
         app shop web=1:web
         settle
         delete deployment shop-web
         quietly
         settle
         pods
         delete service shop-web
         plan
         settle
         plan",
        "shop-web#1-16 on edge-1
         --
         delete endpointslice shop-web: its Service shop-web is gone
         event Missing app shop: service shop-web is gone and is made again
         make again what app shop stands for: service shop-web is gone and is made again
         app shop: Progressing generation 1 good 1: service shop-web is gone and is made again
         waiting app shop: service shop-web is gone and is made again
         look again at 1005s
         --
         --",
    );
}

#[test]
fn scales_push_no_rollout_out_of_the_history() {
    check(
        "node edge-1 1Gi
         app shop web=1:old
         settle
         app shop web=1:new
         settle
         app shop web=2:new
         settle
         app shop web=3:new
         settle
         app shop web=1:new
         settle
         app shop web=2:new
         settle
         app shop web=3:new
         settle
         app shop web=1:new
         settle
         app shop web=2:new
         settle
         app shop web=3:new
         settle
         app shop web=1:new
         settle
         app shop web=2:new
         settle
         app shop web=3:new
         settle
         generations",
        "shop-1 shop-10 shop-11 shop-12 shop-13 shop-5 shop-6 shop-7 shop-8 shop-9",
    );
}
