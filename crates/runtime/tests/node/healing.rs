//! Crashes, restarts, probes, secrets: what becomes of a pod.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;

use crate::cluster::{Cluster, name, state, within};

#[tokio::test(flavor = "multi_thread")]
async fn five_traps_end_an_instance_and_it_serves_again_at_once() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    cluster.ready("web", 1).await;
    for _ in 0..5 {
        assert_eq!(cluster.get("web", "/panic").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let crashed = Instant::now();
    let again = async { while cluster.get("web", "/").await.0 != StatusCode::OK {} };
    within("a restart", again).await;
    println!("serving again after {:?}", crashed.elapsed());
    let last = cluster.seen("web", |pod| Some(state(pod)).filter(|state| state["restartCount"] == 1 && state["ready"] == true)).await;
    let terminated = &last["lastState"]["terminated"];
    assert_eq!((terminated["reason"].as_str(), terminated["exitCode"].as_i64()), (Some("Trap"), Some(134)));
    let message = terminated["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("5 traps in a row") && message.contains("hostile"), "the trap and its backtrace: {message}");
    assert!(cluster.told("Trap").await.contains("5 traps in a row"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_waits_longer_and_shows() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({"wctl.dev/restart-backoff": "1s..5s"}), json!({})).await;
    cluster.ready("web", 1).await;
    let crash = async {
        loop {
            cluster.get("web", "/panic").await;
            let pods = cluster.pods().list(&Default::default()).await.expect("pods");
            if let Some(pod) = pods.items.iter().find(|pod| state(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff") {
                return state(pod)["state"]["waiting"]["message"].as_str().unwrap_or_default().to_owned();
            }
        }
    };
    let message = within("a crash loop", crash).await;
    assert!(message.starts_with("it starts again in "), "{message}");
    assert!(cluster.told("BackOff").await.contains("it starts again in"));
    cluster.ready("web", 1).await;
    assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_replicas_serve_while_one_restarts() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 3, json!({}), json!({})).await;
    cluster.ready("web", 3).await;
    for _ in 0..60 {
        let (status, _) = cluster.get("web", "/panic").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "only the trap itself fails, no request finds nobody");
        assert_eq!(cluster.get("web", "/").await.0, StatusCode::OK);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m14_a_missing_secret_is_named_and_the_pod_starts_once_it_is_set() {
    let cluster = Cluster::start().await;
    let key = json!({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "wctl-secrets", "key": "TOKEN"}}});
    cluster.deploy("web", 1, json!({}), json!({"env": [key]})).await;
    let waiting = cluster
        .seen("web", |pod| Some(state(pod)["state"]["waiting"].clone()).filter(|w| w["reason"] == "CreateContainerConfigError"))
        .await;
    assert!(waiting["message"].as_str().unwrap_or_default().contains("secret TOKEN is not set in namespace default"), "{waiting}");
    cluster.set_secret("TOKEN", "s3cret").await;
    cluster.ready("web", 1).await;
    assert!(cluster.get("web", "/env").await.1.contains("(\"TOKEN\", \"s3cret\")"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_fails_keeps_requests_away_and_a_liveness_probe_restarts() {
    let cluster = Cluster::start().await;
    let probe = |path: &str, period: u32| json!({"httpGet": {"path": path, "port": 80}, "periodSeconds": period, "failureThreshold": 1});
    cluster.deploy("ill", 1, json!({}), json!({"readinessProbe": probe("/panic", 1)})).await;
    cluster.deploy("dying", 1, json!({}), json!({"livenessProbe": probe("/none", 1)})).await;
    assert!(cluster.told("Unhealthy").await.contains("failed"));
    let last =
        cluster.seen("dying", |pod| Some(state(pod)["lastState"]["terminated"].clone()).filter(|last| last["reason"] == "Probe")).await;
    assert!(last["message"].as_str().unwrap_or_default().contains("liveness probe failed 1 times in a row: GET /none failed"), "{last}");
    assert_eq!(cluster.handle.ready("default", "ill"), 0);
    let (status, body) = cluster.get("ill", "/").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_finishes_its_requests_and_goes() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    cluster.ready("web", 1).await;
    let pod = cluster.seen("web", |pod| Some(name(pod))).await;
    let slow = cluster.open("web", "/sleep?1500000000", false);
    let delete = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.pods().delete(&pod, &Default::default()).await.expect("deleted");
    };
    let (response, ()) = tokio::join!(slow, delete);
    assert_eq!(response.status(), StatusCode::OK, "a request in flight ends well");
    let gone = async { while cluster.pods().get_opt(&pod).await.expect("an answer").is_some() {} };
    within("the pod's end", gone).await;
    cluster.ready("web", 1).await;
    cluster.stop().await;
}
