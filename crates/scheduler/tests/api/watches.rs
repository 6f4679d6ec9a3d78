//! Watches: resumed, selected, bookmarked, ended.

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_watch_goes_on_from_where_a_list_was_made() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post(CONFIG_MAPS, config_map("old", json!({}))).await.ok();
    let version = client.get(CONFIG_MAPS).await.ok()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    client.post(CONFIG_MAPS, config_map("a", json!({}))).await.ok();
    client.merge(&format!("{CONFIG_MAPS}/a"), json!({ "data": { "a": "2" } })).await.ok();
    client.delete(&format!("{CONFIG_MAPS}/a")).await.ok();
    let mut events = client.watch(&format!("{CONFIG_MAPS}?watch=true&resourceVersion={version}")).await;
    let (kind, added) = events.next().await;
    assert_eq!((kind.as_str(), &added["metadata"]["name"]), ("ADDED", &json!("a")));
    assert_eq!([events.told().await, events.told().await], ["MODIFIED a", "DELETED a"]);
    // Again from the middle: nothing is told twice, nothing is left out.
    let middle = added["metadata"]["resourceVersion"].as_str().unwrap();
    let mut again = client.watch(&format!("{CONFIG_MAPS}?watch=true&resourceVersion={middle}")).await;
    assert_eq!([again.told().await, again.told().await], ["MODIFIED a", "DELETED a"]);
    client.post(CONFIG_MAPS, config_map("b", json!({}))).await.ok();
    assert_eq!([events.told().await, again.told().await], ["ADDED b", "ADDED b"]);
}

#[tokio::test]
async fn a_watch_without_a_version_tells_first_what_is_there() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post(CONFIG_MAPS, config_map("a", json!({}))).await.ok();
    let mut events = client.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(events.told().await, "ADDED a");
    client.post(CONFIG_MAPS, config_map("b", json!({}))).await.ok();
    assert_eq!(events.told().await, "ADDED b");
    let initial = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut events = client.watch(&format!("{CONFIG_MAPS}?{initial}")).await;
    assert_eq!([events.told().await, events.told().await], ["ADDED a", "ADDED b"]);
    let (kind, bookmark) = events.next().await;
    assert_eq!((kind.as_str(), &bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"]), ("BOOKMARK", &json!("true")));
}

#[tokio::test]
async fn what_leaves_a_selector_is_deleted_for_its_watcher() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let mut events = client.watch(&format!("{CONFIG_MAPS}?watch=true&labelSelector=tier%3Dfront")).await;
    client.post(CONFIG_MAPS, config_map("other", json!({ "tier": "back" }))).await.ok();
    client.post(CONFIG_MAPS, config_map("a", json!({ "tier": "front" }))).await.ok();
    assert_eq!(events.told().await, "ADDED a");
    let left = client.merge(&format!("{CONFIG_MAPS}/a"), json!({ "metadata": { "labels": { "tier": "back" } } })).await.ok();
    let (kind, object) = events.next().await;
    assert_eq!((kind.as_str(), &object["metadata"]["labels"]["tier"]), ("DELETED", &json!("front")));
    assert_eq!(object["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
    client.merge(&format!("{CONFIG_MAPS}/other"), json!({ "metadata": { "labels": { "tier": "front" } } })).await.ok();
    assert_eq!(events.told().await, "ADDED other");
}

#[tokio::test]
async fn a_node_watches_the_pods_that_it_is_given() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let pod = json!({ "metadata": { "name": "web" }, "spec": { "containers": [{ "name": "web", "image": image("web") }] } });
    let node = cluster.client(scheduler::auth::Identity::node("n1"));
    let mut events = node.watch("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn1").await;
    let made = client.post(PODS, pod).await.ok();
    assert_eq!((&made["status"]["phase"], &made["spec"]["runtimeClassName"]), (&json!("Pending"), &json!("wasm")));
    client.merge(&format!("{PODS}/web"), json!({ "spec": { "nodeName": "n1" } })).await.ok();
    assert_eq!(events.told().await, "ADDED web");
    client.merge(&format!("{PODS}/web"), json!({ "spec": { "nodeName": "n2" } })).await.refused(422, "Invalid");
    node.merge(&format!("{PODS}/web/status"), json!({ "status": { "phase": "Running" } })).await.ok();
    let (_, object) = events.next().await;
    assert_eq!(object["status"]["phase"], "Running");
}

#[tokio::test]
async fn history_that_is_forgotten_is_410() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let first = client.post(CONFIG_MAPS, config_map("a", json!({}))).await.ok();
    for n in 0..3 {
        client.merge(&format!("{CONFIG_MAPS}/a"), json!({ "data": { "a": n.to_string() } })).await.ok();
    }
    let objects = cluster.server.objects();
    let now = objects.resource_version().await.unwrap();
    objects.store().compact(now / 256).await.unwrap();
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = client.watch(&format!("{CONFIG_MAPS}?watch=true&resourceVersion={version}")).await;
    let (kind, status) = events.next().await;
    assert_eq!((kind.as_str(), &status["code"], &status["reason"]), ("ERROR", &json!(410), &json!("Expired")));
    assert!(events.line().await.is_none(), "the watch ends");
}

#[tokio::test]
async fn bookmarks_tell_an_idle_watcher_how_far_it_has_seen() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let version = client.get(PODS).await.ok()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut events = client.watch(&format!("{PODS}?watch=true&allowWatchBookmarks=true&resourceVersion={version}")).await;
    client.post(CONFIG_MAPS, config_map("a", json!({}))).await.ok();
    cluster.server.objects().bookmark().await.unwrap();
    let (kind, bookmark) = events.next().await;
    let seen: u64 = bookmark["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert_eq!((kind.as_str(), &bookmark["kind"]), ("BOOKMARK", &json!("Pod")));
    assert!(seen > version.parse().unwrap());
}

#[tokio::test]
async fn a_watch_ends_after_its_time() {
    let cluster = Cluster::start().await;
    let mut events = cluster.admin().watch(&format!("{PODS}?watch=true&timeoutSeconds=1")).await;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), events.line()).await;
    assert!(matches!(ended, Ok(None)));
}
