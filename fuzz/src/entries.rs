//! One function for each reader of strangers' bytes. It panics when what must hold does not, and that is all that a fuzzer looks for.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use runtime::body::Body;
use runtime::cache::{Cache, Compiler};
use runtime::engine::{Config, Engines};
use runtime::gateway::head::{self, Peer};
use runtime::gateway::track::Tracked;
use runtime::gateway::{Door, Gateway, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let made = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    RUNTIME.get_or_init(made).block_on(work)
}

/// N34: what comes over a gateway's socket. Whatever gets past hyper has one host, true forwarding headers and no hop-by-hop ones, and
/// every request is answered.
pub fn http_head(data: &[u8]) {
    block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let gateway = Arc::new(Gateway::new(Settings { node: "n1".into(), trusted: Vec::new() }, Arc::default()));
        let service = hyper::service::service_fn(move |request| answer(gateway.clone(), request));
        let mut http = Builder::new(TokioExecutor::new());
        http.http1().half_close(true).header_read_timeout(None).max_buf_size(64 << 10);
        let served = http.serve_connection(TokioIo::new(server), service);
        let talk = async {
            // The server may have had enough before it has all.
            let _ = client.write_all(data).await;
            let _ = client.shutdown().await;
            let mut all = Vec::new();
            let _ = client.read_to_end(&mut all).await;
        };
        let both = async { tokio::join!(served, talk) };
        // A connection that ends with an error is as good as any.
        let _ = tokio::time::timeout(Duration::from_secs(5), both).await.expect("a connection whose client is done ends");
    });
}

async fn answer(gateway: Arc<Gateway>, request: Request<Incoming>) -> Result<Response<Tracked>, std::convert::Infallible> {
    let peer = Peer::new([192, 0, 2, 7].into(), &[]);
    match head::check(&request) {
        Ok(host) => {
            let legal = host.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte));
            assert!(legal, "{host:?} is no host");
            let mut headers = request.headers().clone();
            head::rewrite(&mut headers, &host, &head::new_id(), &peer);
            true_headers(&headers, &host);
        }
        Err(refusal) => assert!(refusal.status().is_client_error(), "{refusal:?}"),
    }
    let (parts, body) = request.into_parts();
    // A broken body is its client's matter; one that never ends is bounded here as it is by a guest.
    let read = Limited::new(body, 1 << 20).collect().await.map(|whole| whole.to_bytes());
    let body: Body = runtime::body::full(read.unwrap_or_default());
    let response = gateway.respond(Request::from_parts(parts, body), &peer, &Door::Front).await;
    assert!(response.status().as_u16() >= 400, "there is nobody to answer {}", response.status());
    Ok(response)
}

fn true_headers(headers: &HeaderMap, host: &HeaderValue) {
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().cloned();
        assert!(values.next().is_none(), "more than one {name}");
        first
    };
    assert_eq!(only("x-forwarded-for").expect("an address"), "192.0.2.7");
    assert_eq!(only("x-forwarded-host").as_ref(), Some(host));
    for name in ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "forwarded", "x-real-ip"] {
        assert!(!headers.contains_key(name), "{name} is passed on");
    }
}

/// M18: an `app.yaml`. It is read or its mistakes are told, the same each time.
pub fn manifest(data: &[u8]) {
    let lookup = |name: &str| (name == "TAG").then(|| "2.0".to_owned());
    let read = || scheduler::app::parse(&[scheduler::app::Source::new("app.yaml", data)], &lookup);
    let first = read();
    if let Err(mistakes) = &first {
        assert!(!mistakes.to_string().is_empty(), "a refusal says why");
    }
    assert_eq!(first, read());
}

/// A patch of a Deployment in each form, and a body that is applied: an object comes of it, or a refusal that is the client's.
pub fn patch(data: &[u8]) {
    use scheduler::api::patch::{Form, apply, config};
    let container =
        serde_json::json!({ "name": "web", "image": "web:1", "env": [{ "name": "A", "value": "1" }], "ports": [{ "containerPort": 80 }] });
    let object = serde_json::json!({
        "metadata": { "name": "web", "finalizers": ["a"] },
        "spec": { "replicas": 1, "strategy": { "type": "Recreate" }, "template": { "spec": { "containers": [container] } } },
    });
    for form in [Form::Strategic, Form::Merge, Form::Json] {
        match apply(form, &scheduler::kinds::DEPLOYMENT, &object, data) {
            Ok(patched) => assert!(patched.is_object()),
            Err(refusal) => assert!((400..500).contains(&refusal.code), "{refusal:?}"),
        }
    }
    if let Err(refusal) = config(data) {
        assert_eq!(refusal.code, 400);
    }
}

/// N31: an object as Kubernetes' own clients send it. It is read, with its kind, or refused with a sentence.
pub fn protobuf(data: &[u8]) {
    match scheduler::api::protobuf::read(data) {
        Ok(object) => assert!(object["kind"].is_string() && object["apiVersion"].is_string(), "{object}"),
        Err(why) => assert!(!why.is_empty(), "a refusal says why"),
    }
}

/// R7, R8, H37, H39: an OCI manifest, and a component's bytes.
pub fn artifact(data: &[u8]) {
    if let Ok(parsed) = artifact::manifest::parse(data, None) {
        // Each is read or refused.
        let _ = (parsed.blobs(), parsed.children(), parsed.subject());
    }
    if let Ok(inspection) = artifact::inspect::inspect(data) {
        let _ = (inspection.in_plain_words(), inspection.unsupported(&["wasi:http"]));
    }
    let _ = artifact::inspect::validate(data);
}

/// A cache that holds the code of one component.
struct Kept {
    cache: Cache,
    code: PathBuf,
    good: [Vec<u8>; 2],
    _folder: tempfile::TempDir,
}

/// The least that is a component.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

impl Kept {
    fn new() -> Kept {
        let folder = tempfile::tempdir().expect("a folder");
        let engines = Engines::new(Config { small: 8, large: 8, running: 8, ..Config::default() });
        let cache = Cache::open(folder.path(), engines, Compiler::InProcess, None).expect("a cache");
        block_on(cache.prepare_bytes(Bytes::from_static(EMPTY), 1 << 20)).expect("an empty component");
        let files = std::fs::read_dir(folder.path().join("code")).expect("the code");
        let mut files = files.map(|file| file.expect("a file").path());
        let code = files.find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).expect("code");
        let good = [&code, &code.with_extension("mac")].map(|path| std::fs::read(path).expect("a file"));
        Kept { cache, code, good, _folder: folder }
    }
}

/// H38: a file of compiled code, or its checksum (the first byte says which), in place of the one that this node wrote. It is never
/// loaded; the code is made anew.
pub fn cached_code(data: &[u8]) {
    static KEPT: OnceLock<Mutex<Kept>> = OnceLock::new();
    let kept = KEPT.get_or_init(|| Mutex::new(Kept::new())).lock();
    let Some((which, data)) = data.split_first() else { return };
    let at = usize::from(which % 2);
    let path = if at == 0 { kept.code.clone() } else { kept.code.with_extension("mac") };
    // A mapped file is never changed in place.
    std::fs::remove_file(&path).expect("the file is there");
    std::fs::write(&path, data).expect("written");
    block_on(kept.cache.prepare_bytes(Bytes::from_static(EMPTY), 1 << 20)).expect("the code is made anew");
    let now = std::fs::read(&path).expect("the file is there again");
    assert!(now != data || now == kept.good[at], "what somebody else wrote was taken for ours");
}
