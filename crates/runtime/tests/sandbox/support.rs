//! A node's worth of sandbox for tests.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use runtime::body::{self, Body};
use runtime::cache::{Cache, Code, Compiler};
use runtime::engine::{self, Engines};
use runtime::keyvalue::{Buckets, Limits};
use runtime::sandbox::{Entry, Error, Failure, Guest, Host, Level, Output, PodIdentity, Spec, Stream, Watch};
use runtime::wasi::outgoing::Client;

use crate::guests;

/// Engines and compiled guests, shared by all tests of this process.
pub struct World {
    pub engines: Engines,
    cache: Cache,
    _dir: tempfile::TempDir,
}

pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let engines = Engines::new(engine::Config { small: 200, large: 50, running: 200, ..engine::Config::default() });
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), engines.clone(), Compiler::InProcess, None).unwrap();
        World { engines, cache, _dir: dir }
    })
}

pub async fn code(name: &str) -> Arc<Code> {
    world().cache.prepare_bytes(guests::wasm(name), 64 << 20).await.unwrap()
}

/// A component in text.
pub async fn text(wat: &str) -> Result<Arc<Code>, runtime::cache::Error> {
    world().cache.prepare_bytes(wat::parse_str(wat).unwrap().into(), 64 << 20).await
}

/// Collects what a guest prints and how its bodies break.
#[derive(Default)]
pub struct Seen {
    pub stdout: Mutex<Vec<u8>>,
    pub stderr: Mutex<Vec<u8>>,
    pub failures: Mutex<Vec<Failure>>,
    /// Level, context and message of each entry.
    pub entries: Mutex<Vec<(Level, String, String)>>,
}

impl Output for Seen {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let into = if stream == Stream::Stdout { &self.stdout } else { &self.stderr };
        into.lock().extend_from_slice(bytes);
    }

    fn log(&self, entry: &Entry<'_>) {
        self.entries.lock().push((entry.level, entry.context.into(), entry.message.into()));
    }
}

impl Watch for Seen {
    fn body_failed(&self, failure: &Failure) {
        self.failures.lock().push(failure.clone());
    }
}

pub fn spec() -> Spec {
    let pod = PodIdentity {
        namespace: "default".into(),
        app: Some("shop".into()),
        service: "user".into(),
        name: "user-1".into(),
        uid: "1".into(),
    };
    Spec { time: Duration::from_millis(500), memory: 64 << 20, concurrency: 4, ..Spec::new(pod) }
}

pub fn client() -> Arc<Client> {
    Arc::new(Client::new(Vec::new()).unwrap())
}

pub fn host(seen: &Arc<Seen>) -> Host {
    let buckets = Arc::new(Buckets::in_memory(Limits::default()).unwrap());
    Host { output: seen.clone(), watch: seen.clone(), neighbours: true, ..Host::quiet(buckets, client()) }
}

pub async fn guest_with(name: &str, spec: Spec, seen: &Arc<Seen>) -> Result<Guest, Error> {
    Guest::prepare(&world().engines, code(name).await, spec, host(seen)).await
}

pub async fn guest(spec: Spec) -> Guest {
    guest_with("hostile", spec, &Arc::default()).await.unwrap()
}

pub async fn guest3(spec: Spec) -> Guest {
    guest_with("hostile3", spec, &Arc::default()).await.unwrap()
}

pub fn request(path: &str) -> Request<Body> {
    Request::get(format!("http://shop.localhost{path}")).body(body::empty()).unwrap()
}

/// The head alone.
pub async fn head(guest: &Guest, path: &str) -> Result<Response<Body>, Failure> {
    guest.handle(request(path)).await
}

/// The whole body, or why it broke.
pub async fn read(response: Response<Body>) -> Result<Bytes, String> {
    response.into_body().collect().await.map(|body| body.to_bytes()).map_err(|error| error.to_string())
}

/// The whole body of an answer that must come.
pub async fn get(guest: &Guest, path: &str) -> String {
    let response = head(guest, path).await.unwrap_or_else(|failure| panic!("{path}: {failure}"));
    String::from_utf8(read(response).await.unwrap().into()).unwrap()
}

/// How it fails.
pub async fn fail(guest: &Guest, path: &str) -> Failure {
    head(guest, path).await.map(|response| response.status()).expect_err(path)
}

/// The trap's message.
pub fn trap(failure: Failure) -> String {
    match failure {
        Failure::Trap { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

/// After whatever was done to it, a guest serves as before, and holds nothing.
pub async fn is_unharmed(guest: &Guest) {
    let idle = async {
        while guest.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), idle).await.expect("its permits come back");
    assert_eq!(get(guest, "/").await, "hello");
}
