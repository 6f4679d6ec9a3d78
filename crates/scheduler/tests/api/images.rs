//! Images of several servers, in one object store.

use std::time::Duration;

use artifact::Digest;
use artifact::blobs::Name;
use artifact::pack::pack;
use artifact::registry::{Embedded, Options};
use bytes::Bytes;
use futures::TryStreamExt;
use scheduler::backup;
use scheduler::server::{Config, Server, State, listen};
use serde_json::json;
use tokio::sync::oneshot;

use crate::disaster::backed_up;
use crate::etcd_server::{Servers, is_here};
use crate::moto::S3;
use crate::support::*;

/// What a node or a person knows of a server.
struct There {
    registry: artifact::registry::Client,
    http: reqwest::Client,
    url: String,
    token: String,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), scheduler::server::Error>>,
}

fn run(server: Server) -> There {
    let listener = listen("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (token, ca_pem) = (server.admin_token().to_owned(), server.ca_pem().to_owned());
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([ca]).timeout(Duration::from_secs(60)).build().unwrap();
    let embedded = Embedded::Remote { url: url.clone(), token: token.clone(), ca_pem };
    let registry = artifact::registry::Client::new(Options { embedded: Some(embedded), ..Options::default() }).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(listener, async move { drop(stopped.await) }));
    There { registry, http, url, token, stop, task }
}

impl There {
    async fn ask(&self, method: &str, path: &str) -> (u16, serde_json::Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_one_server_was_given_is_pulled_through_another_and_a_lost_store_is_told() {
    if !is_here() {
        return;
    }
    let Some(mut s3) = S3::start().await else { return };
    let etcd = Servers::start(1).await;
    let (one, two, three) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let images = || Some(s3.bucket("cluster-1"));
    let config = |folder: &std::path::Path| Config { state: State::Etcd(etcd.options()), images: images(), ..Config::new(folder) };
    let first = Server::open(config(one.path())).await.unwrap();
    let key = one.path().join("pki/cluster.key");
    let second = Server::open(Config { cluster_key: Some(key.clone()), ..config(two.path()) }).await.unwrap();

    // More than one part goes to the store, and comes back whole.
    let large: Bytes = (0..20_000_003u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
    let orphan = first.blobs().put(large.clone()).await.unwrap();
    assert_eq!(second.blobs().get(&orphan).await.unwrap(), large);
    let pieces: Vec<Bytes> = second.blobs().read(&orphan, Some(8_388_607..8_388_610)).await.unwrap().bytes.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), large[8_388_607..8_388_610]);

    let (first, second) = (run(first), run(second));
    let packed = pack(wat::parse_str("(component)").unwrap().into()).unwrap();
    let reference = "default/hello:1".parse().unwrap();
    assert_eq!(first.registry.push(&reference, &packed).await.unwrap(), packed.digest);
    assert_eq!(second.registry.pull(&reference).await.unwrap().wasm, packed.layer);
    assert_eq!(second.ask("GET", "/v2/_catalog").await.1, json!({"repositories": ["default/hello"]}));
    assert_eq!(second.ask("GET", "/v2/default/hello/tags/list").await.1["tags"], json!(["1"]));
    assert!(!one.path().join("registry/blobs/sha256").join(Digest::of(&packed.layer).hex()).exists(), "it is in no server's folder");

    let (code, pruned) = second.ask("POST", "/apis/wctl.dev/v1/prune?grace=0").await;
    assert_eq!(code, 200, "{pruned}");
    assert_eq!(pruned["items"], json!([{"what": "blob", "name": orphan.to_string(), "bytes": large.len()}]), "{pruned}");
    assert_eq!(first.registry.pull(&reference).await.unwrap().wasm, packed.layer);

    // A backup has the images too, as a server without a bucket would have them.
    let other = Server::open(Config { images: images(), ..Config::new(three.path()) }).await.unwrap();
    let file = three.path().join("backup");
    std::fs::write(&file, backed_up(&other, three.path()).await).unwrap();
    assert_eq!(backup::check(&file, None).unwrap().blobs, 3);
    drop(other);
    let (empty, store) = (tempfile::tempdir().unwrap(), scheduler::store::memory::Memory::new());
    backup::restore(&file, None, &store, empty.path()).await.unwrap();
    let restored = artifact::blobs::Blobs::open(empty.path().join("registry")).unwrap();
    let found = restored.find("default/hello", &Name::Tag("1".into())).await.unwrap();
    assert_eq!((found.digest, restored.get(&Digest::of(&packed.layer)).await.unwrap()), (packed.digest, packed.layer.clone()));

    // Without the store nobody gets an image, and is told why; all else goes on.
    s3.stop();
    let (code, told) = second.ask("GET", "/v2/default/hello/manifests/1").await;
    let said = told["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(code == 503 && said.starts_with("the object store that keeps the images cannot be reached"), "{code} {told}");
    let refused = second.registry.pull(&reference).await.unwrap_err().sentence();
    assert!(refused.contains("the object store that keeps the images cannot be reached"), "{refused}");
    assert_eq!(second.ask("POST", "/apis/wctl.dev/v1/prune").await.0, 503);
    assert_eq!(second.ask("GET", CONFIG_MAPS).await.0, 200);
    first.stop().await;
    second.stop().await;
}
