//! `get` in its forms, and what else only reads.

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_becomes_pods_whose_logs_are_read() {
    let Some(cluster) = Cluster::with_node().await else { return };
    let file = cluster.file("web.yaml", &cluster.deployment("web", 2));
    cluster.kubectl(&["create", "--validate=false", "-f", file.to_str().unwrap()]).await.ok();
    cluster.until(&["get", "deployment", "web"], |out| out.contains("2/2")).await;
    let pods = cluster.get(&["pods", "-l", "app=web"]).await;
    let name = pods["items"][0]["metadata"]["name"].as_str().unwrap();
    assert_eq!(cluster.kubectl(&["logs", name]).await.ok(), crate::agent::LOG);
    let told = cluster.kubectl(&["logs", "nobody"]).await.fails();
    assert!(told.contains("pods \"nobody\" not found"), "{told}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_shows_objects_in_every_form() {
    let Some(cluster) = Cluster::with_node().await else { return };
    for name in ["web", "api"] {
        cluster.kubectl_with(&["create", "-f", "-"], &cluster.deployment(name, 2)).await.ok();
        cluster.until(&["get", "deployment", name], |out| out.contains("2/2")).await;
    }
    let lines = async |args: &[&str]| cluster.kubectl(args).await.ok().lines().map(str::to_owned).collect::<Vec<_>>();
    let wide = lines(&["get", "pods", "-o", "wide", "-A"]).await;
    assert_eq!(wide.len(), 5, "{wide:?}");
    for column in ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"] {
        assert!(wide[0].contains(column), "{column} in {}", wide[0]);
    }
    assert_eq!(lines(&["get", "pods", "-o", "name", "-l", "app in (web),app!=api"]).await.len(), 2);
    assert_eq!(lines(&["get", "pods", "--no-headers", "--chunk-size=1"]).await.len(), 4);
    assert_eq!(lines(&["get", "pods", "-o", "name", "--field-selector", "spec.nodeName=edge-1,status.phase=Running"]).await.len(), 4);
    assert_eq!(lines(&["get", "pods", "-o", "name", "--field-selector", "status.phase!=Running"]).await.len(), 0);
    assert_eq!(cluster.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].status.phase}"]).await.ok(), ["Running"; 4].join(" "));
    let custom =
        ["get", "deployments", "--sort-by=.metadata.name", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas", "--no-headers"];
    let custom = lines(&custom).await;
    assert_eq!(custom.iter().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect::<Vec<_>>(), [["api", "2"], ["web", "2"]]);
    let yaml = cluster.kubectl(&["get", "deployment", "web", "-o", "yaml"]).await.ok();
    assert!(yaml.starts_with("apiVersion: apps/v1\nkind: Deployment\n"), "{yaml}");
    let told = cluster.kubectl(&["get", "events", "--field-selector", "involvedObject.kind=Deployment,involvedObject.name=web"]).await.ok();
    assert!(told.contains("deployment/web") && !told.contains("deployment/api"), "{told}");
    assert!(cluster.kubectl(&["events", "--for", "deployment/web"]).await.ok().contains("Deployment/web"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn describe_has_no_gaps() {
    let Some(cluster) = Cluster::with_node().await else { return };
    cluster.kubectl_with(&["create", "-f", "-"], &cluster.deployment("web", 1)).await.ok();
    cluster.kubectl(&["expose", "deployment", "web", "--port=80", "--target-port=5000"]).await.ok();
    cluster.kubectl(&["create", "ingress", "web", "--rule=web.localhost/*=web:80"]).await.ok();
    let endpoints = cluster.until(&["describe", "service", "web"], |out| out.contains("127.0.0.1:5000")).await;
    assert!(endpoints.contains("Endpoints:                127.0.0.1:5000"), "{endpoints}");
    for (kind, wanted) in [
        (
            "deployment",
            &["Replicas:", "1 desired", "StrategyType:", "Conditions:", "Events:", "OldReplicaSets:  <none>\nNewReplicaSet:   web-"][..],
        ),
        ("replicaset", &["Controlled By:  Deployment/web", "1 current / 1 desired"]),
        ("pod", &["Node:                edge-1/127.0.0.1", "Status:              Running", "Ready:          True"]),
        ("node", &["kubernetes.io/hostname=edge-1", "HolderIdentity:  edge-1", "Non-terminated Pods:          (1 in total)"]),
        ("ingress", &["web.localhost", "web:80 (127.0.0.1:5000)"]),
        ("namespace/default", &["Status:       Active"]),
    ] {
        let told = cluster.kubectl(&["describe", kind]).await.ok();
        for words in wanted {
            assert!(told.contains(words), "{words:?} in {told}");
        }
        assert!(!told.contains("<unknown>"), "{told}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_component_does_not_have_is_refused_in_one_sentence() {
    let Some(cluster) = Cluster::with_node().await else { return };
    cluster.kubectl_with(&["create", "-f", "-"], &cluster.deployment("web", 1)).await.ok();
    cluster.until(&["get", "deployment", "web"], |out| out.contains("1/1")).await;
    for args in [&["exec", "deploy/web", "--", "ls"][..], &["attach", "deploy/web"]] {
        let told = cluster.kubectl(args).await.fails();
        assert!(told.contains("does not work on a component"), "{told}");
    }
    let set = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: { name: web }\n";
    let told = cluster.kubectl_with(&["create", "-f", "-"], set).await.fails();
    assert!(told.contains("deploy a Deployment"), "{told}");
    cluster.stop().await;
}
