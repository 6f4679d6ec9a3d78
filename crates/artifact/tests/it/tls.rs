//! R15: whose certificates are believed.

use std::net::SocketAddr;
use std::sync::Arc;

use artifact::Reference;
use artifact::registry::{Failure, Options};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::support::*;

/// A server with its own certificate, which is its own authority and in PEM the answer's second part. It knows nothing: 404.
async fn server(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (SocketAddr, String) {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], secret).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
                }
            });
        }
    });
    (address, certificate.pem())
}

/// Whether a pull ends at the certificate; the only other end that is right is the server's 404.
async fn refused_for_its_certificate(address: SocketAddr, extra_cas: Vec<String>) -> bool {
    let reference: Reference = format!("localhost:{}/acme/hello:1", address.port()).parse().unwrap();
    let error = client_with(Options { extra_cas, ..Options::default() }).pull(&reference).await.unwrap_err();
    match error.failure() {
        Failure::NotFound { .. } => false,
        Failure::Unreachable { .. } if error.sentence().contains("certificate") => true,
        _ => panic!("{}", error.sentence()),
    }
}

#[tokio::test]
async fn r15_bad_certificates_are_refused_and_never_fallen_back_from() {
    let (stranger, _) = server(&["localhost"], |_| {}).await;
    assert!(refused_for_its_certificate(stranger, vec![]).await);
    let (expired, ca) = server(&["localhost"], |params| params.not_after = date_time_ymd(2001, 1, 1)).await;
    assert!(refused_for_its_certificate(expired, vec![ca]).await);
    let (misnamed, ca) = server(&["other.example"], |_| {}).await;
    assert!(refused_for_its_certificate(misnamed, vec![ca]).await);
}

#[tokio::test]
async fn r15_a_private_authority_is_believed_once_it_is_named() {
    let (private, ca) = server(&["localhost"], |_| {}).await;
    assert!(!refused_for_its_certificate(private, vec![ca]).await);
}
