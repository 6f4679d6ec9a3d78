//! Containers in an S3-compatible store instead of files of the node: moto, which `scripts/setup` installs. Skipped with a word where it is
//! missing, unless WCTL_REQUIRE_TOOLS=1.
#![cfg(unix)]

mod common;
#[path = "../../runtime/tests/sandbox/guests.rs"]
mod guests;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Machine;
use runtime::blobs::{Blobs, Bucket, Error, Limits, Store};

struct S3 {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl S3 {
    async fn start() -> Option<S3> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let required = std::env::var_os("WCTL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        let child = match started {
            Ok(child) => child,
            Err(error) if required => panic!("moto_server is required: {error}"),
            Err(error) => {
                eprintln!("moto_server is missing ({error}): not tested");
                return None;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("credentials"), "[default]\naws_access_key_id = ours\naws_secret_access_key = hush-4471\n")
            .unwrap();
        let s3 = S3 { child, port, folder };
        let began = Instant::now();
        while common::client().put(format!("http://127.0.0.1:{port}/kept")).send().await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "moto_server does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(s3)
    }

    fn url(&self, prefix: &str) -> String {
        format!("s3://kept/{prefix}?endpoint=http://127.0.0.1:{}", self.port)
    }

    fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    fn blobs(&self, prefix: &str, app: u64) -> Arc<Blobs> {
        let credentials = self.credentials().to_str().unwrap().to_owned();
        let bucket = Bucket::with(&self.url(prefix), |name| (name == "AWS_SHARED_CREDENTIALS_FILE").then(|| credentials.clone())).unwrap();
        let folder = self.folder.path().join(uuid());
        Arc::new(Blobs::open_in(bucket, folder, Limits { app, ..Limits::default() }).unwrap())
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.stop();
    }
}

fn uuid() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string()
}

fn put(store: &Store, container: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let upload = store.upload()?;
    upload.write(bytes)?;
    upload.finish(container, name)
}

fn get(store: &Store, container: &str, name: &str) -> Option<Vec<u8>> {
    let object = store.object(container, name).unwrap()?;
    let mut bytes = vec![0; object.size as usize];
    let mut at = 0;
    while at < bytes.len() {
        let most = (at + object.chunk()).min(bytes.len());
        at += object.read_at(&mut bytes[at..most], at as u64).unwrap();
    }
    Some(bytes)
}

fn names(store: &Store, container: &str) -> Vec<String> {
    let mut names = store.names(container).unwrap();
    let mut all: Vec<String> = std::iter::from_fn(|| names.next_name().unwrap()).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_replaces_bounds_and_forgets_objects_as_a_folder_does() {
    let Some(s3) = S3::start().await else { return };
    let (blobs, small) = (s3.blobs("some/prefix", 64 << 20), s3.blobs("small", 100_000));
    let work = move || {
        kept(&blobs);
        large(&blobs);
        bounded(&small);
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

fn kept(blobs: &Blobs) {
    let store = blobs.of("n", "a").unwrap();
    let odd = ["x", "../x", "X", "a/b", "a//b", "a%2F%2Fb", "/", ".", "..", "ü ", "\0", "%2F", "what?#", &"n".repeat(900)];
    for name in odd {
        put(&store, "c", name, name.as_bytes()).unwrap();
    }
    put(&store, "d", "x", b"of another container").unwrap();
    put(&store, "c", "x", b"replaced").unwrap();
    let mut want: Vec<String> = odd.iter().map(ToString::to_string).collect();
    want.sort();
    assert_eq!(names(&store, "c"), want);
    assert_eq!((get(&store, "c", "x").unwrap(), get(&store, "c", "a//b").unwrap()), (b"replaced".to_vec(), b"a//b".to_vec()));
    for (namespace, app) in [("n", "b"), ("m", "a"), ("n_a", "x")] {
        assert!(get(&blobs.of(namespace, app).unwrap(), "c", "x").is_none(), "h44: apps do not see each other");
    }
    assert!(matches!(put(&store, "c", "", b""), Err(Error::BadName(1024))));
    assert!(put(&store, "c", &"ü".repeat(512), b"").unwrap_err().to_string().contains("the object store allows 1024"));
    assert!(store.remove("c", "x").unwrap() && !store.remove("c", "x").unwrap() && get(&store, "c", "x").is_none());
    store.copy(("d", "x"), ("c", "copy")).unwrap();
    assert_eq!(get(&store, "c", "copy"), get(&store, "d", "x"));
    assert!(matches!(store.copy(("d", "none"), ("c", "copy")), Err(Error::NoObject(_))));
    let read = store.object("d", "x").unwrap().unwrap();
    put(&store, "d", "x", b"of another time, longer").unwrap();
    let told = read.read_at(&mut [0; 4], 0).unwrap_err().to_string();
    assert!(told.contains("replaced or removed while it was read"), "what is read is never a mixture: {told}");
    let counted = store.bytes();
    drop(store);
    assert_eq!(counted, blobs.of("n", "a").unwrap().bytes(), "a fresh look counts something else");
    blobs.of("n", "a").unwrap().clear("c").unwrap();
    assert!(names(&blobs.of("n", "a").unwrap(), "c").is_empty());
    blobs.forget("n", "a").unwrap();
    assert_eq!(names(&blobs.of("n", "a").unwrap(), "d"), [""; 0]);
}

fn large(blobs: &Blobs) {
    let store = blobs.of("n", "large").unwrap();
    let bytes: Vec<u8> = (0..20u32 << 20).map(|n| (n / 1000) as u8).collect();
    put(&store, "c", "in parts", &bytes).unwrap();
    assert!(get(&store, "c", "in parts").unwrap() == bytes, "what was sent in parts is one object");
}

fn bounded(blobs: &Blobs) {
    let store = blobs.of("n", "a").unwrap();
    put(&store, "c", "x", &[0; 50_000]).unwrap();
    let before = store.bytes();
    let refused = put(&store, "c", "y", &[0; 50_000]).unwrap_err().to_string();
    assert!(refused.contains("may hold 97"), "{refused}");
    assert_eq!(store.bytes(), before, "the upload is gone");
    assert!(matches!(store.copy(("c", "x"), ("c", "y")), Err(Error::Full { .. })), "a copy counts too");
    put(&store, "c", "x", &[0; 20_000]).unwrap();
    put(&store, "c", "y", &[0; 40_000]).unwrap();
    let many = (0..1000).take_while(|n| put(&store, "c", &format!("{n}"), b"").is_ok()).count();
    assert!(many < 10, "empty objects count too: {many}");
    assert!(store.bytes() <= 100_000);
}

#[tokio::test]
async fn what_an_app_keeps_in_a_bucket_is_there_on_another_machine() {
    let Some(mut s3) = S3::start().await else { return };
    let files = tempfile::tempdir().unwrap();
    let wasm = files.path().join("guest.wasm");
    std::fs::write(&wasm, guests::wasm("hostile")).unwrap();
    let app = format!("app: kept\nimage: {}\nroute: kept.localhost\nuses: {{ blobs: [uploads] }}\n", wasm.display());
    let (url, credentials) = (s3.url("machines"), s3.credentials());
    let up = || {
        let machine = Machine::up_with(&[("WCTL_BLOBS", &url), ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap())]);
        machine.deploy(&app);
        machine
    };
    let first = up();
    assert_eq!(first.get("kept.localhost", "/blobs?put|uploads|a/b|v").await.1, "Ok(())");
    assert!(first.get("kept.localhost", "/blobs?get|other|x").await.1.contains("is not granted"));
    let second = up();
    assert_eq!(second.get("kept.localhost", "/blobs?get|uploads|a/b").await.1, "Ok(\"v\")");
    s3.stop();
    let (status, told) = first.get("kept.localhost", "/blobs?get|uploads|a/b").await;
    assert!(status == 200 && told.contains("the object store cannot be reached"), "{status} {told}");
    // The host's log says what is wrong, without the secret.
    first.prints("the object store, which keeps the containers, failed");
    assert!(!first.everything().contains("hush-4471"), "{}", first.everything());
}

#[test]
fn a_bucket_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = common::wctl();
    command.arg("--data").arg(folder.path()).args(["--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "up", "--blobs", "http://a.example"]);
    let output = command.output().unwrap();
    common::ended(&output, 1);
    let sentence = common::one_sentence(&output);
    assert!(sentence.contains("--blobs") && sentence.contains("s3://BUCKET/PREFIX"), "{sentence}");
}
