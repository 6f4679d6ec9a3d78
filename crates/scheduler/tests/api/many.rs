//! Several servers over one etcd.

use std::time::{Duration, Instant};

use scheduler::auth::Identity;
use scheduler::kinds::{DEPLOYMENT, REPLICA_SET};
use scheduler::objects::{Object, Write};
use scheduler::server::{Config, Server, State, listen};
use scheduler::store::etcd::Etcd;
use scheduler::store::{Guard, Op, Store};
use serde_json::json;
use tokio::sync::oneshot;

use crate::etcd_server::{Servers, is_here};
use crate::support::*;

/// Longer than a leader takes to be missed, on a slow machine.
const LONG: Duration = Duration::from_secs(60);

struct Running {
    objects: scheduler::objects::Objects,
    admin: Client,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), scheduler::server::Error>>,
}

fn config(etcd: &Servers, folder: &std::path::Path) -> Config {
    Config { state: State::Etcd(etcd.options()), ..Config::new(folder) }
}

fn run(server: Server) -> Running {
    let (objects, admin) = (server.objects().clone(), Client::of(server.service(Identity::admin())));
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(listen("127.0.0.1:0").unwrap(), async move { drop(stopped.await) }));
    Running { objects, admin, stop, task }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    async fn deploy(&self, name: &str) {
        let labels = json!({"app": name});
        let mut object = Object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": format!("registry.invalid/{name}@sha256:{}", "a".repeat(64))}]},
            }},
        }));
        object.stamp_new(&uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
        self.objects.commit(vec![Write::Create(object)]).await.unwrap();
    }

    async fn sets(&self) -> usize {
        self.objects.list(&REPLICA_SET, None, 0, None).await.unwrap().items.len()
    }

    async fn until_sets(&self, count: usize) {
        let since = Instant::now();
        while self.sets().await != count {
            assert!(since.elapsed() < LONG, "there are {} of {count}", self.sets().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn leader(store: &dyn Store) -> Option<Vec<u8>> {
    store.get("/leader").await.unwrap().1.map(|item| item.value.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn c17_servers_share_an_etcd_one_leads_and_who_led_before_cannot_write() {
    if !is_here() {
        return;
    }
    let etcd = Servers::start(1).await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Server::open(config(&etcd, one.path())).await.unwrap();
    let (ca, token) = (first.ca_pem().to_owned(), first.admin_token().to_owned());

    // Another server needs the cluster's key.
    let Err(refused) = Server::open(config(&etcd, two.path())).await else { panic!("it opened without the key") };
    assert!(refused.to_string().contains("copy pki/cluster.key"), "{refused}");
    let strange = tempfile::tempdir().unwrap();
    drop(Server::open(Config::new(strange.path())).await.unwrap());
    let Err(refused) = Server::open(config(&etcd, strange.path())).await else { panic!("it opened with another key") };
    assert!(refused.to_string().contains("is not the key of the cluster in this etcd"), "{refused}");
    let joining = Config { cluster_key: Some(one.path().join("pki/cluster.key")), ..config(&etcd, two.path()) };
    let second = Server::open(joining).await.unwrap();
    assert_eq!(second.ca_pem(), ca);
    let tokens = scheduler::auth::Tokens::new(second.objects().store().clone());
    assert!(tokens.identify(&token).await.unwrap().is_some(), "the second one's token ends nobody's");

    let (first, second) = (run(first), run(second));
    // All answer, and tell of the same.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"KEY": "aHVzaA=="}});
    assert_eq!(first.admin.post(CONFIG_MAPS, map).await.code, 201);
    assert_eq!(first.admin.post("/api/v1/namespaces/default/secrets", secret).await.code, 201);
    assert_eq!(second.admin.get(&format!("{CONFIG_MAPS}/a")).await.body["data"]["k"], "v");
    assert_eq!(second.admin.get("/api/v1/namespaces/default/secrets/s").await.body["data"]["KEY"], "aHVzaA==");
    let raw = Etcd::open(&etcd.options()).await.unwrap();
    let everything = raw.list("", 0, None).await.unwrap();
    assert!(
        everything.items.iter().all(|item| !String::from_utf8_lossy(&item.value).contains("aHVzaA")),
        "etcd holds no secret in the clear"
    );
    first.deploy("one").await;
    second.until_sets(1).await;

    // As if the leader had been paused for longer than its lease: somebody else leads now, and what it decides is refused.
    let there = leader(&raw).await;
    assert!(there.is_some());
    let usurped = Op::Put { key: "/leader".to_owned(), value: "somebody else".into(), lease: None };
    raw.commit(vec![Guard::Exists("/leader".to_owned())], vec![usurped]).await.unwrap();
    second.deploy("two").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(first.sets().await, 1, "whoever led decided nothing more");
    raw.commit(vec![], vec![Op::Delete { key: "/leader".to_owned() }]).await.unwrap();
    first.until_sets(2).await;

    // Whoever leads is stopped: the other one goes on at once.
    let before = leader(&raw).await;
    first.stop().await;
    second.deploy("three").await;
    second.until_sets(3).await;
    assert!(leader(&raw).await.is_some() && before.is_some());
    let all = second.objects.list(&DEPLOYMENT, None, 0, None).await.unwrap();
    assert_eq!(all.items.len(), 3);
    second.stop().await;
    assert_eq!(leader(&raw).await, None, "a server that ends gives the lead up");
}
