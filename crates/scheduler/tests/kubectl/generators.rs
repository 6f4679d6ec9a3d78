//! Verbs that make an object out of their arguments; some send it as protobuf and nothing else.

use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_makes_what_its_arguments_say() {
    let Some(cluster) = Cluster::with_node().await else { return };
    cluster.kubectl(&["create", "deployment", "web", "--image", &cluster.image, "--replicas=2", "--port=5000"]).await.ok();
    cluster.until(&["get", "deployment", "web"], |out| out.contains("2/2")).await;
    let web = cluster.get(&["deployment", "web"]).await;
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"], json!(5000));
    cluster.kubectl(&["autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=80"]).await.ok();
    let hpa = cluster.get(&["hpa", "web"]).await;
    assert_eq!((&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]), (&json!(1), &json!(3)), "{hpa}");
    cluster.kubectl(&["expose", "deployment", "web", "--port=80", "--target-port=5000"]).await.ok();
    cluster.kubectl(&["create", "namespace", "shop"]).await.ok();
    cluster.kubectl(&["create", "configmap", "settings", "--from-literal=a=1", "-n", "shop"]).await.ok();
    cluster.kubectl(&["create", "secret", "generic", "keys", "--from-literal=a=hello"]).await.ok();
    assert_eq!(cluster.get(&["secret", "keys"]).await["data"], json!({ "a": "aGVsbG8=" }));
    cluster.kubectl(&["create", "ingress", "web", "--rule=web.localhost/*=web:80"]).await.ok();
    cluster.kubectl(&["create", "serviceaccount", "robot"]).await.ok();
    assert_eq!(cluster.get(&["ingress", "web"]).await["spec"]["rules"][0]["host"], json!("web.localhost"));
    cluster.stop().await;
}
