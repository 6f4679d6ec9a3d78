//! Freezing, backups, and what comes back from one.

use futures::StreamExt;
use scheduler::auth::Identity;
use scheduler::backup::{self, Source};
use scheduler::freeze;
use scheduler::pki::ClusterKey;
use scheduler::server::{Config, Server};
use scheduler::store::Store;
use scheduler::store::memory::Memory;
use scheduler::store::redb::Redb;
use serde_json::json;

use crate::support::*;

const FREEZE: &str = "/apis/wctl.dev/v1/freeze";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

pub async fn backed_up(server: &Server, folder: &std::path::Path) -> Vec<u8> {
    let mut lines = backup::lines(server.objects().store().clone(), Source { folder: folder.to_owned(), images: server.blobs().clone() });
    let mut whole = Vec::new();
    while let Some(line) = lines.next().await {
        whole.extend_from_slice(&line.unwrap());
    }
    whole
}

#[tokio::test]
async fn a_freeze_is_told_to_everybody_and_ends_with_a_thaw() {
    let cluster = Cluster::start().await;
    let (admin, viewer) = (cluster.admin(), cluster.client(Identity::viewer("v")));
    assert!(viewer.get(FREEZE).await.body["frozen"].is_null());
    assert_eq!(admin.put(FREEZE, json!({"why": "moving house"})).await.code, 200);
    let told = viewer.get(FREEZE).await.body;
    assert_eq!((told["frozen"]["by"].as_str(), told["frozen"]["why"].as_str()), (Some("admin"), Some("moving house")));
    assert_eq!(viewer.delete(FREEZE).await.code, 403);
    assert_eq!(admin.delete(FREEZE).await.body["was"], true);
    assert_eq!(admin.delete(FREEZE).await.body["was"], false);
}

#[tokio::test]
async fn c15_a_restored_backup_has_everything_and_moves_nothing_until_somebody_says_so() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::open(Config::new(old.path())).await.unwrap();
    let admin = Client::of(server.service(Identity::admin()));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"KEY": "aHVzaA=="}});
    assert_eq!(admin.post(SECRETS, secret).await.code, 201);
    for n in 0..250 {
        admin
            .post(
                CONFIG_MAPS,
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{n}")}, "data": {"n": n.to_string()}}),
            )
            .await;
    }
    let blob = old.path().join("registry/blobs/sha256");
    let content = vec![7u8; 600 << 10];
    let digest = artifact::Digest::of(&content);
    std::fs::write(blob.join(digest.hex()), &content).unwrap();
    let (ca, token) = (server.ca_pem().to_owned(), server.admin_token().to_owned());
    let whole = backed_up(&server, old.path()).await;
    assert!(!String::from_utf8_lossy(&whole).contains("aHVzaA"), "secrets are sealed in it");
    drop((admin, server));

    let file = new.path().join("backup");
    std::fs::write(&file, &whole).unwrap();
    let key = ClusterKey::open_or_create(&old.path().join("pki/cluster.key")).unwrap();
    let contents = backup::check(&file, Some(&key)).unwrap();
    assert!(contents.keys > 250 && contents.blobs == 1 && contents.sealed == 1 && contents.opened == 1, "{contents:?}");
    assert_eq!(backup::check(&file, None).unwrap().opened, 0, "without the key it is not opened");
    let strange = ClusterKey::open_or_create(&new.path().join("strange.key")).unwrap();
    assert!(backup::check(&file, Some(&strange)).is_err());

    let data = new.path().join("data");
    ClusterKey::copy(&old.path().join("pki/cluster.key"), &data.join("pki/cluster.key")).unwrap();
    std::fs::create_dir_all(data.join("store")).unwrap();
    std::fs::write(data.join("format"), "1\n").unwrap();
    let store = Redb::open(data.join("store/state.redb")).unwrap();
    backup::restore(&file, Some(&key), &store, &data).await.unwrap();
    let again = backup::restore(&file, Some(&key), &store, &data).await;
    assert!(matches!(again, Err(backup::Error::NotEmpty(_))), "{again:?}");
    store.close().await;
    drop(store);
    assert_eq!(std::fs::read(data.join("registry/blobs/sha256").join(digest.hex())).unwrap(), content);

    let server = Server::open(Config::new(&data)).await.unwrap();
    assert_eq!(server.ca_pem(), ca, "nodes and people trust it as before");
    let admin = Client::of(server.service(Identity::admin()));
    assert_eq!(admin.get(&format!("{SECRETS}/s")).await.body["data"]["KEY"], "aHVzaA==");
    assert_eq!(admin.get(&format!("{CONFIG_MAPS}/c249")).await.body["data"]["n"], "249");
    assert!(freeze::get(&**server.objects().store()).await.unwrap().unwrap().restored);
    // Nodes are told of no pods, so that they go on with those that they run.
    let node = Client::of(server.service(Identity::node("edge-1")));
    for path in ["/api/v1/pods?fieldSelector=spec.nodeName%3Dedge-1", "/api/v1/pods?watch=true", &format!("{PODS}/x")] {
        assert_eq!(node.get(path).await.code, 503, "{path}");
    }
    assert_eq!(admin.get(PODS).await.code, 200, "people may look");
    assert_eq!(admin.put(FREEZE, json!({"why": "still looking"})).await.code, 200);
    assert_eq!(node.get("/api/v1/pods").await.code, 503, "to freeze it again does not end that");
    assert_eq!(admin.delete(FREEZE).await.code, 200);
    assert_eq!(node.get("/api/v1/pods").await.code, 200);
    let known = scheduler::auth::Tokens::new(server.objects().store().clone()).identify(&token).await.unwrap();
    assert!(known.unwrap().is_admin(), "tokens are what they were");
}

#[tokio::test]
async fn a_damaged_backup_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::open(Config::new(folder.path().join("old"))).await.unwrap();
    let whole = backed_up(&server, &folder.path().join("old")).await;
    let file = folder.path().join("backup");
    let attempt = async |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let (store, target) = (Memory::new(), folder.path().join("new"));
        let done = backup::restore(&file, None, &store, &target).await;
        assert!(done.is_err() == store.list("", 0, None).await.unwrap().items.is_empty(), "all or nothing");
        let _ = std::fs::remove_dir_all(target);
        done
    };
    for cut in [0, 1, whole.len() / 2, whole.len() - 2] {
        assert!(matches!(attempt(&whole[..cut]).await, Err(backup::Error::Damaged { .. })), "cut at {cut}");
    }
    for at in (0..whole.len() - 1).step_by(whole.len() / 40) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(attempt(&flipped).await.is_err(), "bit 0 of byte {at}");
    }
    let text = String::from_utf8(whole.clone()).unwrap();
    let newer = text.replacen("\"wctlBackup\":1", "\"wctlBackup\":2", 1);
    assert!(matches!(attempt(newer.as_bytes()).await, Err(backup::Error::Newer(2))));
    assert!(attempt(b"{\"kind\": \"List\"}\n").await.unwrap_err().to_string().contains("no backup of wctl"));
    attempt(&whole).await.unwrap();
}
