//! Pods that nobody asks sleep, and wake with the first request.

use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::cluster::{Cluster, name, state};

/// The pod's name, where it sleeps.
fn asleep(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let sleeps = conditions.iter().any(|condition| condition.type_ == scheduler::names::ASLEEP && condition.status == "True");
    (sleeps && pod.metadata.deletion_timestamp.is_none()).then(|| name(pod))
}

fn wakes(cluster: &Cluster) -> u64 {
    cluster.metric("wctl_instance_wakes_total")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_nobody_asks_sleeps_and_requests_that_come_together_wake_it_once() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    cluster.may_sleep("web", 1).await;
    let slept = cluster.seen("web", asleep).await;
    let pod = cluster.pods().get(&slept).await.expect("the pod");
    assert_eq!(state(&pod)["state"]["waiting"]["reason"], "Asleep");
    assert_eq!(state(&pod)["ready"], true, "it can answer");
    assert_eq!((cluster.handle.ready("default", "web"), wakes(&cluster)), (1, 0));
    let together = futures::future::join_all((0..40).map(|_| cluster.get("web", "/"))).await;
    assert!(together.iter().all(|(status, body)| *status == StatusCode::OK && body == "hello"), "{together:?}");
    assert_eq!(wakes(&cluster), 1);
    let awake = cluster.seen("web", |pod| (asleep(pod).is_none() && state(pod)["state"]["running"].is_object()).then(|| name(pod))).await;
    assert_eq!(awake, slept, "the same pod, with no restart");
    assert_eq!(cluster.seen("web", asleep).await, slept, "and again");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_gateway_wakes_it_and_calls_of_other_services_do() {
    let mut cluster = Cluster::start().await;
    let two = cluster.join().await;
    cluster.pod_on("edge-1", "shop", "front", json!({"wctl.dev/call": "back"})).await;
    cluster.route_to("shop", "front").await;
    cluster.pod_on("edge-2", "shop", "back", json!({"wctl.dev/sleep": "1"})).await;
    cluster.route_to("shop", "back").await;
    cluster.ready("shop-front", 1).await;
    cluster.ready("shop-back", 1).await;
    let far = || Cluster::metric_at(&two.handle, "wctl_instance_wakes_total");
    cluster.seen("shop", asleep).await;
    assert_eq!(cluster.get("shop-back", "/").await, (StatusCode::OK, "hello".into()));
    assert_eq!((wakes(&cluster), far()), (0, 1), "it woke where it is");
    cluster.seen("shop", |pod| (name(pod) == "shop-back-edge-2" && asleep(pod).is_none()).then_some(())).await;
    cluster.seen("shop", asleep).await;
    let (status, body) = cluster.get("shop-front", "/trace?http|back.internal|/trace").await;
    assert_eq!((status, far()), (StatusCode::OK, 2), "{body}");
    two.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_of_a_pod_that_sleeps_takes_its_place_without_a_failed_request() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    cluster.may_sleep("web", 1).await;
    for revision in 1..4 {
        let before = cluster.seen("web", asleep).await;
        cluster.change("web", json!({"metadata": {"annotations": {"v": revision.to_string()}}})).await;
        let after = cluster.seen("web", |pod| asleep(pod).filter(|name| *name != before)).await;
        assert_eq!(cluster.get("web", "/").await, (StatusCode::OK, "hello".into()), "{after} wakes");
    }
    cluster.stop().await;
}
