//! Several nodes: any of them answers for any route, and nobody but nodes gets to the port between them.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, Joined, within};

async fn get(at: std::net::SocketAddr, app: &str, path: &str) -> (StatusCode, String) {
    let response = within("an answer", Cluster::open_at(at, app, path, false)).await;
    let (parts, body) = response.into_parts();
    let body = within("a body", body.collect()).await.expect("a whole body").to_bytes();
    (parts.status, String::from_utf8_lossy(&body).into_owned())
}

async fn ready_everywhere(cluster: &Cluster, others: &[&Joined], service: &str, want: usize) {
    cluster.ready(service, want).await;
    for other in others {
        Cluster::ready_at(&other.handle, service, want).await;
    }
}

fn forwarded(handle: &runtime::node::Handle) -> u64 {
    Cluster::metric_at(handle, "wctl_forwarded_total{try=\"first\"}")
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_answers_for_any_route() {
    let mut cluster = Cluster::start().await;
    let (two, three) = (cluster.join().await, cluster.join().await);
    cluster.pod_on("edge-2", "far", "web", json!({})).await;
    cluster.route_to("far", "web").await;
    ready_everywhere(&cluster, &[&two, &three], "far-web", 1).await;
    for at in [cluster.http, two.http, three.http] {
        assert_eq!(get(at, "far-web", "/").await, (StatusCode::OK, "hello".into()));
    }
    assert!(forwarded(&cluster.handle) >= 1 && forwarded(&three.handle) >= 1 && forwarded(&two.handle) == 0);

    // What the guest is told is what the first gateway saw.
    let (_, seen) = get(cluster.http, "far-web", "/reflect?x=1").await;
    assert!(seen.starts_with("GET /reflect?x=1\nhost: far-web.localhost\n"), "{seen}");
    assert!(seen.contains("\nx-forwarded-for: 127.0.0.1\n") && seen.contains("\nx-forwarded-host: far-web.localhost\n"), "{seen}");
    assert!(seen.contains("\nx-request-id: ") && seen.contains("\ntraceparent: 00-") && !seen.contains("\nwctl-"), "{seen}");

    // A client cannot speak as a node does.
    let forged = "GET /reflect HTTP/1.1\r\nhost: far-web.localhost\r\nwctl-service: default/other\r\nwctl-caller: a/b c\r\nconnection: close\r\n\r\n";
    let seen = cluster.raw(forged).await;
    assert!(seen.starts_with("HTTP/1.1 200") && !seen.contains("wctl-"), "{seen}");

    // Bodies stream both ways, whole.
    let sent: Bytes = (0..3_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    let io = TokioIo::new(TcpStream::connect(three.http).await.expect("a connection"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let request = Request::post("/echo").header("host", "far-web.localhost").body(Full::new(sent.clone())).expect("a request");
    let response = within("an answer", sender.send_request(request)).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let came = within("a body", response.into_body().collect()).await.expect("a whole body").to_bytes();
    assert!(came == sent, "{} bytes of {} came back, or others", came.len(), sent.len());

    // What a guest does wrong is told as if it were here, and how it trapped stands in the log of the node that was asked.
    assert_eq!(get(cluster.http, "far-web", "/panic").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(get(cluster.http, "far-web", "/exit?1").await.0, StatusCode::BAD_GATEWAY);
    let log = within("the log", async {
        loop {
            let log = std::fs::read_to_string(cluster.node_folder().join("logs/access.log")).unwrap_or_default();
            if log.contains("\"reason\":\"trap\"") {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let line = log.lines().find(|line| line.contains("\"reason\":\"trap\"")).unwrap_or_default();
    assert!(line.contains("\"pod\":\"far-web-edge-2\"") && line.contains("as asked") || line.contains("unreachable"), "{line}");

    // Whoever goes takes what was done for them along.
    let endless = Cluster::open_at(three.http, "far-web", "/endless", true).await;
    assert_eq!(endless.status(), StatusCode::OK);
    within("the guest at work", async {
        while Cluster::metric_at(&two.handle, "wctl_sandboxes") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(endless);
    within("the guest's end", async {
        while Cluster::metric_at(&two.handle, "wctl_sandboxes") > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;

    // A node that stops has its pods answered for by the others.
    cluster.pod_on("edge-3", "far", "web", json!({})).await;
    ready_everywhere(&cluster, &[&two, &three], "far-web", 2).await;
    let http = cluster.http;
    let asking = tokio::spawn(async move {
        let mut failed = Vec::new();
        for _ in 0..200 {
            let (status, body) = get(http, "far-web", "/").await;
            if status != StatusCode::OK {
                failed.push((status, body));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        failed
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    two.stop().await;
    assert_eq!(asking.await.expect("no panic"), [], "requests failed while a node stopped");
    three.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_call_each_other_across_nodes_with_the_grant_looked_at_on_both() {
    let mut cluster = Cluster::start().await;
    let two = cluster.join().await;
    cluster.pod_on("edge-1", "shop", "web", json!({"wctl.dev/call": "user"})).await;
    cluster.pod_on("edge-1", "shop", "bare", json!({})).await;
    cluster.pod_on("edge-2", "shop", "user", json!({"wctl.dev/call": "user"})).await;
    for service in ["web", "bare", "user"] {
        cluster.route_to("shop", service).await;
        ready_everywhere(&cluster, &[&two], &format!("shop-{service}"), 1).await;
    }
    let called = get(cluster.http, "shop-web", "/fetch?http|user.internal|/reflect").await.1;
    assert!(called.starts_with("200 GET /reflect\nhost: user.internal\n") && called.contains("\nx-request-id: "), "{called}");
    assert!(!called.contains("\nwctl-"), "{called}");
    let refused = get(cluster.http, "shop-bare", "/fetch?http|user.internal|/").await.1;
    assert!(refused.contains("HttpRequestDenied"), "{refused}");
    // In a circle, until it has been enough.
    let circle = get(cluster.http, "shop-web", "/again?user.internal").await.1;
    assert!(circle.contains("LoopDetected"), "{circle}");
    two.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_node_of_the_cluster_gets_to_the_port_between_nodes() {
    let mut cluster = Cluster::start().await;
    let two = cluster.join().await;
    cluster.pod_on("edge-2", "far", "web", json!({})).await;
    cluster.route_to("far", "web").await;
    ready_everywhere(&cluster, &[&two], "far-web", 1).await;
    assert_eq!(get(cluster.http, "far-web", "/").await.0, StatusCode::OK);
    // Without TLS.
    let plain = within("an end", async {
        let mut stream = TcpStream::connect(two.between).await.expect("a connection");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: far-web.localhost\r\n\r\n").await.expect("sent");
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        all
    })
    .await;
    assert!(!plain.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&plain));
    // With the certificate of another cluster, and with none.
    let folder = tempfile::tempdir().expect("a folder");
    let other = scheduler::pki::Authority::open_or_create(folder.path()).expect("a CA");
    let (key, request) = scheduler::pki::node_request("edge-1").expect("a request");
    let signed = other.sign_node("edge-1", &request).expect("signed");
    let identity = scheduler::pki::NodeIdentity::keep(folder.path(), other.ca_pem(), &signed, &key).expect("kept");
    for with in [Some(identity), None] {
        assert!(within("an end", dial(two.between, with)).await.is_err(), "a stranger was answered");
    }
    two.stop().await;
    cluster.stop().await;
}

/// Dials as somebody who believes whatever the other end says.
async fn dial(at: std::net::SocketAddr, identity: Option<scheduler::pki::NodeIdentity>) -> Result<StatusCode, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let trust = std::sync::Arc::new(Trusting(provider.clone()));
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| text(&error))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(trust);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(vec![identity.certificate], identity.key).map_err(|error| text(&error))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(at).await.map_err(|error| text(&error))?;
    let name = rustls::pki_types::ServerName::try_from("edge-2.node").map_err(|error| text(&error))?;
    let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let request = Request::get("http://far-web.localhost/").header("wctl-service", "default/far-web").header("wctl-pod", "x");
    let request = request.body(Full::<Bytes>::default()).map_err(|error| text(&error))?;
    sender.send_request(request).await.map(|response| response.status()).map_err(|error| text(&error))
}

#[derive(Debug)]
struct Trusting(std::sync::Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
