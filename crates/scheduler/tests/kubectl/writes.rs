//! `apply`, `patch`, `scale`, `delete`, `drain` and what else writes.

use serde_json::{Value, json};

use crate::support::*;

impl Cluster {
    /// `kubectl apply` of a manifest, with more arguments.
    pub async fn apply(&self, text: &str, more: &[&str]) -> Ran {
        let mut args = vec!["apply", "-f", "-"];
        args.extend(more);
        self.kubectl_with(&args, text).await
    }

    pub async fn deploy(&self, name: &str, replicas: u32) {
        self.apply(&self.deployment(name, replicas), &[]).await.ok();
        self.kubectl(&["rollout", "status", &format!("deployment/{name}"), "--timeout=60s"]).await.ok();
    }

    /// Numbers of the revisions, and why each came to be.
    async fn history(&self, name: &str) -> Vec<String> {
        let told = self.kubectl(&["rollout", "history", &format!("deployment/{name}")]).await.ok();
        let lines = told.lines().skip(2).filter(|line| !line.is_empty());
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_changes_what_the_file_says_and_leaves_what_others_said() {
    let Some(cluster) = Cluster::start().await else { return };
    let file = cluster.deployment("web", 2);
    assert!(cluster.apply(&file, &[]).await.ok().contains("created"));
    assert!(cluster.apply(&file, &[]).await.ok().contains("unchanged"));
    for args in [
        &["label", "deployment", "web", "tier=front"][..],
        &["annotate", "deployment", "web", "note=mine"],
        &["set", "env", "deployment/web", "LEVEL=debug"],
        &["set", "resources", "deployment/web", "--limits=memory=64Mi"],
        &["patch", "deployment", "web", "-p", r#"{"spec":{"template":{"spec":{"containers":[{"name":"web","args":["-v"]}]}}}}"#],
        &["patch", "deployment", "web", "--type=json", "-p", r#"[{"op":"add","path":"/spec/minReadySeconds","value":1}]"#],
        &["patch", "deployment", "web", "--type=merge", "-p", r#"{"spec":{"paused":true}}"#],
    ] {
        cluster.kubectl(args).await.ok();
    }
    assert_eq!(cluster.kubectl_with(&["diff", "-f", "-"], &file).await.code, Some(0));
    let other = file.replace("replicas: 2", "replicas: 3").replace("containerPort: 5000", "containerPort: 6000");
    let diff = cluster.kubectl_with(&["diff", "-f", "-"], &other).await;
    assert!(diff.code == Some(1) && diff.out.contains("+  replicas: 3"), "{diff:?}");
    assert!(cluster.apply(&other, &[]).await.ok().contains("configured"));
    let found = cluster.get(&["deployment", "web"]).await;
    assert_eq!((&found["metadata"]["labels"]["tier"], &found["metadata"]["annotations"]["note"]), (&json!("front"), &json!("mine")));
    assert_eq!(
        (&found["spec"]["replicas"], &found["spec"]["paused"], &found["spec"]["minReadySeconds"]),
        (&json!(3), &json!(true), &json!(1))
    );
    let container = container(&found);
    assert_eq!(container["env"], json!([{ "name": "LEVEL", "value": "debug" }]));
    assert_eq!((&container["args"], &container["resources"]["limits"]["memory"]), (&json!(["-v"]), &json!("64Mi")));
    // The port that the file no longer names is gone: the list merges by its numbers.
    assert_eq!(container["ports"], json!([{ "containerPort": 6000, "protocol": "TCP" }]));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_side_apply_names_who_else_owns_a_field() {
    let Some(cluster) = Cluster::start().await else { return };
    let file = cluster.deployment("web", 2);
    cluster.apply(&file, &["--server-side"]).await.ok();
    cluster.kubectl(&["scale", "deployment/web", "--replicas=4"]).await.ok();
    let told = cluster.apply(&file, &["--server-side"]).await.fails();
    assert!(told.contains("conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"), "{told}");
    cluster.apply(&file, &["--server-side", "--force-conflicts"]).await.ok();
    assert_eq!(cluster.get(&["deployment", "web"]).await["spec"]["replicas"], 2);
    // Another manager's field joins the container, and goes with it.
    let env = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec: { template: { spec: { containers: [{ name: web, env: \
               [{ name: A, value: '1' }] }] } } }\n";
    cluster.apply(env, &["--server-side", "--field-manager=other"]).await.ok();
    let found = cluster.get(&["deployment", "web", "--show-managed-fields"]).await;
    assert_eq!(container(&found)["env"], json!([{ "name": "A", "value": "1" }]));
    assert_eq!(container(&found)["image"], cluster.image.as_str());
    let managers: Vec<&str> =
        found["metadata"]["managedFields"].as_array().unwrap().iter().map(|m| m["manager"].as_str().unwrap()).collect();
    assert_eq!(managers, ["kubectl", "other"]);
    let none = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web, labels: { a: b } }\n";
    cluster.apply(none, &["--server-side", "--field-manager=other"]).await.ok();
    let found = cluster.get(&["deployment", "web"]).await;
    assert!(container(&found).get("env").is_none() && found["metadata"]["labels"]["a"] == "b", "{found}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_plain_apply_owned_moves_to_the_server() {
    let Some(cluster) = Cluster::start().await else { return };
    let file = cluster.deployment("web", 2);
    cluster.apply(&file, &[]).await.ok();
    cluster.apply(&file.replace("replicas: 2", "replicas: 3"), &["--server-side"]).await.ok();
    let found = cluster.get(&["deployment", "web", "--show-managed-fields"]).await;
    assert_eq!(found["spec"]["replicas"], 3);
    let managers = found["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().all(|entry| entry["manager"] != "kubectl-client-side-apply"), "{managers:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_takes_up_the_old_revision_and_a_pause_holds_the_new_one() {
    let Some(cluster) = Cluster::with_node().await else { return };
    cluster.deploy("web", 2).await;
    let first = cluster.get(&["rs", "-l", "app=web"]).await["items"][0]["metadata"]["name"].clone();
    cluster.kubectl(&["annotate", "deployment", "web", "kubernetes.io/change-cause=the first"]).await.ok();
    cluster.until(&["rollout", "history", "deployment/web"], |out| out.contains("the first")).await;
    cluster.kubectl(&["patch", "deployment", "web", "-p", r#"{"metadata":{"annotations":{"kubernetes.io/change-cause":"louder"}},"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"LEVEL","value":"debug"}]}]}}}}"#]).await.ok();
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]).await.ok();
    assert_eq!(cluster.history("web").await, ["1 the first", "2 louder"]);
    cluster.kubectl(&["rollout", "undo", "deployment/web"]).await.ok();
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]).await.ok();
    assert_eq!(cluster.history("web").await, ["2 louder", "3 the first"]);
    let sets = cluster.get(&["rs", "-l", "app=web"]).await;
    let sizes: Vec<(Value, Value)> =
        sets["items"].as_array().unwrap().iter().map(|set| (set["metadata"]["name"].clone(), set["spec"]["replicas"].clone())).collect();
    assert!(sizes.len() == 2 && sizes.contains(&(first, json!(2))), "{sizes:?}");
    // The Deployment says what was typed, not what a revision holds.
    let found = cluster.get(&["deployment", "web"]).await;
    assert_eq!(container(&found)["image"], cluster.image.as_str());
    assert!(found["metadata"]["annotations"].get("wctl.dev/template").is_none(), "{found}");

    cluster.kubectl(&["rollout", "pause", "deployment/web"]).await.ok();
    cluster.kubectl(&["set", "env", "deployment/web", "MORE=1"]).await.ok();
    cluster.kubectl(&["scale", "deployment/web", "--replicas=3"]).await.ok();
    cluster.kubectl(&["wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/web", "--timeout=60s"]).await.ok();
    assert_eq!(cluster.get(&["rs", "-l", "app=web"]).await["items"].as_array().unwrap().len(), 2);
    cluster.kubectl(&["rollout", "resume", "deployment/web"]).await.ok();
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]).await.ok();
    cluster.kubectl(&["rollout", "restart", "deployment/web"]).await.ok();
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]).await.ok();
    assert_eq!(cluster.history("web").await.len(), 4);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_goes_in_the_order_that_was_asked_for() {
    let Some(cluster) = Cluster::with_node().await else { return };
    cluster.deploy("web", 2).await;
    cluster.kubectl(&["delete", "deployment", "web", "--cascade=orphan"]).await.ok();
    cluster.until(&["get", "rs,pods", "-o", "name"], |out| out.lines().count() == 3).await;
    // The set that is left goes on, and a new Deployment does not take it for its own.
    cluster.kubectl(&["delete", "pods", "-l", "app=web", "--wait=false"]).await.ok();
    cluster.until(&["get", "pods", "-l", "app=web"], |out| out.matches("Running").count() == 2).await;
    cluster.kubectl(&["delete", "rs", "--all", "--timeout=60s"]).await.ok();
    cluster.until(&["get", "pods", "-o", "name"], str::is_empty).await;

    cluster.deploy("web", 2).await;
    cluster.kubectl(&["delete", "deployment", "web", "--cascade=foreground", "--timeout=60s"]).await.ok();
    // What it owned was gone before.
    assert_eq!(cluster.kubectl(&["get", "rs,pods", "-o", "name"]).await.ok(), "");

    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n", &[]).await.ok();
    cluster.apply(&cluster.deployment("web", 1), &["-n", "shop"]).await.ok();
    cluster.until(&["get", "pods", "-n", "shop"], |out| out.contains("Running")).await;
    cluster.kubectl(&["delete", "namespace", "shop", "--timeout=60s"]).await.ok();
    assert_eq!(cluster.kubectl(&["get", "deployments,rs,pods", "-A", "-o", "name"]).await.ok(), "");

    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: held, finalizers: [example.com/hold] }\n";
    cluster.apply(config, &[]).await.ok();
    cluster.kubectl(&["delete", "configmap", "held", "--wait=false"]).await.ok();
    assert!(cluster.get(&["configmap", "held"]).await["metadata"]["deletionTimestamp"].is_string());
    cluster.kubectl(&["patch", "configmap", "held", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).await.ok();
    cluster.kubectl(&["wait", "--for=delete", "configmap/held", "--timeout=60s"]).await.ok();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evicted_pod_stays_until_another_one_serves() {
    let Some(cluster) = Cluster::with_node().await else { return };
    cluster.deploy("web", 1).await;
    let pod = cluster.get(&["pods", "-l", "app=web"]).await["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.kubectl(&["cordon", NODE]).await.ok();
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod } }).to_string();
    let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction");
    let args = ["create", "--raw", path.as_str(), "-f", "-"];
    let told = cluster.kubectl_with(&args, &eviction).await.fails();
    assert!(told.contains("until another one serves"), "{told}");
    // There is nowhere else for it, so it serves on while its successor waits.
    cluster.until(&["get", "pods", "-l", "app=web"], |out| out.contains("Running") && out.contains("Pending")).await;
    cluster.kubectl(&["uncordon", NODE]).await.ok();
    cluster.kubectl(&["wait", "--for=delete", &format!("pod/{pod}"), "--timeout=60s"]).await.ok();
    cluster.until(&["get", "pods", "-l", "app=web"], |out| out.matches("Running").count() == 1 && out.lines().count() == 2).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn editing_replacing_and_exposing_work_as_they_do_elsewhere() {
    let Some(cluster) = Cluster::start().await else { return };
    let file = cluster.deployment("web", 2);
    cluster.apply(&file, &[]).await.ok();
    cluster.file("edit.sh", "#!/bin/sh\nsed -i 's/replicas: 2/replicas: 5/' \"$1\"\n");
    let edited = cluster.command(&["edit", "deployment", "web"]).env("KUBE_EDITOR", "sh edit.sh").output().await.unwrap();
    assert!(edited.status.success(), "{edited:?}");
    assert_eq!(cluster.get(&["deployment", "web"]).await["spec"]["replicas"], 5);
    let uid = cluster.get(&["deployment", "web"]).await["metadata"]["uid"].clone();
    cluster.kubectl_with(&["replace", "-f", "-"], &file).await.ok();
    let replaced = cluster.get(&["deployment", "web"]).await;
    assert_eq!((&replaced["spec"]["replicas"], &replaced["metadata"]["uid"]), (&json!(2), &uid));
    cluster.kubectl_with(&["replace", "--force", "-f", "-"], &file).await.ok();
    assert_ne!(cluster.get(&["deployment", "web"]).await["metadata"]["uid"], uid);
    cluster.kubectl(&["expose", "deployment/web", "--port=80", "--target-port=5000"]).await.ok();
    cluster.kubectl(&["set", "selector", "service", "web", "app=web,tier=front"]).await.ok();
    assert_eq!(cluster.get(&["service", "web"]).await["spec"]["selector"], json!({ "app": "web", "tier": "front" }));
    cluster.kubectl(&["run", "one", &format!("--image={}", cluster.image)]).await.ok();
    cluster.kubectl(&["set", "image", "deployment/web", &format!("web={}", cluster.image)]).await.ok();
    // A dry run changes nothing, and says what would be.
    let would =
        cluster.kubectl(&["patch", "deployment", "web", "-p", r#"{"spec":{"replicas":9}}"#, "--dry-run=server", "-o", "yaml"]).await.ok();
    assert!(would.contains("replicas: 9"));
    assert_eq!(cluster.get(&["deployment", "web"]).await["spec"]["replicas"], 2);
    let told = cluster.kubectl(&["taint", "node", "nobody", "a=b:NoSchedule"]).await.fails();
    assert!(told.contains("not found"), "{told}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_with_only_its_image_changed_deploys() {
    let Some(cluster) = Cluster::with_node().await else { return };
    let chart = include_str!("chart.yaml").replace("IMAGE", &cluster.image);
    cluster.apply(&chart, &[]).await.ok();
    cluster.kubectl(&["rollout", "status", "deployment/shop-web", "--timeout=60s"]).await.ok();
    let privileged = chart.replace("imagePullPolicy: IfNotPresent", "securityContext: { privileged: true }");
    let told = cluster.apply(&privileged, &[]).await.fails();
    assert!(told.contains("securityContext.privileged") && told.contains("nothing in a sandbox can be privileged"), "{told}");
    // Files of ConfigMaps and Secrets, scratch space and topology are taken; a host's folder is not.
    let volume = |source: &str| {
        let mount = "imagePullPolicy: IfNotPresent\n          volumeMounts: [{ name: v, mountPath: /etc/v }]";
        let chart = chart.replace("imagePullPolicy: IfNotPresent", mount);
        chart.replace("      containers:", &format!("      volumes: [{{ name: v, {source} }}]\n      containers:"))
    };
    for fine in ["configMap: { name: c }", "secret: { secretName: s, optional: true }", "emptyDir: { sizeLimit: 1Mi }"] {
        cluster.apply(&volume(fine), &["--dry-run=server"]).await.ok();
    }
    let told = cluster.apply(&volume("hostPath: { path: / }"), &["--dry-run=server"]).await.fails();
    assert!(told.contains("volumes[0].hostPath"), "{told}");
    cluster.stop().await;
}
