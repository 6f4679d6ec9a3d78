//! A registry that answers as a test wants, and images to put into it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use artifact::pack::{Packed, pack};
use artifact::registry::{Artifact, Client, Error, Failure, Limits, Options};
use artifact::{Digest, Reference};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const WASM: &str = "application/wasm";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
}

/// A registry on a loopback port, without TLS.
pub struct Fake {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Answers each request as `answer` says.
    pub async fn start(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Fake {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let record = seen.clone();
        let handle = move |request: Request| {
            let path = request.uri().to_string();
            let one = Seen { method: request.method().to_string(), path, headers: request.headers().clone() };
            record.lock().push(one.clone());
            let response = answer(&one);
            async move { response }
        };
        Fake { address: serve(Router::new().fallback(handle)).await, seen }
    }

    /// A registry that behaves and holds these contents by path, such as `manifests/1`.
    pub async fn holding(contents: Contents) -> Fake {
        Fake::start(move |seen| contents.answer(seen)).await
    }

    pub fn reference(&self, rest: &str) -> Reference {
        format!("{}/acme/hello{rest}", self.address).parse().unwrap()
    }

    /// Requests whose path contains `part`.
    pub fn seen(&self, part: &str) -> Vec<Seen> {
        self.seen.lock().iter().filter(|seen| seen.path.contains(part)).cloned().collect()
    }
}

/// Serves a router on a loopback port for as long as the test runs.
pub async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Contents by path behind the repository, with their types.
#[derive(Clone, Default)]
pub struct Contents(pub BTreeMap<String, (String, Bytes)>);

impl Contents {
    pub fn of(packed: &Packed) -> Contents {
        let mut contents = Contents::default();
        contents.blob(packed.layer.clone());
        contents.blob(packed.config.clone());
        contents.document("1", MANIFEST, packed.manifest.clone());
        contents
    }

    pub fn blob(&mut self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.0.insert(format!("blobs/{digest}"), ("application/octet-stream".into(), bytes));
        digest
    }

    /// Under its digest and a tag.
    pub fn document(&mut self, tag: &str, media_type: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        for name in [tag.to_string(), digest.to_string()] {
            self.0.insert(format!("manifests/{name}"), (media_type.into(), bytes.clone()));
        }
        digest
    }

    pub fn answer(&self, seen: &Seen) -> Response {
        let found = seen.path.strip_prefix("/v2/acme/hello/").and_then(|path| self.0.get(path));
        match found {
            Some((media_type, bytes)) => ok(media_type, bytes.clone()),
            None => status(404),
        }
    }
}

pub fn ok(media_type: &str, bytes: impl Into<Body>) -> Response {
    Response::builder().header("content-type", media_type).body(bytes.into()).unwrap()
}

pub fn status(status: u16) -> Response {
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(Body::empty()).unwrap()
}

pub fn redirect(to: &str) -> Response {
    Response::builder().status(307).header("location", to).body(Body::empty()).unwrap()
}

/// A body of these pieces with no length announced; an `Err` breaks the connection.
pub fn pieces(pieces: Vec<Result<Vec<u8>, std::io::Error>>) -> Body {
    Body::from_stream(futures::stream::iter(pieces))
}

/// A small component with some weight, so that there is something to cut.
pub fn component() -> Bytes {
    let text = format!(r#"(component (core module (memory 1) (data (i32.const 0) "{}")))"#, "wctl".repeat(2000));
    wat::parse_str(text).unwrap().into()
}

pub fn packed() -> Packed {
    pack(component()).unwrap()
}

/// A manifest with these layers and no config worth a look.
pub fn manifest(layers: &[Value]) -> Vec<u8> {
    let config = described("application/vnd.wasm.config.v0+json", b"{}");
    serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })).unwrap()
}

pub fn described(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}

/// Bounds that are reached within a test's patience.
pub fn limits() -> Limits {
    Limits { layer: 1 << 20, answer: Duration::from_secs(20), ..Limits::default() }
}

pub fn client() -> Client {
    client_with(Options::default())
}

pub fn client_with(options: Options) -> Client {
    let limits = if options.limits == Limits::default() { limits() } else { options.limits.clone() };
    Client::new(Options { limits, ..options }).unwrap()
}

pub async fn pull(fake: &Fake, rest: &str) -> Result<Artifact, Error> {
    client().pull(&fake.reference(rest)).await
}

/// Pulls what must fail and hands out why.
pub async fn refused(fake: &Fake, rest: &str) -> String {
    refusal(pull(fake, rest).await)
}

pub fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.expect_err("a hostile registry was believed").sentence()
}

pub fn failure<T: std::fmt::Debug>(result: &Result<T, Error>) -> &Failure {
    result.as_ref().expect_err("a hostile registry was believed").failure()
}
