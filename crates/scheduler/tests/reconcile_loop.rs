//! The loop over a real store: a Deployment becomes ready pods behind a Service, and goes as a whole.

#![allow(clippy::disallowed_methods, reason = "only the pure core may not ask the clock or draw lots")]

use async_trait::async_trait;
use scheduler::freeze;
use scheduler::kinds::{self, Kind};
use scheduler::objects::{Object, Objects, Seal, Write};
use scheduler::reconcile::{AppWriter, Resolve, Written, run};
use scheduler::store::memory::Memory;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct Registry(AtomicU32);

#[async_trait]
impl Resolve for Registry {
    async fn resolve(&self, typed: &str) -> Result<String, String> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let name = typed.rsplit_once(':').map_or(typed, |(name, _)| name);
        Ok(format!("{name}@{DIGEST}"))
    }
}

struct NoApps;

#[async_trait]
impl AppWriter for NoApps {
    async fn roll_back(&self, _: &str, app: &str, _: i64, _: i64, _: &str) -> Result<Written, String> {
        Err(format!("{app} should not be rolled back"))
    }

    async fn remake(&self, _: &str, app: &str, _: i64) -> Result<Written, String> {
        Err(format!("{app} should not be made again"))
    }
}

struct Cluster {
    objects: Objects,
    registry: Arc<Registry>,
    task: tokio::task::JoinHandle<()>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Cluster {
    async fn start() -> Cluster {
        let objects = Objects::new(Arc::new(Memory::new()), Seal::ephemeral().expect("a seal"));
        let registry = Arc::new(Registry(AtomicU32::new(0)));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(run(objects.clone(), registry.clone(), Arc::new(NoApps), shutdown));
        let cluster = Cluster { objects, registry, task, stop: Some(stop) };
        cluster
            .create(json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-1"},
                "status": {"capacity": {"memory": "1Gi", "cpu": "2"}, "conditions": [{"type": "Ready", "status": "True"}]},
            }))
            .await;
        cluster
    }

    async fn create(&self, object: Value) -> Object {
        let mut object = Object(object);
        object.stamp_new(&uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
        self.objects.commit(vec![Write::Create(object)]).await.expect("a commit").remove(0)
    }

    async fn update(&self, kind: &'static Kind, name: &str, change: impl Fn(&mut Object)) {
        self.update_in("default", kind, name, change, false).await;
    }

    async fn update_in(&self, namespace: &str, kind: &'static Kind, name: &str, change: impl Fn(&mut Object), going: bool) {
        loop {
            let before = self.objects.get(kind, namespace, name).await.expect("a read").expect("the object");
            let mut after = before.clone();
            change(&mut after);
            after.stamp_changed(&before);
            if going {
                after.metadata_mut().insert("deletionTimestamp".to_owned(), json!("2026-01-01T00:00:00Z"));
            }
            match self.objects.commit(vec![Write::Update(after)]).await {
                Ok(_) => return,
                Err(scheduler::objects::Error::Conflict { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }

    async fn all(&self, kind: &'static Kind) -> Vec<Object> {
        self.objects.list(kind, None, 0, None).await.expect("a list").items
    }

    /// Looks again whenever something changes, until the test holds.
    async fn until(&self, what: &str, test: impl AsyncFn() -> bool) {
        use futures::StreamExt;
        let mut changes = self.objects.watch(&[], None, self.objects.resource_version().await.expect("a version"));
        let wait = async {
            while !test().await {
                let _ = tokio::time::timeout(Duration::from_millis(100), changes.next()).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), wait).await.is_err() {
            let pods: Vec<String> = self.all(&kinds::POD).await.iter().map(|pod| pod.0.to_string()).collect();
            panic!("never {what}; pods: {pods:#?}");
        }
    }

    /// What an agent does: everything that runs is ready, everything on its way out goes.
    async fn agent(&self) {
        for pod in self.all(&kinds::POD).await {
            if pod.deletion_timestamp().is_some() {
                let (namespace, name) = (pod.namespace().to_owned(), pod.name().to_owned());
                let gone = Write::Delete { kind: &kinds::POD, namespace, name, resource_version: None };
                let _ = self.objects.commit(vec![gone]).await;
            } else if pod.status()["phase"] != "Running" {
                let status = json!({"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
                self.update_in(pod.namespace(), &kinds::POD, pod.name(), |pod| pod.set_status(status.clone()), false).await;
            }
        }
    }

    async fn endpoints(&self, service: &str) -> usize {
        let slice = self.objects.get(&kinds::ENDPOINT_SLICE, "default", service).await.expect("a read");
        slice.and_then(|slice| slice.0["endpoints"].as_array().map(Vec::len)).unwrap_or(0)
    }

    async fn ready(&self, deployment: &str) -> Option<u64> {
        let object = self.objects.get(&kinds::DEPLOYMENT, "default", deployment).await.expect("a read")?;
        object.status()["readyReplicas"].as_u64()
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.expect("the loop ends well");
    }
}

fn deployment(replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image, "resources": {"requests": {"memory": "64Mi"}}}]},
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_becomes_ready_pods_and_goes_as_a_whole() {
    let cluster = Cluster::start().await;
    cluster
        .create(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }))
        .await;
    cluster.create(deployment(3, "example.com/web:1")).await;
    cluster.until("three pods", async || cluster.all(&kinds::POD).await.len() == 3).await;
    for pod in cluster.all(&kinds::POD).await {
        assert_eq!(pod.spec()["nodeName"], "edge-1");
        assert_eq!(pod.spec()["containers"][0]["image"], format!("example.com/web@{DIGEST}"));
        assert_eq!(pod.annotation(scheduler::names::TYPED_IMAGE), Some("example.com/web:1"));
    }
    cluster.agent().await;
    cluster.until("three endpoints", async || cluster.endpoints("web").await == 3).await;
    cluster.until("three ready", async || cluster.ready("web").await == Some(3)).await;
    assert_eq!(cluster.registry.0.load(Ordering::SeqCst), 1, "a tag is resolved once");

    cluster.update(&kinds::DEPLOYMENT, "web", |object| object.0["spec"]["replicas"] = json!(9)).await;
    cluster.until("nine pods", async || cluster.all(&kinds::POD).await.len() == 9).await;
    cluster.agent().await;
    cluster.until("nine endpoints", async || cluster.endpoints("web").await == 9).await;
    assert_eq!(cluster.registry.0.load(Ordering::SeqCst), 1, "scaling resolves nothing");

    let next = |object: &mut Object| object.0["spec"]["template"]["spec"]["containers"][0]["image"] = json!("example.com/web:2");
    cluster.update(&kinds::DEPLOYMENT, "web", next).await;
    let all_new = async || {
        cluster.agent().await;
        assert!(cluster.endpoints("web").await >= 9, "never fewer than nine ready");
        let pods = cluster.all(&kinds::POD).await;
        pods.len() == 9 && pods.iter().all(|pod| pod.annotation(scheduler::names::TYPED_IMAGE) == Some("example.com/web:2"))
    };
    cluster.until("nine new pods", all_new).await;
    assert_eq!(cluster.registry.0.load(Ordering::SeqCst), 2);

    for (kind, name) in [(&kinds::DEPLOYMENT, "web"), (&kinds::SERVICE, "web")] {
        let gone = Write::Delete { kind, namespace: "default".into(), name: name.into(), resource_version: None };
        cluster.objects.commit(vec![gone]).await.expect("a commit");
    }
    let nothing = async || {
        cluster.agent().await;
        cluster.all(&kinds::POD).await.is_empty()
            && cluster.all(&kinds::REPLICA_SET).await.is_empty()
            && cluster.all(&kinds::ENDPOINT_SLICE).await.is_empty()
    };
    cluster.until("nothing left", nothing).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_to_go_is_emptied_and_removed() {
    let cluster = Cluster::start().await;
    for name in ["default", "team"] {
        cluster.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
    }
    let mut web = deployment(2, &format!("example.com/web@{DIGEST}"));
    cluster.create(web.clone()).await;
    web["metadata"]["namespace"] = json!("team");
    cluster.create(web).await;
    cluster.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "team"}})).await;
    cluster.until("four pods", async || cluster.all(&kinds::POD).await.len() == 4).await;
    // As the API leaves it when its server ends in the middle of a deletion.
    cluster.update_in("", &kinds::NAMESPACE, "team", |_| {}, true).await;
    let gone = async || {
        cluster.agent().await;
        cluster.objects.get(&kinds::NAMESPACE, "", "team").await.expect("a read").is_none()
    };
    cluster.until("without team", gone).await;
    let left = async |kind| cluster.all(kind).await.iter().filter(|object| object.namespace() == "team").count();
    for kind in [&kinds::DEPLOYMENT, &kinds::REPLICA_SET, &kinds::POD, &kinds::CONFIG_MAP] {
        assert_eq!(left(kind).await, 0, "{}", kind.plural);
    }
    assert_eq!(cluster.all(&kinds::POD).await.len(), 2, "the other namespace stays");
    assert!(cluster.objects.get(&kinds::NAMESPACE, "", "default").await.expect("a read").is_some());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_decided_while_the_scheduler_is_frozen() {
    let cluster = Cluster::start().await;
    let store = cluster.objects.store().clone();
    cluster.create(deployment(2, &format!("example.com/web@{DIGEST}"))).await;
    cluster.until("two pods", async || cluster.all(&kinds::POD).await.len() == 2).await;
    let frozen = freeze::Frozen { by: "a test".into(), since: String::new(), why: String::new(), restored: false };
    freeze::freeze(&*store, frozen).await.expect("a freeze");
    let before = store.get("/leader").await.expect("a read").0;
    cluster.update(&kinds::DEPLOYMENT, "web", |object| object.0["spec"]["replicas"] = json!(5)).await;
    // Time for a decision, if there were one.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (now, _) = store.get("/leader").await.expect("a read");
    assert_eq!((cluster.all(&kinds::POD).await.len(), now), (2, before + 1), "the one change is the test's own");
    assert!(freeze::thaw(&*store).await.expect("a thaw"));
    cluster.until("five pods", async || cluster.all(&kinds::POD).await.len() == 5).await;
    cluster.stop().await;
}
