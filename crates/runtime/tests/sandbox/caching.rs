//! The code cache: never trusts a file because of where it lies, and works once for many.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artifact::Reference;
use artifact::blobs::Blobs;
use artifact::registry::{Client, Options};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use runtime::cache::{BASELINE, Cache, Code, Compiler, Error};
use runtime::engine::Tier;
use runtime::sandbox::{Guest, Spec};

use crate::guests;
use crate::support::{get, host, spec, world};

fn cache(dir: &Path) -> Cache {
    Cache::open(dir, world().engines.clone(), Compiler::InProcess, None).unwrap()
}

async fn prepare(cache: &Cache, wasm: Bytes) -> Result<Arc<Code>, Error> {
    cache.prepare_bytes(wasm, 64 << 20).await
}

/// The file of compiled code.
fn file(dir: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(dir.join("code")).unwrap().map(|file| file.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap()
}

async fn serves(code: Arc<Code>) {
    let guest = Guest::prepare(&world().engines, code, spec(), host(&Default::default())).await.unwrap();
    assert_eq!(get(&guest, "/").await, "hello");
}

#[tokio::test]
async fn code_is_compiled_once_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    serves(prepare(&cache(dir.path()), guests::wasm("hostile")).await.unwrap()).await;
    let made = std::fs::metadata(file(dir.path())).unwrap().modified().unwrap();
    serves(prepare(&cache(dir.path()), guests::wasm("hostile")).await.unwrap()).await;
    assert_eq!(std::fs::metadata(file(dir.path())).unwrap().modified().unwrap(), made);
}

#[tokio::test]
async fn r21_many_at_once_share_one_compilation() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let all = futures::future::join_all((0..50).map(|_| prepare(&cache, guests::wasm("hostile")))).await;
    let first = all[0].as_ref().unwrap();
    assert!(all.iter().all(|code| Arc::ptr_eq(code.as_ref().unwrap(), first)));
}

#[tokio::test]
async fn r21_fifty_pods_of_one_image_share_one_download() {
    let (dir, blobs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let router = artifact::server::router(Blobs::open(blobs.path()).unwrap());
    let asked: Arc<parking_lot::Mutex<Vec<String>>> = Arc::default();
    let registry = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = registry.local_addr().unwrap();
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = registry.accept().await {
            let (router, seen) = (router.clone(), seen.clone());
            let answer = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                seen.lock().push(format!("{} {}", request.method(), request.uri().path()));
                tower::ServiceExt::oneshot(router.clone(), request)
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    let client = Client::new(Options::default()).unwrap();
    let packed = artifact::pack::pack(guests::wasm("hostile")).unwrap();
    let image: Reference = format!("{address}/acme/hostile:1").parse().unwrap();
    let digest = client.push(&image, &packed).await.unwrap();
    asked.lock().clear();
    let (image, cache) = (image.pinned(digest), cache(dir.path()));
    let all = futures::future::join_all((0..50).map(|_| cache.prepare(&image, &client, 64 << 20))).await;
    assert!(all.iter().all(|code| Arc::ptr_eq(code.as_ref().unwrap(), all[0].as_ref().unwrap())));
    let asked = asked.lock().clone();
    let blobs: Vec<_> =
        asked.iter().filter(|line| line.starts_with("GET") && line.contains(&artifact::Digest::of(&packed.layer).to_string())).collect();
    assert_eq!(blobs.len(), 1, "{asked:?}");
}

#[tokio::test]
async fn r19_h38_a_bit_that_flipped_is_found_and_the_code_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    prepare(&cache(dir.path()), guests::wasm("hostile")).await.unwrap();
    let path = file(dir.path());
    let good = std::fs::read(&path).unwrap();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        replace(&path, &bad);
        serves(prepare(&cache(dir.path()), guests::wasm("hostile")).await.unwrap()).await;
        assert_eq!(std::fs::read(&path).unwrap().len(), good.len());
        assert_ne!(std::fs::read(&path).unwrap(), bad, "the broken file is still there");
    }
    replace(&path, &good[..good.len() / 2]);
    serves(prepare(&cache(dir.path()), guests::wasm("hostile")).await.unwrap()).await;
}

/// Another file of this name, as one would come with a broken disk or a stranger; a mapped file is never changed in place.
fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn h38_code_of_another_cache_or_component_is_never_loaded() {
    let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    prepare(&cache(mine.path()), guests::wasm("hostile")).await.unwrap();
    prepare(&cache(other.path()), guests::wasm("command")).await.unwrap();
    // The other's code, MAC and all, under the name of mine: vouched for by another key, and for another component.
    for extension in ["cwasm", "mac"] {
        let foreign = std::fs::read(file(other.path()).with_extension(extension)).unwrap();
        replace(&file(mine.path()).with_extension(extension), &foreign);
    }
    let code = prepare(&cache(mine.path()), guests::wasm("hostile")).await.unwrap();
    serves(code).await;
    // The same with this cache's own key: still another component.
    prepare(&cache(mine.path()), guests::wasm("command")).await.unwrap();
    let files: Vec<PathBuf> = std::fs::read_dir(mine.path().join("code")).unwrap().map(|file| file.unwrap().path()).collect();
    let cwasm: Vec<&PathBuf> = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect();
    for extension in ["cwasm", "mac"] {
        let (one, two) = (cwasm[0].with_extension(extension), cwasm[1].with_extension(extension));
        let (first, second) = (std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        replace(&one, &second);
        replace(&two, &first);
    }
    serves(prepare(&cache(mine.path()), guests::wasm("hostile")).await.unwrap()).await;
}

#[cfg(unix)]
#[tokio::test]
async fn h38_the_key_and_the_code_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    prepare(&cache(dir.path()), guests::wasm("hostile")).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("key")), 0o600);
    assert_eq!(mode(&file(dir.path())), 0o600);
    assert_eq!(mode(dir.path()), 0o700);
}

/// A small component with something of everything that the validator and the compiler look at.
const SMALL: &str = r#"(component
    (type $record (record (field "name" string) (field "count" u32)))
    (import "give" (func $give (param "n" u32) (result (list u8))))
    (core module $memory (memory (export "m") 1) (func (export "r") (param i32 i32 i32 i32) (result i32) i32.const 64))
    (core instance $lib (instantiate $memory))
    (alias core export $lib "m" (core memory $m))
    (alias core export $lib "r" (core func $r))
    (core func $low (canon lower (func $give) (memory $m) (realloc $r)))
    (core module $main
        (import "env" "give" (func $give (param i32 i32)))
        (table 4 funcref) (elem (i32.const 0) $fib $fib) (data "hello") (global (mut i64) (i64.const 3))
        (func $fib (export "fib") (param i32) (result i32)
            (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (local.get 0))
                (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
        (func (export "ask") (param i32) (call $give (local.get 0) (i32.const 16)) (block (br_table 0 0 0 (local.get 0)))))
    (core instance $run (instantiate $main (with "env" (instance (export "give" (func $low))))))
    (func (export "fib") (param "n" u32) (result u32) (canon lift (core func $run "fib"))))"#;

/// H37 names 10,000 flips; each one that validates is compiled.
#[tokio::test]
async fn h37_every_truncation_and_ten_thousand_flips_are_errors_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let good = Bytes::from(wat::parse_str(SMALL).unwrap());
    prepare(&cache, good.clone()).await.unwrap();
    let (mut whole, mut taken) = (0, 0);
    for length in 0..good.len() {
        whole += usize::from(prepare(&cache, good.slice(..length)).await.is_ok());
    }
    // What ends just where a section ends is a component of its own.
    assert!(whole <= 20, "{whole} of {} truncated components were taken", good.len());
    let mut state = 7u64;
    for _ in 0..10_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bad = good.to_vec();
        bad[(state >> 33) as usize % good.len()] ^= 1 << (state >> 20 & 7);
        // Some flips are harmless, as in a name; none may panic.
        taken += usize::from(prepare(&cache, bad.into()).await.is_ok());
    }
    assert!((1..9_000).contains(&taken), "{taken} of 10,000 damaged components were taken");
}

#[tokio::test]
async fn h39_what_is_no_component_is_told_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    for (bytes, says) in [
        (&b""[..], "empty"),
        (b"\0", "(1 B)"),
        (b"(component)", "text"),
        (b"\0asm\x01\0\0\0", "core"),
        (b"\0asm\x07\0\x01\0", "version"),
        (b"\x7fELF", "not a WebAssembly"),
    ] {
        let error = prepare(&cache, Bytes::from_static(bytes)).await.err().unwrap_or_else(|| panic!("{bytes:?} must be refused"));
        let said = chain(&error);
        assert!(said.contains(says), "{bytes:?}: {said}");
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

#[tokio::test]
async fn pruning_removes_what_nobody_keeps_and_a_dry_run_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let used = prepare(&cache, guests::wasm("hostile")).await.unwrap();
    let unused = prepare(&cache, guests::wasm("command")).await.unwrap().layer;
    let dry = cache.prune(&[], true).unwrap();
    assert_eq!(dry.layers.keys().collect::<Vec<_>>(), [&unused]);
    assert!(dry.bytes() > 0);
    assert_eq!(cache.prune(&[unused], false).unwrap().layers.len(), 0);
    assert_eq!(cache.prune(&[], false).unwrap(), dry);
    assert_eq!(cache.prune(&[], false).unwrap().layers.len(), 0);
    serves(used).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn r20_a_failed_write_is_said_and_leaves_nothing_behind() {
    // A folder in which nothing can be made stands in for the disk.
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    std::fs::remove_dir_all(dir.path().join("code")).unwrap();
    std::os::unix::fs::symlink("/dev/full", dir.path().join("code")).unwrap();
    let error = prepare(&cache, guests::wasm("hostile")).await.err().expect("nothing can be written");
    assert!(chain(&error).contains("writing"), "{}", chain(&error));
}

#[tokio::test]
async fn optimised_code_takes_the_baselines_place_while_a_pod_serves() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), world().engines.clone(), Compiler::InProcess, BASELINE.map(|_| 1)).unwrap();
    let code = prepare(&cache, guests::wasm("hostile")).await.unwrap();
    let first = code.kind().tier;
    let spec = Spec { reuse: 1_000_000, ..spec() };
    let guest = Guest::prepare(&world().engines, code.clone(), spec, host(&Default::default())).await.unwrap();
    let (mut answers, start) = (Vec::new(), std::time::Instant::now());
    while code.kind().tier == Tier::Baseline && start.elapsed() < Duration::from_secs(120) {
        answers.push(get(&guest, "/count").await.parse::<u32>().unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(code.kind().tier, Tier::Optimized);
    assert_eq!(answers, (1..).take(answers.len()).collect::<Vec<u32>>(), "one sandbox served all of them");
    if BASELINE.is_some() {
        assert_eq!(first, Tier::Baseline);
        assert!(answers.len() > 10, "it served while the other code was made");
    }
    assert_eq!(get(&guest, "/count").await, "1", "the next is of the new code");
    assert_eq!(get(&guest, "/count").await, "2");
    // What is loaded after a restart is the better code.
    let again = Cache::open(dir.path(), world().engines.clone(), Compiler::InProcess, BASELINE.map(|_| 1)).unwrap();
    assert_eq!(prepare(&again, guests::wasm("hostile")).await.unwrap().kind().tier, Tier::Optimized);
}

#[tokio::test]
async fn a_component_of_0_3_serves_from_baseline_code_too() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), world().engines.clone(), Compiler::InProcess, BASELINE.map(|_| 1)).unwrap();
    let code = prepare(&cache, guests::wasm("hostile3")).await.unwrap();
    let tier = code.kind().tier;
    let guest = Guest::prepare(&world().engines, code, spec(), host(&Default::default())).await.unwrap();
    assert_eq!(get(&guest, "/").await, "hello");
    assert!(BASELINE.is_none() || tier == Tier::Baseline);
}
