//! The store in a bucket: what one server is given, every other one has; and nothing that is needed is swept by anybody.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use artifact::Digest;
use artifact::blobs::{Blobs, Bucket, Error, Name, Prune};
use artifact::manifest::MANIFEST;
use artifact::pack::{Packed, pack};
use artifact::registry::{Client, Embedded, Options};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::support::*;

/// A bucket, and the folders of the servers that use it.
struct Cluster {
    store: Arc<InMemory>,
    folders: tempfile::TempDir,
}

impl Cluster {
    fn new() -> Cluster {
        Cluster { store: Arc::new(InMemory::new()), folders: tempfile::tempdir().unwrap() }
    }

    async fn server(&self, name: &str) -> Blobs {
        let bucket = Bucket::over(self.store.clone(), Path::from("some/prefix"));
        Blobs::open_in(bucket, self.folders.path().join(name)).await.unwrap()
    }

    fn key(&self, rest: &str) -> Path {
        Path::from(format!("some/prefix/_images/{rest}"))
    }

    fn blob(&self, digest: &Digest) -> Path {
        self.key(&format!("blobs/sha256/{}", digest.hex()))
    }

    async fn keys(&self) -> Vec<String> {
        self.store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap()
    }
}

fn local(blobs: &Blobs) -> Client {
    Client::new(Options { embedded: Some(Embedded::Local(blobs.clone())), ..Options::default() }).unwrap()
}

fn numbered(number: u32) -> Packed {
    pack(wat::parse_str(format!(r#"(component (core module (memory 1) (data (i32.const 0) "{number}")))"#)).unwrap().into()).unwrap()
}

fn tag(name: &str) -> Name {
    Name::Tag(name.to_owned())
}

#[tokio::test]
async fn what_one_server_is_given_every_other_one_has() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.server("one").await, cluster.server("two").await);
    let (first, second) = (numbered(1), numbered(2));
    let reference = "acme/hello:1".parse().unwrap();
    local(&one).push(&reference, &first).await.unwrap();
    assert_eq!(local(&two).pull(&reference).await.unwrap().wasm, first.layer);
    // A tag moves for all, and the other name of what it was stays.
    local(&two).push(&reference, &second).await.unwrap();
    assert_eq!(local(&one).resolve(&reference).await.unwrap().digest, second.digest);
    assert_eq!(local(&one).pull(&"acme/hello@".to_owned().add(&first.digest)).await.unwrap().wasm, first.layer);
    local(&one).push(&"acme/hello/deep:x_.y".parse().unwrap(), &first).await.unwrap();
    assert_eq!(two.repositories().await.unwrap(), ["acme/hello", "acme/hello/deep"]);
    assert_eq!(
        (two.tags("acme/hello").await.unwrap(), two.tags("acme/hello/deep").await.unwrap()),
        (vec!["1".into()], vec!["x_.y".into()])
    );
    assert!(matches!(two.tags("acme").await, Err(Error::NoRepository(_))));
    assert!(matches!(two.find("acme/hello", &tag("x_.y")).await, Err(Error::NoManifest { .. })));
    // What goes, goes for all.
    one.delete_manifest("acme/hello", &Name::Digest(second.digest)).await.unwrap();
    assert!(two.tags("acme/hello").await.unwrap().is_empty(), "its tag went with it");
    assert!(matches!(two.delete_blob(&Digest::of(&first.layer)).await, Err(Error::InUse { .. })));
    two.delete_blob(&Digest::of(&second.layer)).await.unwrap();
    assert_eq!(one.size(&Digest::of(&second.layer)).await.unwrap(), None);
    assert!(cluster.keys().await.iter().all(|key| key.starts_with("some/prefix/_images/") && !key.contains("sweeps")));
}

trait Add {
    fn add(self, digest: &Digest) -> artifact::Reference;
}

impl Add for String {
    fn add(self, digest: &Digest) -> artifact::Reference {
        format!("{self}{digest}").parse().unwrap()
    }
}

#[tokio::test]
async fn large_content_comes_in_parts_and_becomes_visible_as_a_whole_or_not_at_all() {
    let cluster = Cluster::new();
    let blobs = cluster.server("one").await;
    let large: Bytes = (0..20_000_003u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
    let digest = Digest::of(&large);
    let mut upload = blobs.upload(1 << 30).unwrap();
    for piece in large.chunks(3_000_001) {
        upload.write(&Bytes::copy_from_slice(piece)).await.unwrap();
        assert_eq!(blobs.size(&digest).await.unwrap(), None);
    }
    let other = Digest::of(b"other");
    let mut wrong = blobs.upload(1 << 30).unwrap();
    wrong.write(&large).await.unwrap();
    assert!(matches!(wrong.finish(&other).await, Err(Error::Digest { .. })));
    assert_eq!(blobs.size(&other).await.unwrap(), None);
    upload.finish(&digest).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), large);
    let whole: Vec<Bytes> = blobs.read(&digest, None).await.unwrap().bytes.try_collect().await.unwrap();
    assert_eq!(whole.concat(), large);
    let range = 8_388_600..16_777_300u64;
    let part: Vec<Bytes> = blobs.read(&digest, Some(range.clone())).await.unwrap().bytes.try_collect().await.unwrap();
    assert_eq!(part.concat(), large[range.start as usize..range.end as usize]);
    let empty = blobs.put(Bytes::new()).await.unwrap();
    assert_eq!(blobs.get(&empty).await.unwrap(), "");
    assert_eq!(std::fs::read_dir(cluster.folders.path().join("one/uploads")).unwrap().count(), 0, "nothing stays on the server's disk");
}

#[tokio::test]
async fn damaged_content_is_never_given_and_the_next_push_heals_it() {
    let cluster = Cluster::new();
    let blobs = cluster.server("one").await;
    let (packed, reference) = (packed(), "acme/hello:1".parse().unwrap());
    local(&blobs).push(&reference, &packed).await.unwrap();
    let layer = Digest::of(&packed.layer);
    let mut bad = packed.layer.to_vec();
    bad[20] ^= 1;
    for whole in [true, false] {
        cluster.store.put(&cluster.blob(&layer), bad.clone().into()).await.unwrap();
        match whole {
            true => assert!(matches!(blobs.get(&layer).await, Err(Error::Damaged { .. }))),
            false => assert!(blobs.read(&layer, None).await.unwrap().bytes.try_collect::<Vec<_>>().await.is_err()),
        }
        assert_eq!(blobs.size(&layer).await.unwrap(), None);
        local(&blobs).push(&reference, &packed).await.unwrap();
        assert_eq!(local(&blobs).pull(&reference).await.unwrap().wasm, packed.layer);
    }
}

#[tokio::test]
async fn a_prune_by_one_server_spares_what_another_one_needs() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.server("one").await, cluster.server("two").await);
    let packs: Vec<Packed> = (0..3).map(numbered).collect();
    let reference = "acme/hello:1".parse().unwrap();
    for packed in &packs {
        local(&one).push(&reference, packed).await.unwrap();
    }
    let orphan = one.put(Bytes::from_static(b"orphan")).await.unwrap();
    let young = Prune { grace: Duration::from_secs(3600), ..Prune::default() };
    assert_eq!(two.prune(young).await.unwrap().freed, 0, "what has just come stays");
    let far = Prune { watermark: 1 << 30, ..Prune::default() };
    assert_eq!(two.prune(far).await.unwrap().freed, 0, "nothing goes below the watermark");
    // The tag is on 2, a revision pins 1; 0 and the orphan are needed by nobody.
    let prune = Prune { keep: HashSet::from([packs[1].digest]), ..Prune::default() };
    let would = two.prune(Prune { dry_run: true, ..prune.clone() }).await.unwrap();
    assert_eq!(would.manifests, [("acme/hello".to_string(), packs[0].digest)]);
    let gone: HashSet<Digest> = would.blobs.iter().map(|(digest, _)| *digest).collect();
    assert_eq!(gone, HashSet::from([orphan, packs[0].digest, Digest::of(&packs[0].layer), Digest::of(&packs[0].config)]));
    assert!(one.size(&orphan).await.unwrap().is_some(), "a dry run removed something");
    assert_eq!(two.prune(prune).await.unwrap(), would);
    assert_eq!(one.size(&orphan).await.unwrap(), None);
    for packed in &packs[1..] {
        assert_eq!(local(&one).pull(&"acme/hello@".to_owned().add(&packed.digest)).await.unwrap().wasm, packed.layer);
    }
}

#[tokio::test]
async fn a_push_waits_for_a_sweep_and_is_refused_when_that_took_what_it_needs() {
    let cluster = Cluster::new();
    let blobs = cluster.server("one").await;
    let packed = numbered(7);
    for swept in [false, true] {
        for blob in [&packed.layer, &packed.config] {
            blobs.put(blob.clone()).await.unwrap();
        }
        // Another server has begun to sweep.
        let mark = cluster.key("sweeps/of-another");
        cluster.store.put(&mark, Bytes::new().into()).await.unwrap();
        let (pushing, manifest) = (blobs.clone(), packed.manifest.clone());
        let push = tokio::spawn(async move { pushing.put_manifest("acme/hello", &tag("1"), Some(MANIFEST), manifest).await });
        while blobs.find("acme/hello", &tag("1")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if swept {
            cluster.store.delete(&cluster.blob(&Digest::of(&packed.layer))).await.unwrap();
        }
        assert!(!push.is_finished(), "it did not wait");
        cluster.store.delete(&mark).await.unwrap();
        let pushed = push.await.unwrap();
        assert_eq!(pushed.is_ok(), !swept, "{pushed:?}");
        if swept {
            assert!(matches!(pushed, Err(Error::MissingBlob { .. })));
            assert!(blobs.find("acme/hello", &tag("1")).await.is_err(), "a manifest that is not whole is shown");
        }
        let _ = blobs.delete_manifest("acme/hello", &Name::Digest(packed.digest)).await;
    }
}

#[tokio::test]
async fn images_of_the_time_before_the_bucket_are_brought_into_it_once() {
    let cluster = Cluster::new();
    let folder = cluster.folders.path().join("one");
    let (old, new, other) = (numbered(1), numbered(2), numbered(3));
    {
        let before = local(&Blobs::open(&folder).unwrap());
        before.push(&"acme/hello:mine".parse().unwrap(), &old).await.unwrap();
        before.push(&"acme/hello:both".parse().unwrap(), &old).await.unwrap();
    }
    local(&cluster.server("two").await).push(&"acme/hello:both".parse().unwrap(), &new).await.unwrap();
    let one = cluster.server("one").await;
    assert_eq!(local(&one).pull(&"acme/hello:mine".parse().unwrap()).await.unwrap().wasm, old.layer);
    assert_eq!(local(&one).pull(&"acme/hello:both".parse().unwrap()).await.unwrap().wasm, new.layer, "the bucket's tag goes first");
    let kept = Blobs::open(cluster.folders.path().join("one-before-1")).unwrap();
    assert_eq!(local(&kept).pull(&"acme/hello:both".parse().unwrap()).await.unwrap().wasm, old.layer);
    // And what goes later does not come back.
    local(&one).push(&"acme/hello:mine".parse().unwrap(), &other).await.unwrap();
    drop(one);
    let again = cluster.server("one").await;
    assert_eq!(local(&again).pull(&"acme/hello:mine".parse().unwrap()).await.unwrap().wasm, other.layer);
    cluster.store.put(&cluster.key("format"), Bytes::from_static(b"9").into()).await.unwrap();
    let newer = Blobs::open_in(Bucket::over(cluster.store.clone(), Path::from("some/prefix")), &folder).await;
    assert!(matches!(newer, Err(Error::Newer { .. })));
}

#[tokio::test]
async fn a_bucket_that_cannot_be_reached_is_503_and_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::with("s3://b/p?endpoint=http://127.0.0.1:1&region=x", |_| None).unwrap();
    let blobs = Blobs::open_in(bucket, folder.path()).await.unwrap();
    let address = serve(artifact::server::router(blobs)).await;
    let answer = reqwest::get(format!("http://{address}/v2/acme/hello/manifests/1")).await.unwrap();
    assert_eq!(answer.status(), 503);
    let told: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(told["errors"][0]["code"], "UNAVAILABLE");
    let said = told["errors"][0]["message"].as_str().unwrap();
    assert!(said.starts_with("the object store that keeps the images cannot be reached") && !said.contains("127.0.0.1"), "{said}");
}
