//! `top`: what the node of these tests says that its pods use.

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_shows_what_nodes_and_pods_use() {
    let Some(cluster) = Cluster::with_node().await else { return };
    for (name, replicas) in [("web", 2), ("idle", 1), ("young", 1)] {
        cluster.kubectl_with(&["create", "-f", "-"], &cluster.deployment(name, replicas)).await.ok();
        cluster.until(&["get", "deployment", name], |out| out.contains(&format!("{replicas}/{replicas}"))).await;
    }
    let rows = async |args: &[&str]| -> Vec<Vec<String>> {
        let told = cluster.kubectl(&[&["top"], args].concat()).await.ok();
        told.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let node = rows(&["nodes"]).await;
    assert_eq!(node[0], ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"], "{node:?}");
    assert_eq!(node[1], [NODE, "250m", "6%", "1024Mi", "12%"]);
    let pods = rows(&["pods", "--no-headers", "--sort-by=cpu"]).await;
    let used: Vec<_> = pods.iter().map(|row| (row[0].split('-').next().unwrap(), row[1].as_str(), row[2].as_str())).collect();
    // One that was not measured yet is not in the list; one that uses nothing is.
    assert_eq!(used, [("web", "12m", "3Mi"), ("web", "12m", "3Mi"), ("idle", "0m", "0Mi")]);
    assert_eq!(rows(&["pods", "-l", "app=web", "--no-headers"]).await.len(), 2);
    let all = rows(&["pods", "-A", "--containers", "-l", "app=idle"]).await;
    assert_eq!(all[0], ["NAMESPACE", "POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]);
    assert_eq!((all[1][0].as_str(), all[1][2].as_str()), ("default", "idle"));
    let young = cluster.kubectl(&["get", "pods", "-l", "app=young", "-o", "name"]).await.ok();
    let told = cluster.kubectl(&["top", "pod", young.trim().trim_start_matches("pod/")]).await.fails();
    assert!(told.contains("NotFound") && told.contains("podmetrics.metrics.k8s.io"), "{told}");
    let told = cluster.kubectl(&["top", "pods", "-l", "app=young"]).await;
    assert!(told.code != Some(0) && told.err.contains("etrics not available"), "{told:?}");
    let metrics = cluster.kubectl(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"]).await.ok();
    let metrics: serde_json::Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!((&metrics["items"][0]["window"], &metrics["items"][0]["timestamp"]), (&"5.004s".into(), &crate::agent::MEASURED.into()));
    cluster.stop().await;
}
