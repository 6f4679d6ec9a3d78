//! The pooled client of a node: names are resolved once, their addresses checked, and the checked ones connected to.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client as Pooled, Error as PooledError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use tower::Service;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::address;

/// How long a connection may take to be made, unless the guest says less.
const CONNECT: Duration = Duration::from_secs(10);

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Resolves a name to addresses; tests bring their own.
pub type Lookup = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync>;

/// A pooled HTTP client that connects only to addresses that were checked. One for a node.
pub struct Client {
    pooled: Pooled<hyper_rustls::HttpsConnector<Counted>, WasiBody>,
    names: Checked,
    attempts: Arc<AtomicU64>,
}

impl Client {
    /// A client that trusts the public web's certificate authorities and `roots`.
    ///
    /// # Errors
    /// When one of `roots` is not a certificate.
    pub fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        Self::with_lookup(roots, Arc::new(|name| Box::pin(system_lookup(name))))
    }

    /// The same for a guest that has this machine's network: names may lead inside.
    ///
    /// # Errors
    /// When one of `roots` is not a certificate.
    pub fn inside_too(roots: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        Self::build(roots, Arc::new(|name| Box::pin(system_lookup(name))), |_| true)
    }

    /// The same with another way to resolve names.
    ///
    /// # Errors
    /// When one of `roots` is not a certificate.
    pub fn with_lookup(roots: Vec<CertificateDer<'static>>, lookup: Lookup) -> Result<Self, rustls::Error> {
        Self::build(roots, lookup, address::is_public)
    }

    fn build(roots: Vec<CertificateDer<'static>>, lookup: Lookup, passes: fn(IpAddr) -> bool) -> Result<Self, rustls::Error> {
        let attempts = Arc::new(AtomicU64::new(0));
        let names = Checked { lookup, passes, attempts: attempts.clone() };
        let mut http = HttpConnector::new_with_resolver(names.clone());
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots)?)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(Counted { http, attempts: attempts.clone() });
        let pooled = Pooled::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(64)
            .build(connector);
        Ok(Self { pooled, names, attempts })
    }

    /// Connections that were begun since the start.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Counts a connection that is begun elsewhere, after the same checks.
    pub(crate) fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// The addresses of a granted name that may be connected to.
    pub(crate) async fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        let found = self.names.find(name.to_owned()).await?;
        Ok(found.into_iter().map(|address| address.ip().to_canonical()).collect())
    }

    /// Sends a request that has been granted.
    pub(super) async fn send(
        &self,
        request: Request<WasiBody>,
        options: RequestOptions,
        remaining: Duration,
    ) -> Result<Response<WasiBody>, Error> {
        // hyper reports the end of a connection attempt and of the wait for the head as one; the guest's shorter limit bounds both.
        let first_byte = options.first_byte_timeout.unwrap_or(Duration::MAX).min(remaining);
        let answer = tokio::time::timeout(first_byte, self.pooled.request(request));
        let response = answer.await.map_err(|_| Error::ConnectionReadTimeout)?.map_err(|error| explain(&error))?;
        let between = options.between_bytes_timeout;
        Ok(response.map(|body| {
            let body = body.map_err(Error::Hyper);
            match between {
                Some(limit) => Paused { body: body.boxed_unsync(), limit, sleep: None }.boxed_unsync(),
                None => body.boxed_unsync(),
            }
        }))
    }
}

/// Says in `wasi:http`'s words why there is no response.
fn explain(error: &PooledError) -> Error {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<Prohibited>() {
            return Error::DestinationIpProhibited;
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return if matches!(tls, rustls::Error::InvalidCertificate(_)) { Error::TlsCertificateError } else { Error::TlsProtocolError };
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if io.get_ref().is_some_and(|inner| inner.is::<Prohibited>()) {
                return Error::DestinationIpProhibited;
            }
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused => return Error::ConnectionRefused,
                std::io::ErrorKind::TimedOut => return Error::ConnectionTimeout,
                _ => {}
            }
        }
        if let Some(tls) = cause.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()?.downcast_ref::<rustls::Error>()) {
            return if matches!(tls, rustls::Error::InvalidCertificate(_)) { Error::TlsCertificateError } else { Error::TlsProtocolError };
        }
        source = cause.source();
    }
    if error.is_connect() { Error::DestinationUnavailable } else { Error::ConnectionTerminated }
}

fn tls(extra: Vec<CertificateDer<'static>>) -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in extra {
        roots.add(root)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

async fn system_lookup(name: String) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

/// All addresses of a name are on networks that only a literal grant reaches.
#[derive(Debug, thiserror::Error)]
#[error("{0} resolves to no public address; grant the address itself if it is meant")]
pub(crate) struct Prohibited(String);

/// The resolver of the connector. It is not asked about literal addresses: those were compared with the grant as written.
#[derive(Clone)]
struct Checked {
    lookup: Lookup,
    /// Which addresses a name may lead to.
    passes: fn(IpAddr) -> bool,
    attempts: Arc<AtomicU64>,
}

impl Checked {
    /// The addresses of a name that may be connected to.
    fn find(&self, name: String) -> impl Future<Output = std::io::Result<Vec<SocketAddr>>> + Send + 'static {
        let (found, passes) = ((self.lookup)(name.clone()), self.passes);
        async move {
            let mut addresses = found.await?;
            addresses.retain(|address| passes(address.ip()));
            if addresses.is_empty() {
                return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, Prohibited(name)));
            }
            Ok(addresses)
        }
    }
}

impl Service<Name> for Checked {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.find(name.as_str().to_owned());
        let attempts = self.attempts.clone();
        Box::pin(async move {
            let addresses = found.await?;
            attempts.fetch_add(1, Ordering::Relaxed);
            Ok(addresses.into_iter())
        })
    }
}

/// Counts connections to literal addresses, which the resolver does not see, so that a test can see that none was begun.
#[derive(Clone)]
struct Counted {
    http: HttpConnector<Checked>,
    attempts: Arc<AtomicU64>,
}

impl Service<Uri> for Counted {
    type Response = <HttpConnector<Checked> as Service<Uri>>::Response;
    type Error = <HttpConnector<Checked> as Service<Uri>>::Error;
    type Future = <HttpConnector<Checked> as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let literal = uri.host().is_some_and(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok());
        self.attempts.fetch_add(u64::from(literal), Ordering::Relaxed);
        self.http.call(uri)
    }
}

/// A body that fails when it pauses too long.
struct Paused {
    body: WasiBody,
    limit: Duration,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl http_body::Body for Paused {
    type Data = bytes::Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Self::Data>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.sleep = None;
            return Poll::Ready(frame);
        }
        let limit = this.limit;
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        sleep.as_mut().poll(cx).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn h25_a_connection_goes_to_the_very_address_that_was_checked() {
        // Outside the first time it is asked, and inside from then on.
        let asked = Arc::new(AtomicU64::new(0));
        let count = asked.clone();
        let lookup: Lookup = Arc::new(move |_| {
            let address = if count.fetch_add(1, Ordering::Relaxed) == 0 { [1, 2, 3, 4] } else { [127, 0, 0, 1] };
            Box::pin(async move { Ok(vec![SocketAddr::from((address, 0))]) })
        });
        let mut names = Checked { lookup, passes: address::is_public, attempts: Arc::default() };
        let name = || "turns.example".parse::<Name>().unwrap();
        let found: Vec<_> = names.call(name()).await.unwrap().collect();
        // This is all that the connector gets to know of the name.
        assert_eq!((found, asked.load(Ordering::Relaxed)), (vec![SocketAddr::from(([1, 2, 3, 4], 0))], 1));
        let again = names.call(name()).await.map(|_| ()).unwrap_err();
        assert!(again.get_ref().is_some_and(|inner| inner.is::<Prohibited>()), "each connection's addresses are checked: {again}");
    }
}
