//! Services that are reached from elsewhere.

use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_have_ports_on_nodes_and_addresses() {
    let Some(cluster) = Cluster::with_node().await else { return };
    cluster.kubectl(&["create", "deployment", "web", "--image", &cluster.image, "--port=5000"]).await.ok();
    cluster.kubectl(&["expose", "deployment", "web", "--name=out", "--type=LoadBalancer", "--port=80", "--target-port=5000"]).await.ok();
    let shown = cluster.until(&["get", "service", "out", "--no-headers"], |out| out.contains("127.0.0.1")).await;
    let out = cluster.get(&["service", "out"]).await;
    let port = out["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>()[1..5], ["LoadBalancer", "<none>", "127.0.0.1", &format!("80:{port}/TCP")]);
    let told = cluster.kubectl(&["describe", "service", "out"]).await.ok();
    assert!(told.contains("LoadBalancer Ingress:") && told.contains(&format!("{port}/TCP")), "{told}");
    cluster.kubectl(&["wait", "service/out", "--for=jsonpath={.status.loadBalancer.ingress}", "--timeout=10s"]).await.ok();

    let taken = cluster.kubectl(&["create", "service", "nodeport", "other", "--tcp=80:5000", &format!("--node-port={port}")]).await.fails();
    assert!(taken.contains(&format!("{port} belongs to the Service default/out")), "{taken}");
    let manifest =
        "apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { type: NodePort, selector: { app: web }, ports: [{ port: 80 }] }\n";
    let file = cluster.file("service.yaml", manifest);
    let file = file.to_str().unwrap();
    for how in [&["apply", "-f", file][..], &["apply", "--server-side", "--force-conflicts", "-f", file]] {
        cluster.kubectl(how).await.ok();
        let first = cluster.get(&["service", "web"]).await["spec"]["ports"][0]["nodePort"].clone();
        cluster.kubectl(how).await.ok();
        cluster.kubectl(&["label", "service", "web", "--overwrite", &format!("how=a{}", how.len())]).await.ok();
        assert_eq!(cluster.get(&["service", "web"]).await["spec"]["ports"][0]["nodePort"], first);
    }
    cluster.kubectl(&["patch", "service", "out", "-p", r#"{"spec":{"type":"ClusterIP"}}"#]).await.ok();
    let shown = cluster.until(&["get", "service", "out", "--no-headers"], |out| !out.contains("127.0.0.1")).await;
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>()[1..5], ["ClusterIP", "<none>", "<none>", "80/TCP"]);
    assert_eq!(cluster.get(&["service", "out"]).await["status"]["loadBalancer"], json!({}));
    cluster.stop().await;
}
