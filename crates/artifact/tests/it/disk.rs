//! The store on disk: whole or not at all, healed when damaged, pruned by need.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use artifact::Digest;
use artifact::blobs::{Blobs, Error, Name, Prune};
use artifact::pack::{Packed, pack};
use artifact::registry::{Client, Embedded, Options};
use bytes::Bytes;
use futures::TryStreamExt;

use crate::support::*;

fn open(folder: &Path) -> Blobs {
    Blobs::open(folder).unwrap()
}

fn file(folder: &Path, digest: &Digest) -> std::path::PathBuf {
    folder.join("blobs").join("sha256").join(digest.hex())
}

fn files(folder: &Path) -> usize {
    ["blobs/sha256", "uploads"].iter().map(|part| std::fs::read_dir(folder.join(part)).unwrap().count()).sum()
}

fn local(blobs: &Blobs) -> Client {
    Client::new(Options { embedded: Some(Embedded::Local(blobs.clone())), ..Options::default() }).unwrap()
}

fn numbered(number: u32) -> Packed {
    pack(wat::parse_str(format!(r#"(component (core module (memory 1) (data (i32.const 0) "{number}")))"#)).unwrap().into()).unwrap()
}

#[tokio::test]
async fn what_is_pushed_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let packed = packed();
    let reference = "acme/hello:1".parse().unwrap();
    assert_eq!(local(&open(folder.path())).push(&reference, &packed).await.unwrap(), packed.digest);
    let artifact = local(&open(folder.path())).pull(&reference).await.unwrap();
    assert_eq!((artifact.digest, artifact.wasm), (packed.digest, packed.layer));
    assert_eq!(open(folder.path()).tags("acme/hello").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn pushing_the_same_again_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (client, packed) = (local(&open(folder.path())), packed());
    let reference = "acme/hello:1".parse().unwrap();
    client.push(&reference, &packed).await.unwrap();
    let index = std::fs::read_dir(folder.path().join("repositories")).unwrap().next().unwrap().unwrap().path();
    let stamp = || {
        (
            std::fs::metadata(&index).unwrap().modified().unwrap(),
            std::fs::metadata(file(folder.path(), &packed.digest)).unwrap().modified().unwrap(),
        )
    };
    let before = stamp();
    client.push(&reference, &packed).await.unwrap();
    assert_eq!(stamp(), before);
}

#[tokio::test]
async fn r19_a_flipped_bit_is_found_removed_and_healed() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let bytes = Bytes::from(vec![7u8; 300_000]);
    let digest = blobs.put(bytes.clone()).await.unwrap();
    let path = file(folder.path(), &digest);
    let flip = || {
        let mut bad = bytes.to_vec();
        bad[150_000] ^= 4;
        std::fs::write(&path, bad).unwrap();
    };
    flip();
    assert!(matches!(blobs.get(&digest).await, Err(Error::Damaged { .. })));
    assert!(!path.exists());
    blobs.put(bytes.clone()).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), bytes);
    // A stream never ends well on damaged content, and a push over it heals.
    flip();
    let streamed: Result<Vec<Bytes>, _> = blobs.read(&digest, None).await.unwrap().bytes.try_collect().await;
    assert!(streamed.is_err());
    flip();
    blobs.put(bytes.clone()).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn r20_an_upload_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let digest = Digest::of(b"whole");
    let mut cut = blobs.upload(100).unwrap();
    let body = futures::stream::iter([Ok(Bytes::from_static(b"who")), Err(std::io::Error::other("gone"))]);
    assert!(matches!(cut.write_all(body).await, Err(Error::Interrupted { received: 3, .. })));
    assert!(blobs.size(&digest).await.unwrap().is_none());
    drop(cut);
    let mut wrong = blobs.upload(100).unwrap();
    wrong.write(&Bytes::from_static(b"other")).await.unwrap();
    assert!(matches!(wrong.finish(&digest).await, Err(Error::Digest { .. })));
    let mut long = blobs.upload(4).unwrap();
    assert!(matches!(long.write(&Bytes::from_static(b"whole")).await, Err(Error::TooLarge { limit: 4 })));
    drop(long);
    assert_eq!(files(folder.path()), 0);
}

#[tokio::test]
async fn r20_leftovers_of_a_killed_process_are_removed_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    std::fs::write(folder.path().join("uploads").join("half"), b"half").unwrap();
    std::fs::write(folder.path().join("repositories").join(".tmpHalf"), b"{\"na").unwrap();
    let blobs = open(folder.path());
    assert_eq!(files(folder.path()), 0);
    assert!(blobs.repositories().await.unwrap().is_empty());
}

/// Runs itself again on a small disk of its own, in namespaces of its own.
#[cfg(target_os = "linux")]
#[test]
fn r20_a_full_disk_leaves_no_partial_file_and_recovers() {
    if let Some(folder) = std::env::var_os("WCTL_TEST_SMALL_DISK") {
        return tokio::runtime::Runtime::new().unwrap().block_on(on_a_full_disk(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    let script =
        r#"mount -t tmpfs -o size=512k tmpfs "$0" || exit 77; exec "$1" --exact disk::r20_a_full_disk_leaves_no_partial_file_and_recovers"#;
    let mut again = std::process::Command::new("unshare");
    again
        .args(["-rm", "sh", "-c", script])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .env("WCTL_TEST_SMALL_DISK", folder.path());
    match again.output() {
        Ok(done) if done.status.success() => {}
        Ok(done) if done.status.code() == Some(101) => panic!("{}", String::from_utf8_lossy(&done.stdout)),
        _ if std::env::var_os("WCTL_REQUIRE_TOOLS").is_some_and(|value| value == "1") => panic!("unshare and mount are required"),
        _ => println!("skipped: no small disk can be mounted here (unshare -rm)"),
    }
}

#[cfg(target_os = "linux")]
async fn on_a_full_disk(folder: &Path) {
    let blobs = open(folder);
    let small = blobs.put(Bytes::from_static(b"small")).await.unwrap();
    let large = Bytes::from(vec![1u8; 4 << 20]);
    let full = blobs.put(large.clone()).await;
    assert!(full.as_ref().is_err_and(|error| error.to_string().contains("disk is full")), "{full:?}");
    assert_eq!(blobs.size(&Digest::of(&large)).await.unwrap(), None);
    assert_eq!(files(folder), 1, "a partial file stayed");
    assert_eq!(blobs.get(&small).await.unwrap(), "small");
    blobs.put(Bytes::from(vec![2u8; 100 << 10])).await.expect("the space is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r21_fifty_puts_of_one_digest_make_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let bytes = Bytes::from(vec![9u8; 100_000]);
    let puts = (0..50).map(|_| {
        let (blobs, bytes) = (blobs.clone(), bytes.clone());
        tokio::spawn(async move { blobs.put(bytes).await.unwrap() })
    });
    for put in futures::future::join_all(puts).await {
        assert_eq!(put.unwrap(), Digest::of(&bytes));
    }
    assert_eq!(files(folder.path()), 1);
    assert_eq!(blobs.get(&Digest::of(&bytes)).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_newer_format_and_a_damaged_repository_are_refused_unharmed() {
    let folder = tempfile::tempdir().unwrap();
    local(&open(folder.path())).push(&"a:1".parse().unwrap(), &packed()).await.unwrap();
    let index = std::fs::read_dir(folder.path().join("repositories")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&index, "{").unwrap();
    assert!(matches!(Blobs::open(folder.path()), Err(Error::Repository { path, .. }) if path == index));
    std::fs::write(folder.path().join("format"), "2").unwrap();
    assert!(matches!(Blobs::open(folder.path()), Err(Error::Newer { .. })));
    assert_eq!(std::fs::read_to_string(&index).unwrap(), "{");
}

#[tokio::test]
async fn a_manifest_without_its_blobs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (blobs, packed) = (open(folder.path()), packed());
    let put = blobs.put_manifest("a", &Name::Tag("1".into()), None, packed.manifest.clone()).await;
    assert!(matches!(put, Err(Error::MissingBlob { .. })));
    assert!(blobs.repositories().await.unwrap().is_empty());
}

#[tokio::test]
async fn pruning_drops_what_nobody_needs_and_says_so_first() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let client = local(&blobs);
    let reference = "acme/hello:1".parse().unwrap();
    let packs: Vec<Packed> = (0..3).map(numbered).collect();
    for packed in &packs {
        client.push(&reference, packed).await.unwrap();
    }
    let orphan = blobs.put(Bytes::from_static(b"orphan")).await.unwrap();
    // The tag is on 2, a revision pins 1; 0 and the orphan are needed by nobody.
    let prune = Prune { keep: HashSet::from([packs[1].digest]), ..Prune::default() };
    let would = blobs.prune(Prune { dry_run: true, ..prune.clone() }).await.unwrap();
    assert_eq!(would.manifests, [("acme/hello".to_string(), packs[0].digest)]);
    let gone: HashSet<Digest> = would.blobs.iter().map(|(digest, _)| *digest).collect();
    assert_eq!(gone, HashSet::from([orphan, packs[0].digest, Digest::of(&packs[0].layer), Digest::of(&packs[0].config)]));
    assert!(blobs.size(&orphan).await.unwrap().is_some(), "a dry run removed something");
    assert_eq!(blobs.prune(prune).await.unwrap(), would);
    assert_eq!(blobs.size(&orphan).await.unwrap(), None);
    for packed in &packs[1..] {
        assert_eq!(client.pull(&reference_to(packed)).await.unwrap().wasm, packed.layer);
    }
    assert!(client.pull(&reference_to(&packs[0])).await.is_err());
    assert_eq!(open(folder.path()).prune(Prune { dry_run: true, ..Prune::default() }).await.unwrap().manifests.len(), 1);
}

fn reference_to(packed: &Packed) -> artifact::Reference {
    format!("acme/hello@{}", packed.digest).parse().unwrap()
}

#[tokio::test]
async fn pruning_spares_the_young_and_stops_at_the_watermark() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let client = local(&blobs);
    for number in 0..3 {
        client.push(&"a:1".parse().unwrap(), &numbered(number)).await.unwrap();
    }
    blobs.put(Bytes::from_static(b"on its way")).await.unwrap();
    let young = Prune { grace: Duration::from_secs(3600), ..Prune::default() };
    assert_eq!(blobs.prune(young).await.unwrap().freed, 0);
    let below = Prune { watermark: 1 << 20, ..Prune::default() };
    assert_eq!(blobs.prune(below).await.unwrap().freed, 0);
    let all = blobs.prune(Prune { dry_run: true, ..Prune::default() }).await.unwrap();
    let one = Prune { watermark: all.left + all.freed - 50, ..Prune::default() };
    let some = blobs.prune(one).await.unwrap();
    assert!(some.freed >= 50 && some.freed < all.freed, "{some:?}");
}
