//! Volumes over the life of pods, revisions and Apps.

use std::time::Duration;

use http::StatusCode;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::cluster::{Cluster, name, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_kept_over_revisions_and_goes_with_its_app() {
    let cluster = Cluster::start().await;
    cluster.deploy("keeper", 1, json!({"wctl.dev/volumes": "/data=1Mi"}), json!({})).await;
    cluster.deploy("other", 1, json!({"wctl.dev/volumes": "/data=1Mi"}), json!({})).await;
    cluster.ready("keeper", 1).await;
    cluster.ready("other", 1).await;
    assert_eq!(cluster.get("keeper", "/keep?/data/a|kept").await, (StatusCode::OK, "Ok(())".into()));
    assert_eq!(cluster.get("other", "/keep?/data/a").await.1, "NotFound");
    let before = cluster.seen("keeper", |pod| Some(name(pod))).await;
    cluster.change("keeper", json!({"metadata": {"annotations": {"wctl.dev/volumes": "/data=2Mi"}}})).await;
    cluster.seen("keeper", |pod| Some(name(pod)).filter(|now| *now != before)).await;
    let replaced = async {
        while cluster.pods().get_opt(&before).await.expect("an answer").is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the old pod's end", replaced).await;
    assert_eq!(cluster.get("keeper", "/keep?/data/a").await.1, "kept");
    // An App whose pods are stopped is not gone.
    let deployments = Api::<Deployment>::default_namespaced(cluster.client.clone());
    let scale = async |replicas: u32| {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        deployments.patch("keeper", &PatchParams::default(), &patch).await.expect("patched");
        cluster.ready("keeper", replicas as usize).await;
    };
    scale(0).await;
    let stopped = async {
        let of_app = ListParams::default().labels("wctl.dev/app=keeper");
        while !cluster.pods().list(&of_app).await.expect("pods").items.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the pods' end", stopped).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scale(1).await;
    assert_eq!(cluster.get("keeper", "/keep?/data/a").await.1, "kept");
    let volumes = cluster.node_folder().join("volumes");
    assert!(volumes.join("default_keeper").exists());
    Api::<Service>::default_namespaced(cluster.client.clone()).delete("keeper", &DeleteParams::default()).await.expect("deleted");
    assert!(volumes.join("default_keeper").exists(), "not under a pod that lives");
    deployments.delete("keeper", &DeleteParams::default()).await.expect("deleted");
    let gone = async {
        while volumes.join("default_keeper").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the volume's end", gone).await;
    assert!(volumes.join("default_other").exists());
    cluster.stop().await;
}
