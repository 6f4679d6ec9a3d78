//! Create, read, change and delete.

use std::sync::Arc;

use scheduler::api::Api;
use scheduler::auth::{Identity, Tokens};
use scheduler::kinds::NAMESPACE;
use scheduler::objects::{Objects, Seal, Write};
use scheduler::reconcile::Resolve;
use scheduler::store::memory::Memory;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::*;

#[tokio::test]
async fn an_object_lives_from_its_creation_to_its_deletion() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let made = client.post(CONFIG_MAPS, config_map("a", json!({}))).await;
    assert_eq!(made.code, 201);
    let made = made.ok();
    let meta = &made["metadata"];
    assert!(["uid", "resourceVersion", "creationTimestamp"].iter().all(|f| meta[f].as_str().is_some_and(|v| !v.is_empty())), "{meta}");
    assert_eq!(meta["namespace"], "default");
    assert_eq!(client.get(&format!("{CONFIG_MAPS}/a")).await.ok(), made);
    let exists = client.post(CONFIG_MAPS, config_map("a", json!({}))).await.refused(409, "AlreadyExists");
    assert_eq!(exists["details"], json!({ "name": "a", "kind": "configmaps" }));
    let gone = client.delete(&format!("{CONFIG_MAPS}/a")).await.ok();
    assert_eq!((&gone["status"], &gone["details"]["uid"]), (&json!("Success"), &meta["uid"]));
    let missing = client.get(&format!("{CONFIG_MAPS}/a")).await.refused(404, "NotFound");
    assert_eq!(missing["message"], "configmaps \"a\" not found");
}

#[tokio::test]
async fn names_are_generated_and_namespaces_must_be_there() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let mut object = config_map("", json!({}));
    object["metadata"] = json!({ "generateName": "cm-" });
    let (one, two) = (client.post(CONFIG_MAPS, object.clone()).await.ok(), client.post(CONFIG_MAPS, object).await.ok());
    let name = one["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("cm-") && name.len() == 8, "{name}");
    assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);
    let refused = client.post("/api/v1/namespaces/nope/configmaps", config_map("a", json!({}))).await.refused(404, "NotFound");
    assert_eq!(refused["message"], "namespaces \"nope\" not found");
    client.post("/api/v1/namespaces", json!({ "metadata": { "name": "nope" } })).await.ok();
    client.post("/api/v1/namespaces/nope/configmaps", config_map("a", json!({}))).await.ok();
    let all = client.get("/api/v1/configmaps").await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn of_two_writers_the_second_is_told() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let first = client.post(CONFIG_MAPS, config_map("a", json!({}))).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let mut mine = first.clone();
    mine["data"] = json!({ "a": "mine" });
    client.put(&path, mine.clone()).await.ok();
    client.put(&path, mine.clone()).await.refused(409, "Conflict");
    let patch = json!({ "metadata": { "resourceVersion": first["metadata"]["resourceVersion"] }, "data": { "a": "late" } });
    client.merge(&path, patch).await.refused(409, "Conflict");
    let mut other = client.get(&path).await.ok();
    other["metadata"]["uid"] = json!("another");
    client.put(&path, other).await.refused(409, "Conflict");
    // Without a version the last one wins, and what does not change anything is no write.
    mine["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let before = client.get(&path).await.ok();
    let same = client.put(&path, mine).await.ok();
    assert_eq!(same["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn unknown_fields_are_kept_and_told() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let mut object = deployment("web");
    object["spec"]["later"] = json!({ "kept": [1, 2] });
    let made = client.post(DEPLOYMENTS, object.clone()).await;
    assert_eq!(made.warnings(), ["299 - \"unknown field \\\"spec.later\\\"\""]);
    let path = format!("{DEPLOYMENTS}/web");
    client.merge(&path, json!({ "spec": { "replicas": 2 } })).await.ok();
    assert_eq!(client.get(&path).await.ok()["spec"]["later"], json!({ "kept": [1, 2] }));
    object["metadata"]["name"] = json!("web2");
    client.post(&format!("{DEPLOYMENTS}?fieldValidation=Strict"), object.clone()).await.refused(400, "BadRequest");
    let ignored = client.post(&format!("{DEPLOYMENTS}?fieldValidation=Ignore"), object).await;
    assert!(ignored.warnings().is_empty());
}

#[tokio::test]
async fn only_a_change_of_spec_makes_a_generation_and_status_is_apart() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let mut object = deployment("web");
    object["status"] = json!({ "readyReplicas": 9 });
    let made = client.post(DEPLOYMENTS, object).await.ok();
    assert_eq!((&made["metadata"]["generation"], &made["spec"]["replicas"]), (&json!(1), &json!(1)));
    assert!(made.get("status").is_none(), "{made}");
    let path = format!("{DEPLOYMENTS}/web");
    let labelled = client.merge(&path, json!({ "metadata": { "labels": { "x": "y" } }, "status": { "readyReplicas": 9 } })).await.ok();
    assert_eq!(labelled["metadata"]["generation"], 1);
    assert!(labelled.get("status").is_none());
    let status = json!({ "spec": { "replicas": 7 }, "status": { "readyReplicas": 1 } });
    let told = client.merge(&format!("{path}/status"), status).await.ok();
    assert_eq!((&told["spec"]["replicas"], &told["status"]["readyReplicas"]), (&json!(1), &json!(1)));
    let scaled = client.put(&format!("{path}/scale"), json!({ "spec": { "replicas": 4 } })).await.ok();
    assert_eq!(
        (&scaled["kind"], &scaled["spec"]["replicas"], &scaled["status"]["selector"]),
        (&json!("Scale"), &json!(4), &json!("app=web"))
    );
    let now = client.get(&path).await.ok();
    assert_eq!(
        (&now["metadata"]["generation"], &now["spec"]["replicas"], &now["status"]["readyReplicas"]),
        (&json!(2), &json!(4), &json!(1))
    );
    client.put(&format!("{path}/scale"), json!({ "spec": { "replicas": -1 } })).await.refused(422, "Invalid");
}

#[tokio::test]
async fn a_dry_run_does_everything_but_keep_it() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let shown = client.post(&format!("{DEPLOYMENTS}?dryRun=All"), deployment("web")).await;
    assert_eq!((shown.code.as_u16(), &shown.body["spec"]["replicas"]), (201, &json!(1)));
    client.get(&format!("{DEPLOYMENTS}/web")).await.refused(404, "NotFound");
    client.post(DEPLOYMENTS, deployment("web")).await.ok();
    let shown = client.merge(&format!("{DEPLOYMENTS}/web?dryRun=All"), json!({ "spec": { "replicas": 5 } })).await.ok();
    assert_eq!(shown["spec"]["replicas"], 5);
    client.delete(&format!("{DEPLOYMENTS}/web?dryRun=All")).await.ok();
    assert_eq!(client.get(&format!("{DEPLOYMENTS}/web")).await.ok()["spec"]["replicas"], 1);
    client.delete(&format!("{DEPLOYMENTS}/web?dryRun=Some")).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn lists_come_in_pages_of_one_moment_and_by_selector() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    for n in 0..7 {
        client.post(CONFIG_MAPS, config_map(&format!("c{n}"), json!({ "odd": (n % 2 == 1).to_string() }))).await.ok();
    }
    let names = |list: &serde_json::Value| {
        list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = client.get(&format!("{CONFIG_MAPS}?limit=3")).await.ok();
    assert_eq!(names(&first), ["c0", "c1", "c2"]);
    client.delete(&format!("{CONFIG_MAPS}/c4")).await.ok();
    let next = first["metadata"]["continue"].as_str().unwrap();
    let second = client.get(&format!("{CONFIG_MAPS}?limit=3&continue={next}")).await.ok();
    assert_eq!(names(&second), ["c3", "c4", "c5"], "as it was when the list began");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let odd = client.get(&format!("{CONFIG_MAPS}?labelSelector=odd%3Dtrue&limit=2")).await.ok();
    assert_eq!(names(&odd), ["c1", "c3"]);
    let next = odd["metadata"]["continue"].as_str().unwrap();
    let rest = client.get(&format!("{CONFIG_MAPS}?labelSelector=odd%3Dtrue&limit=2&continue={next}")).await.ok();
    assert_eq!((names(&rest), rest["metadata"].get("continue")), (vec!["c5".to_owned()], None));
    let one = client.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dc2")).await.ok();
    assert_eq!(names(&one), ["c2"]);
    for wrong in ["continue=x", "labelSelector=a%20b", "fieldSelector=spec.x%3D1", "limit=x"] {
        client.get(&format!("{CONFIG_MAPS}?{wrong}")).await.refused(400, "BadRequest");
    }
    client.delete(&format!("{CONFIG_MAPS}?labelSelector=odd%3Dtrue")).await.ok();
    assert_eq!(names(&client.get(CONFIG_MAPS).await.ok()), ["c0", "c2", "c6"]);
}

#[tokio::test]
async fn what_a_component_cannot_have_is_refused_by_field() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let mut object = deployment("web");
    object["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    object["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
    let answer = client.post(DEPLOYMENTS, object).await;
    let fields = answer.fields();
    assert_eq!(fields, ["spec.template.spec.containers[0].securityContext.privileged", "spec.template.spec.hostNetwork"]);
    answer.refused(422, "Invalid");
    let mut two = deployment("web");
    two["spec"]["template"]["spec"]["containers"] = json!([{ "name": "a", "image": "a" }, { "name": "b", "image": "b" }]);
    assert_eq!(client.post(DEPLOYMENTS, two).await.fields(), ["spec.template.spec.containers[1]"]);
    let mut odd = deployment("web");
    odd["spec"]["replicas"] = json!("3");
    assert_eq!(client.post(DEPLOYMENTS, odd).await.fields(), ["spec.replicas"]);
    let mut job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "j" }, "spec": {} });
    client.post("/apis/batch/v1/namespaces/default/jobs", job.take()).await.refused(422, "Invalid");
}

#[tokio::test]
async fn a_job_gets_a_selector_of_its_own_and_keeps_its_template() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = |name: &str, policy: &str| {
        let pod = json!({ "restartPolicy": policy, "containers": [{ "name": "a", "image": image("a") }] });
        json!({ "metadata": { "name": name }, "spec": { "template": { "spec": pod } } })
    };
    assert_eq!(client.post(jobs, job("a", "Always")).await.fields(), ["spec.template.spec.restartPolicy"]);
    let made = client.post(jobs, job("a", "Never")).await.ok();
    let uid = made["metadata"]["uid"].clone();
    assert_eq!(made["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], uid);
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["job-name"], "a");
    assert_eq!((&made["spec"]["backoffLimit"], &made["spec"]["completions"]), (&json!(6), &json!(1)));
    client.merge(&format!("{jobs}/a"), json!({ "spec": { "parallelism": 2 } })).await.ok();
    client.merge(&format!("{jobs}/a"), json!({ "spec": { "completions": 2 } })).await.refused(422, "Invalid");
    let mut greedy = job("b", "Never");
    greedy["spec"]["template"]["metadata"]["annotations"]["wctl.dev/connect"] = json!("https://127.0.0.1:443");
    let deployer = cluster.client(Identity::deployer("alice", "default"));
    deployer.post(jobs, greedy.clone()).await.refused(403, "Forbidden");
    let crons = "/apis/batch/v1/namespaces/default/cronjobs";
    let cron = |schedule: &str, template: serde_json::Value| json!({ "metadata": { "name": "c" }, "spec": { "schedule": schedule, "jobTemplate": { "spec": template["spec"] } } });
    deployer.post(crons, cron("@daily", greedy)).await.refused(403, "Forbidden");
    assert_eq!(client.post(crons, cron("0 25 * * *", job("b", "Never"))).await.fields(), ["spec.schedule"]);
    let made = client.post(crons, cron("@daily", job("b", "Never"))).await.ok();
    assert_eq!(made["spec"]["concurrencyPolicy"], "Allow");
}

#[tokio::test]
async fn an_autoscaler_of_v1_is_kept_as_v2_and_what_is_not_honoured_is_refused_by_name() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let (v1, v2) = (
        "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    );
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    let old = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web" },
        "spec": { "scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5, "targetCPUUtilizationPercentage": 50 },
    });
    let made = client.post(v1, old).await.ok();
    assert_eq!((&made["apiVersion"], &made["spec"]["targetCPUUtilizationPercentage"]), (&json!("autoscaling/v1"), &json!(50)));
    let kept = client.get(&format!("{v2}/web")).await.ok();
    assert_eq!(kept["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    let table = client.send("GET", v2, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", None).await.ok();
    assert_eq!(table["rows"][0]["cells"][1], "Deployment/web");
    assert_eq!(table["rows"][0]["cells"][2], "cpu: <unknown>/50%");
    let metric = json!([{ "type": "Pods", "pods": { "metric": { "name": "concurrency" }, "target": { "type": "AverageValue", "averageValue": "40" } } }]);
    let fast = json!({ "scaleUp": { "stabilizationWindowSeconds": 30 }, "scaleDown": { "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 60 }] } });
    let other = json!({ "metadata": { "name": "other" }, "spec": { "scaleTargetRef": target, "maxReplicas": 5, "metrics": metric, "behavior": fast } });
    let refused = client.post(v2, other).await.fields();
    assert_eq!(refused, ["spec.behavior.scaleDown.policies", "spec.behavior.scaleUp.stabilizationWindowSeconds"]);
    let few = json!({ "metadata": { "name": "few" }, "spec": { "scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 2, "metrics": metric } });
    assert_eq!(client.post(v2, few).await.fields(), ["spec.maxReplicas"]);
}

#[tokio::test]
async fn tables_have_the_columns_that_people_know() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post(DEPLOYMENTS, deployment("web")).await.ok();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = client.send("GET", DEPLOYMENTS, accept, None).await.ok();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let titles: Vec<&str> = table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Name", "Ready", "Up-To-Date", "Available", "Age", "Containers", "Images", "Selector"]);
    assert_eq!(table["rows"][0]["cells"][1], "0/1");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let one = client.send("GET", &format!("{DEPLOYMENTS}/web"), accept, None).await.ok();
    assert_eq!(one["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn clients_learn_what_is_served() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let version = client.get("/version").await.ok();
    assert!(version["platform"].as_str().unwrap().starts_with("wctl/"));
    let groups = client.get("/apis").await.ok();
    assert!(groups["groups"].as_array().unwrap().iter().any(|g| g["name"] == "wctl.dev"));
    for group in groups["groups"].as_array().unwrap() {
        let list = client.get(&format!("/apis/{}", group["preferredVersion"]["groupVersion"].as_str().unwrap())).await.ok();
        assert_eq!(list["kind"], "APIResourceList");
    }
    let core = client.get("/api/v1").await.ok();
    assert!(core["resources"].as_array().unwrap().iter().any(|r| r["name"] == "pods/log"));
    client.get("/openapi/nope").await.refused(404, "NotFound");
    client.post("/apis", json!({})).await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn bodies_that_are_no_objects_are_refused_as_the_client_s_mistake() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    for body in [
        json!([]),
        json!(3),
        json!({ "metadata": 3 }),
        json!({ "kind": "Pod" }),
        json!({ "metadata": { "namespace": "other", "name": "a" } }),
    ] {
        client.post(CONFIG_MAPS, body).await.refused(400, "BadRequest");
    }
    for name in ["", "../x", "A", "a/b"] {
        let code = client.post(CONFIG_MAPS, config_map(name, json!({}))).await.code;
        assert_eq!(code, 422, "{name}");
    }
    let patch = client.send("PATCH", &format!("{CONFIG_MAPS}/a"), "application/yaml", Some(json!({}))).await;
    patch.refused(415, "UnsupportedMediaType");
    client.send("POST", CONFIG_MAPS, "application/vnd.kubernetes.protobuf", Some(json!({}))).await.refused(400, "BadRequest");
    client
        .send("POST", CONFIG_MAPS, "application/json", Some(json!({ "data": { "a": "x".repeat(4 << 20) } })))
        .await
        .refused(413, "RequestEntityTooLarge");
    // Larger than a commit may be, smaller than a body may be.
    let mut large = config_map("large", json!({}));
    large["data"]["a"] = json!("x".repeat(2 << 20));
    client.post(CONFIG_MAPS, large).await.refused(413, "RequestEntityTooLarge");
}

#[tokio::test]
async fn deletion_minds_preconditions_finalizers_and_orphans() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let path = format!("{CONFIG_MAPS}/a");
    let mut object = config_map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    let made = client.post(CONFIG_MAPS, object).await.ok();
    let wrong = json!({ "preconditions": { "uid": "other" } });
    client.send("DELETE", &path, "application/json", Some(wrong)).await.refused(409, "Conflict");
    let marked = client.delete(&path).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
    client.merge(&path, json!({ "metadata": { "finalizers": [] } })).await.ok();
    client.get(&path).await.refused(404, "NotFound");
    let owner = client.post(CONFIG_MAPS, config_map("owner", json!({}))).await.ok();
    let mut owned = config_map("owned", json!({}));
    owned["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"] }]);
    client.post(CONFIG_MAPS, owned).await.ok();
    client.delete(&format!("{CONFIG_MAPS}/owner?propagationPolicy=Orphan")).await.ok();
    assert_eq!(client.get(&format!("{CONFIG_MAPS}/owned")).await.ok()["metadata"]["ownerReferences"], json!([]));
    assert_ne!(made["metadata"]["uid"], owner["metadata"]["uid"]);
}

#[tokio::test]
async fn a_namespace_goes_with_everything_in_it() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post("/api/v1/namespaces", json!({ "metadata": { "name": "team" } })).await.ok();
    client.post("/api/v1/namespaces/team/configmaps", config_map("a", json!({}))).await.ok();
    client
        .post(
            "/apis/wctl.dev/v1/namespaces/team/apps",
            app("hello", json!({ "hello": { "image": image("hello"), "route": "hello.localhost" } })),
        )
        .await
        .ok();
    client.delete("/api/v1/namespaces/team").await.ok();
    client.get("/api/v1/namespaces/team").await.refused(404, "NotFound");
    for all in ["/api/v1/configmaps", "/apis/apps/v1/deployments", "/apis/wctl.dev/v1/routeclaims", "/apis/apps/v1/controllerrevisions"] {
        assert_eq!(client.get(all).await.ok()["items"], json!([]), "{all}");
    }
    client.delete("/api/v1/namespaces/default").await.refused(403, "Forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_into_a_namespace_while_it_goes() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post("/api/v1/namespaces", json!({ "metadata": { "name": "team" } })).await.ok();
    let inside = "/api/v1/namespaces/team/configmaps";
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let client = client.clone();
        writers.spawn(async move {
            for n in 0.. {
                let answer = client.post(inside, config_map(&format!("w{writer}-{n}"), json!({}))).await;
                if !answer.code.is_success() {
                    return (n, answer.code.as_u16());
                }
            }
            unreachable!("the namespace goes");
        });
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    client.delete("/api/v1/namespaces/team").await.ok();
    for (made, code) in writers.join_all().await {
        assert!(made > 0 && matches!(code, 403 | 404), "{made} made, then {code}");
    }
    assert_eq!(client.get("/api/v1/configmaps").await.ok()["items"], json!([]));
}

/// A registry that takes so long that the namespace is gone when it answers.
struct Slow(Objects);

#[async_trait::async_trait]
impl Resolve for Slow {
    async fn resolve(&self, _: &str) -> Result<String, String> {
        let gone = Write::Delete { kind: &NAMESPACE, namespace: String::new(), name: "team".to_owned(), resource_version: None };
        // It is gone already when the write is tried again.
        let _ = self.0.commit(vec![gone]).await;
        Ok(image("web"))
    }
}

#[tokio::test]
async fn what_was_under_way_when_its_namespace_went_is_refused() {
    let store = Arc::new(Memory::new());
    let objects = Objects::new(store.clone(), Seal::ephemeral().unwrap());
    let api = Api::new(objects.clone(), Tokens::new(store), Arc::new(Slow(objects)), CancellationToken::new());
    let client = Client::of(api.service(Identity::admin()));
    client.post("/api/v1/namespaces", json!({ "metadata": { "name": "team" } })).await.ok();
    let pod = json!({ "metadata": { "name": "web" }, "spec": { "containers": [{ "name": "web", "image": "web:1" }] } });
    client.post("/api/v1/namespaces/team/pods", pod).await.refused(404, "NotFound");
    assert_eq!(client.get("/api/v1/pods").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn a_placed_pod_is_marked_and_its_node_lets_it_go() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let pod = |name: &str| json!({ "metadata": { "name": name }, "spec": { "nodeName": "n1", "containers": [{ "name": "web", "image": image("web") }] } });
    client.post(PODS, pod("web-1")).await.ok();
    let marked = client.delete(&format!("{PODS}/web-1")).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30, "{marked}");
    let node = cluster.client(Identity::node("n2"));
    node.delete(&format!("{PODS}/web-1?gracePeriodSeconds=0")).await.refused(403, "Forbidden");
    let node = cluster.client(Identity::node("n1"));
    node.merge(&format!("{PODS}/web-1/status"), json!({ "status": { "phase": "Running" } })).await.ok();
    node.delete(&format!("{PODS}/web-1?gracePeriodSeconds=0")).await.ok();
    client.get(&format!("{PODS}/web-1")).await.refused(404, "NotFound");
    client.get(&format!("{PODS}/web-1/log")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_nodes_lease_goes_with_it_so_that_a_node_that_still_runs_registers_again() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    for node in ["n1", "n2"] {
        client.post("/api/v1/nodes", json!({ "metadata": { "name": node }, "spec": {} })).await.ok();
        client.post(lease, json!({ "metadata": { "name": node }, "spec": { "holderIdentity": node } })).await.ok();
    }
    client.delete("/api/v1/nodes/n1").await.ok();
    client.merge(&format!("{lease}/n1"), json!({ "spec": { "holderIdentity": "n1" } })).await.refused(404, "NotFound");
    client.get(&format!("{lease}/n2")).await.ok();
}
