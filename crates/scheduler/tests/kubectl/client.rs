//! kube-rs as a second client: what its typed API writes and watches. It needs no kubectl, but the cluster of these tests asks for one.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::support::*;

pub async fn client(cluster: &Cluster) -> Client {
    // The client that wctl itself is has installed it by then; here nobody has.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(cluster.home().join("config")).unwrap();
    Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()).unwrap()
}

fn deployment(cluster: &Cluster, replicas: Option<i32>) -> serde_json::Value {
    let container = json!({ "name": "web", "image": cluster.image, "ports": [{ "containerPort": 80 }] });
    let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [container] } });
    let mut spec = json!({ "selector": { "matchLabels": { "app": "web" } }, "template": template });
    if let Some(replicas) = replicas {
        spec["replicas"] = json!(replicas);
    }
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": spec })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kube_applies_patches_scales_and_watches() {
    let Some(cluster) = Cluster::with_node().await else { return };
    let client = client(&cluster).await;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let events = Box::pin(watcher::watcher(Api::<Pod>::default_namespaced(client.clone()), watcher::Config::default().labels("app=web")));
    let applied = deployments.patch("web", &PatchParams::apply("one"), &Patch::Apply(deployment(&cluster, Some(2)))).await.unwrap();
    assert_eq!(applied.spec.unwrap().replicas, Some(2));
    let seen = events.try_filter_map(|event| async move { Ok(if let Event::Apply(pod) = event { Some(pod) } else { None }) });
    let ready = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    let mut seen = Box::pin(seen.try_filter(move |pod| futures::future::ready(ready(pod))));
    let first = tokio::time::timeout(PATIENCE, seen.try_next()).await.unwrap().unwrap().unwrap();
    assert!(first.name_any().starts_with("web-"));

    let conflict = deployments.patch("web", &PatchParams::apply("two"), &Patch::Apply(deployment(&cluster, Some(3)))).await.unwrap_err();
    assert!(conflict.to_string().contains("conflict with \"one\": .spec.replicas"), "{conflict}");
    deployments.patch("web", &PatchParams::apply("two").force(), &Patch::Apply(deployment(&cluster, Some(3)))).await.unwrap();
    let scale = deployments.get_scale("web").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let scaled = Patch::Merge(json!({ "spec": { "replicas": 1 } }));
    let scale = deployments.patch_scale("web", &PatchParams::default(), &scaled).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(1));
    let strategic = Patch::Strategic(json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "args": ["-v"] }] } } } }));
    let patched = deployments.patch("web", &PatchParams::default(), &strategic).await.unwrap();
    let container = &patched.spec.unwrap().template.spec.unwrap().containers[0];
    assert_eq!((container.args.as_deref(), container.image.as_deref()), (Some(&["-v".to_owned()][..]), Some(cluster.image.as_str())));
    let status = Patch::Merge(json!({ "status": { "collisionCount": 7 }, "spec": { "replicas": 9 } }));
    let patched = deployments.patch_status("web", &PatchParams::default(), &status).await.unwrap();
    // The status subresource leaves the rest alone.
    assert_eq!(patched.spec.unwrap().replicas, Some(1));

    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let made = maps
        .create(&PostParams::default(), &serde_json::from_value(json!({ "metadata": { "generateName": "c-" } })).unwrap())
        .await
        .unwrap();
    let (name, uid) = (made.name_any(), made.uid());
    assert!(name.len() > 2 && name.starts_with("c-"), "{name}");
    let other = DeleteParams::default().preconditions(kube::api::Preconditions { uid: Some("other".into()), resource_version: None });
    assert!(maps.delete(&name, &other).await.unwrap_err().to_string().contains("precondition"));
    let mut stale = made.clone();
    stale.data = Some([("a".to_owned(), "1".to_owned())].into());
    maps.replace(&name, &PostParams::default(), &stale).await.unwrap();
    assert!(maps.replace(&name, &PostParams::default(), &stale).await.unwrap_err().to_string().contains("has been modified"));
    let own = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    let own = own.preconditions(kube::api::Preconditions { uid, resource_version: None });
    maps.delete(&name, &own).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflector_holds_what_there_is_and_a_controller_is_called_for_what_it_owns() {
    let Some(cluster) = Cluster::with_node().await else { return };
    let client = client(&cluster).await;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());

    // Lists in pages, or streams what is there; both end in the same.
    let mut followed = Vec::new();
    for config in [watcher::Config::default().page_size(1), watcher::Config::default().streaming_lists()] {
        let (store, writer) = reflector::store::<Pod>();
        let stream = watcher::watcher(pods.clone(), config).default_backoff().reflect(writer).applied_objects();
        followed.push((store, tokio::spawn(stream.for_each(|_| std::future::ready(())))));
    }

    // The least that a controller does: an annotation on each Deployment, by server-side apply, again when a ReplicaSet of it changes.
    let context = Arc::new(deployments.clone());
    let reconcile = |deployment: Arc<Deployment>, api: Arc<Api<Deployment>>| async move {
        let seen = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "annotations": { "example.com/seen": "yes" } } });
        api.patch(&deployment.name_any(), &PatchParams::apply("controller").force(), &Patch::Apply(seen)).await?;
        Ok::<_, kube::Error>(Action::requeue(Duration::from_secs(300)))
    };
    let again = |_: Arc<Deployment>, _: &kube::Error, _: Arc<Api<Deployment>>| Action::requeue(Duration::from_millis(100));
    let sets: Api<k8s_openapi::api::apps::v1::ReplicaSet> = Api::default_namespaced(client.clone());
    let controller = Controller::new(deployments.clone(), watcher::Config::default()).owns(sets, watcher::Config::default());
    let controller = tokio::spawn(controller.run(reconcile, again, context).for_each(|_| std::future::ready(())));

    deployments.patch("web", &PatchParams::apply("one"), &Patch::Apply(deployment(&cluster, Some(3)))).await.unwrap();
    let started = std::time::Instant::now();
    loop {
        let found = deployments.get("web").await.unwrap();
        let seen = found.annotations().get("example.com/seen").map(String::as_str) == Some("yes");
        if seen && followed.iter().all(|(store, _)| store.state().len() == 3) {
            break;
        }
        let held: Vec<usize> = followed.iter().map(|(store, _)| store.state().len()).collect();
        assert!(started.elapsed() < PATIENCE, "seen: {seen}, held: {held:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    deployments.delete("web", &DeleteParams::default()).await.unwrap();
    let started = std::time::Instant::now();
    while !followed.iter().all(|(store, _)| store.state().is_empty()) {
        assert!(started.elapsed() < PATIENCE, "pods that are gone are held");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    controller.abort();
    followed.into_iter().for_each(|(_, task)| task.abort());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_and_another_name_are_refused_in_one_sentence() {
    let Some(cluster) = Cluster::with_node().await else { return };
    let client = client(&cluster).await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let container = json!({ "name": "web", "image": cluster.image });
    let pod: Pod = serde_json::from_value(json!({ "metadata": { "name": "web" }, "spec": { "containers": [container] } })).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    for part in ["exec?command=ls&stdout=true", "attach?stdout=true"] {
        let request = http::Request::post(format!("/api/v1/namespaces/default/pods/web/{part}")).body(Vec::new()).unwrap();
        let told = client.request_text(request).await.unwrap_err().to_string();
        assert!(told.contains("does not work on a component"), "{told}");
    }
    let request = http::Request::get("/api/v1/namespaces/default/pods").header("impersonate-user", "bob").body(Vec::new()).unwrap();
    let told = client.request_text(request).await.unwrap_err().to_string();
    assert!(told.contains("cannot impersonate"), "{told}");
    cluster.stop().await;
}
