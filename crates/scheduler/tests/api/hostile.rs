//! Attacks on the API's port: TLS that stalls or lies (N6), and tokens that are good for something else (N31).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use scheduler::auth::Identity;
use scheduler::server::{Config, Server, listen};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

/// A server on a port, whose clients come over TLS.
struct Port {
    address: String,
    ca_pem: String,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Port {
    async fn open() -> Port {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::open(Config::new(folder.path())).await.unwrap();
        let listener = listen("127.0.0.1:0").unwrap();
        let (address, ca_pem) = (listener.local_addr().unwrap().to_string(), server.ca_pem().to_owned());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move { server.run(listener, async move { drop(stopped.await) }).await.unwrap() });
        Port { address, ca_pem, stop, task, _folder: folder }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// A new good client is served, and soon.
    async fn serves(&self) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(self.ca_pem.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let start = Instant::now();
        assert_eq!(client.get(format!("https://{}/healthz", self.address)).send().await.unwrap().status(), 200);
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }

    /// A connection whose handshake is done.
    async fn tls(&self, protocol: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        let pem = rustls::pki_types::pem::PemObject::from_pem_slice(self.ca_pem.as_bytes());
        roots.add(pem.unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, self.connect().await).await.unwrap()
    }

    async fn close(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }

    /// What comes back on a connection until the server closes it, which must be within `most`.
    async fn answer(&self, what: &str, bytes: &[u8], most: Duration) -> Vec<u8> {
        let mut stream = self.connect().await;
        // It may be closed before it has taken all.
        let _ = stream.write_all(bytes).await;
        let mut all = Vec::new();
        let _ = tokio::time::timeout(most, stream.read_to_end(&mut all)).await.unwrap_or_else(|_| panic!("{what}: it is open"));
        all
    }
}

/// A TLS client that trusts anything, over bytes in memory.
fn client(name: &str) -> rustls::ClientConnection {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    rustls::ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap()
}

/// The first flight of such a client.
fn hello(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    client(name).write_tls(&mut bytes).unwrap();
    bytes
}

/// A TLS record of a handshake message that claims so many bytes.
fn record(claims: u16, payload: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &claims.to_be_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn n6_handshakes_that_lie_are_refused_at_once() {
    let port = Port::open().await;
    let soon = Duration::from_secs(2);
    let good = hello("unknown.example");
    let name = b"unknown.example";
    let at = good.windows(name.len()).position(|part| part == name).unwrap();
    let mut no_name = good.clone();
    no_name[at - 2..at].copy_from_slice(&[0, 0]);
    let mut long_name = good.clone();
    long_name[at - 2..at].copy_from_slice(&[255, 255]);
    let mut odd_name = good.clone();
    odd_name[at..at + 3].copy_from_slice(b"\0/\n");
    let large = (0..4).flat_map(|_| record(16_384, &[[1, 1, 0, 0].as_slice(), &[0; 16_380]].concat())).collect::<Vec<_>>();
    for (what, bytes) in [
        ("plain HTTP", b"GET /api HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a name of no bytes", no_name),
        ("a name of 65,535 bytes", long_name),
        ("a name that is none", odd_name),
        ("a hello of 64 KiB", large),
        ("a record longer than allowed", record(65_535, &[0; 65_535])),
        ("a record of nothing, again and again", record(0, &[]).repeat(100)),
        ("data before a hello", [23, 3, 3, 0, 1, 0].to_vec()),
        ("two hellos", [good.clone(), good.clone()].concat()),
        ("noise", (0..4_096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
    ] {
        let answer = port.answer(what, &bytes, soon).await;
        assert!(!answer.starts_with(b"HTTP/"), "{what}");
        // At most what a handshake says before it fails, and an alert.
        assert!(answer.len() < 8_192, "{what}: {} bytes", answer.len());
    }
    // A name that the server does not have is its client's matter: it is shown the certificate that there is.
    let mut stream = port.connect().await;
    stream.write_all(&good).await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[0], 22, "a handshake goes on: {answer:?}");
    port.serves().await;
    port.close().await;
}

/// Handshakes that stop half-way, so many.
async fn stalled(port: &Port, many: usize) -> Vec<TcpStream> {
    let hello = hello("unknown.example");
    let mut all = Vec::new();
    for n in 0..many {
        let mut stream = port.connect().await;
        stream.write_all(&hello[..n % hello.len()]).await.unwrap();
        all.push(stream);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn n6_handshakes_that_stall_keep_nobody_waiting() {
    let port = Port::open().await;
    let all = stalled(&port, 500).await;
    port.serves().await;
    drop(all);
    port.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: takes a quarter of a minute"]
async fn n6_handshakes_that_stall_are_ended_after_ten_seconds() {
    let port = Port::open().await;
    for mut stream in stalled(&port, 500).await {
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(12), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "it is open after ten seconds");
    }
    port.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: takes a quarter of a minute"]
async fn n5_a_connection_on_which_nothing_is_asked_is_ended() {
    let port = Port::open().await;
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let mut stream = port.tls(protocol).await;
        if protocol == b"h2" {
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        }
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(12), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "it is open after ten seconds");
    }
    port.serves().await;
    port.close().await;
}

#[tokio::test]
async fn n31_n32_a_good_token_is_good_for_what_it_was_given_for() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let pod = |name: &str| json!({ "metadata": { "name": name }, "spec": { "nodeName": "n1", "containers": [{ "name": "web", "image": image("web") }] } });
    admin.post(PODS, pod("web")).await.ok();
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "KEY": "hidden-value" } });
    admin.post("/api/v1/namespaces/default/secrets", secret.clone()).await.ok();
    let nobody = Identity { name: "admin".to_owned(), groups: vec!["system:masters ".to_owned(), "admins".to_owned()] };
    let all = [
        ("a viewer", Identity::viewer("bob")),
        ("a deployer of another namespace", Identity::deployer("alice", "shop")),
        ("another node", Identity::node("n2")),
        ("nobody with fine names", nobody),
    ];
    let before = cluster.server.objects().resource_version().await.unwrap();
    for (who, identity) in &all {
        let client = cluster.client(identity.clone());
        // Nothing of these may be written by any of them.
        for path in
            [PODS, DEPLOYMENTS, CONFIG_MAPS, APPS, "/api/v1/namespaces/default/secrets", "/api/v1/namespaces", "/apis/wctl.dev/v1/policies"]
        {
            let body = json!({ "metadata": { "name": "web" } });
            for (method, path) in [("POST", path.to_owned()), ("PUT", format!("{path}/web")), ("DELETE", format!("{path}/web"))] {
                let answer = client.send(method, &path, "application/json", Some(body.clone())).await;
                assert!(matches!(answer.code.as_u16(), 403..=405), "{who}: {method} {path}: {} {}", answer.code, answer.body);
                assert!(!answer.body.to_string().contains("hidden-value"));
            }
            let patched = client.merge(&format!("{path}/web"), json!({ "metadata": { "labels": { "a": "b" } } })).await;
            assert!(matches!(patched.code.as_u16(), 403 | 404), "{who}: PATCH {path}: {}", patched.code);
        }
        for path in [format!("{PODS}/web/status"), format!("{PODS}/web/binding"), format!("{DEPLOYMENTS}/web/scale")] {
            let answer = client.send("PUT", &path, "application/json", Some(pod("web"))).await;
            assert!(matches!(answer.code.as_u16(), 403..=405), "{who}: PUT {path}: {} {}", answer.code, answer.body);
        }
        for path in ["/apis/wctl.dev/v1/nodes/n1/asks", "/api/v1/secrets", "/api/v1/namespaces/default/secrets"] {
            client.get(path).await.refused(403, "Forbidden");
        }
        client.send("POST", "/apis/wctl.dev/v1/nodes/n1/answers/1", "text/plain", Some(json!("x"))).await.refused(403, "Forbidden");
    }
    for (who, identity) in &all[..2] {
        let answer = cluster.client(identity.clone()).get("/api/v1/namespaces/default/secrets/s").await;
        assert_eq!(answer.code, 403, "{who}: {}", answer.body);
    }
    assert_eq!(cluster.server.objects().resource_version().await.unwrap(), before, "nothing was written");
}
