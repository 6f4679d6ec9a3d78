//! What kubectl learns of a server before it does anything.

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_says_what_it_is_and_what_it_serves() {
    let Some(cluster) = Cluster::start().await else { return };
    let told = cluster.kubectl(&["version"]).await.ok();
    assert!(told.contains("Server Version: v1.33.0+wctl."), "{told}");
    let told = cluster.kubectl(&["cluster-info"]).await.ok();
    assert!(told.contains("control plane") && told.contains("https://127.0.0.1:"), "{told}");
    let told = cluster.kubectl(&["api-versions"]).await.ok();
    for version in ["apps/v1", "authorization.k8s.io/v1", "batch/v1", "metrics.k8s.io/v1beta1", "v1", "wctl.dev/v1"] {
        assert!(told.lines().any(|line| line == version), "{version} in {told}");
    }
    let told = cluster.kubectl(&["api-resources", "-o", "wide"]).await.ok();
    for (name, parts) in [
        ("deployments", ["deploy", "apps/v1", "true", "Deployment", "patch", "all"]),
        ("apps", ["a", "wctl.dev/v1", "true", "App", "create", "all"]),
        ("nodes", ["no", "v1", "false", "Node", "delete", "watch"]),
    ] {
        let line = told.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_else(|| panic!("{name} in {told}"));
        assert!(parts.iter().all(|part| line.split([' ', ',']).any(|word| word == *part)), "{line}");
    }
    // Short names, singular names and kinds all work, and `all` is a category.
    for name in ["deploy", "deployment", "deployments.apps", "Deployment", "sts", "ds", "all", "hpa,ing,cm"] {
        cluster.kubectl(&["get", name]).await.ok();
    }
    for path in ["/healthz", "/readyz", "/livez?verbose"] {
        assert_eq!(cluster.kubectl(&["get", "--raw", path]).await.ok(), "ok");
    }
    let told = cluster.kubectl(&["config", "view", "--minify"]).await.ok();
    assert!(told.contains("current-context: wctl") && told.contains("token: REDACTED"), "{told}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_tells_of_every_kind_and_of_its_fields() {
    let Some(cluster) = Cluster::start().await else { return };
    let told = cluster.kubectl(&["explain", "deployment.spec.strategy.rollingUpdate.maxSurge"]).await.ok();
    assert!(told.contains("GROUP:      apps") && told.contains("FIELD: maxSurge <IntOrString>"), "{told}");
    let told = cluster.kubectl(&["explain", "pods", "--recursive"]).await.ok();
    assert!(told.contains("containers\t<[]Container> -required-") && told.contains("    containerPort\t<integer> -required-"), "{told}");
    let told = cluster.kubectl(&["explain", "app.spec.services.limits"]).await.ok();
    assert!(told.contains("memory\t<string>"), "{told}");
    let all = cluster.kubectl(&["api-resources", "-o", "name", "--verbs=list"]).await.ok();
    // kubectl takes the dots of the longer names for a path of fields.
    for name in all.lines().filter(|name| !name.ends_with(".metrics.k8s.io")) {
        let told = cluster.kubectl(&["explain", name]).await.ok();
        assert!(told.contains("KIND: ") && told.contains("DESCRIPTION:"), "{name}: {told}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_may_ask_who_one_is_and_what_one_may_do() {
    let Some(cluster) = Cluster::start().await else { return };
    let told = cluster.kubectl(&["auth", "whoami"]).await.ok();
    assert!(told.contains("admin") && told.contains("system:authenticated"), "{told}");
    assert_eq!(cluster.kubectl(&["auth", "can-i", "create", "deployments"]).await.ok().trim(), "yes");
    let told = cluster.kubectl(&["auth", "can-i", "--list"]).await.ok();
    assert!(told.contains("*.*"), "{told}");
    cluster.stop().await;
}
