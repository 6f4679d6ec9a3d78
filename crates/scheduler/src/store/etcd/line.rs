//! One HTTP/2 connection to one member of etcd.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;

use super::super::{Error, Result};
use super::options::Tls;

/// Longest time until a connection stands.
const CONNECT: Duration = Duration::from_secs(2);
/// A member that is silent this long is asked for a sign of life. etcd closes connections that ask more often than each 5 s.
const PING: Duration = Duration::from_secs(6);
/// How long it may take to give one.
const PONG: Duration = Duration::from_secs(3);
/// What may be under way to us on one connection, and on one stream of it.
const WINDOW: u32 = 8 << 20;

/// A connection. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct Line(SendRequest<Body>);

impl Line {
    /// Connects to a member, `HOST:PORT`.
    pub async fn open(member: &str, tls: Option<&Arc<ClientConfig>>) -> Result<Line> {
        let opened = tokio::time::timeout(CONNECT, open(member, tls)).await;
        let why = match opened {
            Ok(Ok(line)) => return Ok(line),
            Ok(Err(why)) => why,
            Err(_) => format!("no connection within {} s", CONNECT.as_secs()),
        };
        Err(Error::Unavailable(format!("etcd at {member}: {why}")))
    }

    /// Whether nothing can be asked on it any more.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

async fn open(member: &str, tls: Option<&Arc<ClientConfig>>) -> std::result::Result<Line, String> {
    let stream = TcpStream::connect(member).await.map_err(|error| error.to_string())?;
    // Questions are small and each is waited for.
    let _ = stream.set_nodelay(true);
    match tls {
        None => shake(TokioIo::new(stream)).await,
        Some(config) => {
            let host = member.rsplit_once(':').map_or(member, |(host, _)| host).trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(config.clone()).connect(name, stream).await.map_err(|error| error.to_string())?;
            shake(TokioIo::new(stream)).await
        }
    }
}

async fn shake<S>(stream: S) -> std::result::Result<Line, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PONG).keep_alive_while_idle(false);
    builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (sender, connection) = builder.handshake(stream).await.map_err(|error| error.to_string())?;
    // Ends with the last clone of the sender, or when the other side goes.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to etcd ended");
        }
    });
    Ok(Line(sender))
}

impl tower::Service<http::Request<Body>> for Line {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, hyper::Result<Self::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// TLS to etcd, from the files that the operator named.
pub fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>> {
    let wrong = |what: &str, why: String| Error::Refused(format!("{what}: {why}"));
    let mut roots = RootCertStore::empty();
    let Some(file) = &tls.ca else {
        return Err(Error::Refused("TLS to etcd needs the authority of its certificates: --store-ca FILE".to_owned()));
    };
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| wrong(&file.display().to_string(), error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| wrong("TLS to etcd", error.to_string()))?.with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let pem = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(&key.display().to_string(), error.to_string()))?;
            let made = builder.with_client_auth_cert(certificates(certificate)?, pem);
            made.map_err(|error| wrong(&certificate.display().to_string(), error.to_string()))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |why: String| Error::Refused(format!("{}: {why}", file.display()));
    let read = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    let found = read.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("it holds no certificate in PEM".to_owned())) } else { Ok(found) }
}
