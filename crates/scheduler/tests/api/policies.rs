//! Who may do what, and the ceiling of a namespace.

use scheduler::auth::Identity;
use serde_json::{Value, json};

use crate::support::*;

const POLICIES: &str = "/apis/wctl.dev/v1/namespaces/default/policies";

fn connects(name: &str, targets: &str) -> Value {
    let mut object = deployment(name);
    object["spec"]["template"]["metadata"]["annotations"] = json!({ "wctl.dev/connect": targets });
    object
}

#[tokio::test]
async fn a_deployer_is_held_to_its_namespace_and_cannot_grant_local_addresses() {
    let cluster = Cluster::start().await;
    let alice = cluster.client(Identity::deployer("alice", "default"));
    alice.post(DEPLOYMENTS, connects("far", "https://api.mail.example:443,tcp://10.0.0.5:5432")).await.ok();
    for target in
        ["http://127.0.0.1:6443", "http://localhost:80", "http://169.254.169.254:80", "tcp://[::1]:5432", "http://[::ffff:7f00:1]:80"]
    {
        let answer = alice.post(DEPLOYMENTS, connects("near", target)).await;
        assert_eq!(answer.fields(), ["spec.template.metadata.annotations[wctl.dev/connect]"], "{target}");
        answer.refused(403, "Forbidden");
    }
    // The same through an App.
    let services = json!({ "web": { "image": image("web"), "uses": { "connect": ["http://127.0.0.1:6443"] } } });
    alice.put(&format!("{APPS}/near"), app("near", services.clone())).await.refused(403, "Forbidden");
    cluster.admin().put(&format!("{APPS}/near"), app("near", services)).await.ok();
    // What the admin granted can be scaled, but not given to other code.
    alice.put(&format!("{DEPLOYMENTS}/near-web/scale"), json!({ "spec": { "replicas": 2 } })).await.ok();
    let other = json!({ "spec": { "services": { "web": { "image": image("evil") } } } });
    alice.merge(&format!("{APPS}/near"), other).await.refused(403, "Forbidden");
    for path in ["/api/v1/namespaces/other/configmaps", "/api/v1/secrets", "/api/v1/pods"] {
        alice.get(path).await.refused(403, "Forbidden");
    }
    let refused = alice.post(POLICIES, json!({ "metadata": { "name": "mine" }, "spec": {} })).await.refused(403, "Forbidden");
    assert!(refused["message"].as_str().unwrap().contains("alice"), "{refused}");
}

#[tokio::test]
async fn a_policy_binds_apps_and_deployments_alike() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let rules = json!({
        "connect": ["*.mail.example"], "hosts": ["*.shop.example"], "registries": ["embedded"],
        "limits": { "memory": "64Mi" }, "quota": { "pods": 3 },
    });
    client.post(POLICIES, json!({ "metadata": { "name": "p" }, "spec": rules })).await.ok();
    let web = |extra: Value| {
        let mut service = json!({ "image": image("web"), "limits": { "memory": "64Mi" }, "route": "a.shop.example" });
        service.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        app("web", json!({ "web": service }))
    };
    let path = format!("{APPS}/web");
    for (wrong, field) in [
        (json!({ "limits": { "memory": "65Mi" } }), "spec.template.spec.containers[0].resources.limits.memory"),
        (json!({ "image": image("ghcr.io/acme/web") }), "spec.template.spec.containers[0].image"),
        (json!({ "route": "evil.example" }), "spec.rules[0].host"),
        (json!({ "uses": { "connect": ["https://evil.example:443"] } }), "spec.template.metadata.annotations[wctl.dev/connect]"),
    ] {
        let answer = client.put(&path, web(wrong.clone())).await;
        assert_eq!(answer.fields(), [field], "{wrong} {}", answer.body);
        answer.refused(403, "Forbidden");
    }
    let many = client.put(&path, web(json!({ "replicas": 4 }))).await.refused(403, "Forbidden");
    assert!(many["message"].as_str().unwrap().contains("quota of pods, 3"), "{many}");
    client.put(&path, web(json!({ "replicas": 3 }))).await.ok();
    client.put(&format!("{DEPLOYMENTS}/web/scale"), json!({ "spec": { "replicas": 4 } })).await.refused(403, "Forbidden");
    let mut by_hand = deployment("hand");
    by_hand["spec"]["replicas"] = json!(0);
    assert_eq!(client.post(DEPLOYMENTS, by_hand).await.fields(), ["spec.template.spec.containers[0].resources.limits.memory"]);
    client.post(POLICIES, json!({ "metadata": { "name": "q" }, "spec": { "conect": [] } })).await.refused(422, "Invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_holds_when_many_ask_at_once() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post(POLICIES, json!({ "metadata": { "name": "p" }, "spec": { "quota": { "pods": 5 } } })).await.ok();
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..24 {
        let client = client.clone();
        asking.spawn(async move {
            let pod = json!({ "containers": [{ "name": "web", "image": image("web") }] });
            match n % 3 {
                0 => client.post(DEPLOYMENTS, deployment(&format!("d{n}"))).await,
                1 => client.post(PODS, json!({ "metadata": { "name": format!("p{n}") }, "spec": pod })).await,
                _ => {
                    let name = format!("a{n}");
                    client.put(&format!("{APPS}/{name}"), app(&name, json!({ "web": { "image": image("web") } }))).await
                }
            }
        });
    }
    let answers = asking.join_all().await;
    let codes = |code: u16| answers.iter().filter(|answer| answer.code.as_u16() == code).count();
    assert_eq!((codes(201), codes(403)), (5, 19), "{answers:?}");
    // And so when something that is there grows.
    client.put(&format!("{DEPLOYMENTS}/none/scale"), json!({ "spec": { "replicas": 2 } })).await.refused(404, "NotFound");
    for object in client.get(DEPLOYMENTS).await.ok()["items"].as_array().unwrap() {
        let path = format!("{DEPLOYMENTS}/{}/scale", object["metadata"]["name"].as_str().unwrap());
        client.put(&path, json!({ "spec": { "replicas": 2 } })).await.refused(403, "Forbidden");
    }
}

#[tokio::test]
async fn a_quota_counts_what_no_deployment_owns() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post(POLICIES, json!({ "metadata": { "name": "p" }, "spec": { "quota": { "pods": 2 } } })).await.ok();
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let mut set = deployment("set");
    (set["kind"], set["spec"]["replicas"]) = (json!("ReplicaSet"), json!(3));
    set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image("web"));
    client.post(sets, set.clone()).await.refused(403, "Forbidden");
    set["spec"]["replicas"] = json!(1);
    client.post(sets, set).await.ok();
    let owner = client.post(CONFIG_MAPS, config_map("a", json!({}))).await.ok();
    let pod = |name: &str| {
        // Whoever pretends to own it does not count for it.
        let owner =
            json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "set", "uid": owner["metadata"]["uid"], "controller": true });
        json!({
            "metadata": { "name": name, "ownerReferences": [owner] }, "spec": { "containers": [{ "name": "web", "image": image("web") }] },
        })
    };
    client.post(PODS, pod("one")).await.ok();
    client.post(PODS, pod("two")).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn an_agent_writes_only_what_is_its_own() {
    let cluster = Cluster::start().await;
    let node = cluster.client(Identity::node("n1"));
    let object = |name: &str| json!({ "metadata": { "name": name }, "status": { "capacity": { "memory": "1Gi" } } });
    let made = node.post("/api/v1/nodes", object("n1")).await.ok();
    assert_eq!(made["status"]["capacity"]["memory"], "1Gi");
    node.post("/api/v1/nodes", object("n2")).await.refused(403, "Forbidden");
    let lease = |name: &str| json!({ "metadata": { "name": name }, "spec": { "holderIdentity": "n1" } });
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    node.put(&format!("{leases}/n1"), lease("n1")).await.ok();
    node.put(&format!("{leases}/n2"), lease("n2")).await.refused(403, "Forbidden");
    node.get("/apis/wctl.dev/v1/nodes/n2/asks").await.refused(403, "Forbidden");
    node.post(DEPLOYMENTS, deployment("web")).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn a_viewer_sees_no_secrets_and_changes_nothing() {
    let cluster = Cluster::start().await;
    let viewer = cluster.client(Identity::viewer("bob"));
    viewer.get(PODS).await.ok();
    viewer.get("/api/v1/namespaces/default/secrets").await.refused(403, "Forbidden");
    viewer.post(CONFIG_MAPS, config_map("a", json!({}))).await.refused(403, "Forbidden");
    viewer.put(&format!("{DEPLOYMENTS}/web/scale"), json!({ "spec": { "replicas": 1 } })).await.refused(403, "Forbidden");
}
