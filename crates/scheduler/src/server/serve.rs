//! Connections: TLS, HTTP/1.1 or HTTP/2, bounded in number and in patience.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http_body_util::BodyExt;
use hyper::rt::Executor;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::rest::Rest;
use crate::api::{NodeCertificate, Peer};
use crate::pki;

/// Connections that are open at once; more wait to be accepted.
const CONNECTIONS: usize = 8192;
/// Longest time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest time from a connection, or the last answer on it, to the end of the next request's head.
const HEAD: Duration = Duration::from_secs(10);
/// Longest time without a request. Clients give up connections that they do not use sooner (most after 90 s), so that none is closed under
/// a request.
const IDLE: Duration = Duration::from_secs(120);
/// Largest head of a request, in bytes.
const HEAD_BYTES: usize = 64 << 10;
/// Streams of one HTTP/2 connection that are open at once; a client has one for each of its watches.
const STREAMS: u32 = 1000;
/// An HTTP/2 connection that is silent this long is asked for a sign of life, and closed when none comes.
const PING: Duration = Duration::from_secs(30);
/// How long requests that are under way may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait where the system has no more descriptors or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The tasks of all connections, and of all streams of those that are HTTP/2: hyper gives each stream a task of its own, which does
/// not end with its connection's.
#[derive(Clone)]
struct Tasks {
    all: TaskTracker,
    cut: CancellationToken,
}

impl Tasks {
    /// Ends what still runs, and waits until nothing does.
    async fn end(self) {
        self.cut.cancel();
        self.all.close();
        self.all.wait().await;
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.all.spawn(self.cut.clone().run_until_cancelled_owned(future));
    }
}

/// Answers requests until `stop`, then finishes those that are under way. Nothing of it runs any more when it returns.
pub(super) async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, app: Router, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let tasks = Tasks { all: TaskTracker::new(), cut: CancellationToken::new() };
    while let Some((stream, from, permit)) = until(&stop, next(&listener, &permits)).await {
        let (acceptor, app, watcher, stop) = (acceptor.clone(), app.clone(), graceful.watcher(), stop.clone());
        let streams = tasks.clone();
        tasks.execute(async move {
            let _permit = permit;
            if let Some(Ok(Ok(stream))) = until(&stop, tokio::time::timeout(HANDSHAKE, acceptor.accept(stream))).await {
                // Whom the certificate is for; what may be done with it is looked up at each request.
                let node = stream.get_ref().1.peer_certificates().and_then(|shown| pki::node_identity(shown.first()?));
                let node = node.map(|(name, generation)| NodeCertificate { name, generation });
                let builder = builder(stream.get_ref().1.alpn_protocol() == Some(b"h2"), streams);
                let (rest, app) = (Rest::new(HEAD, IDLE), TowerToHyperService::new(app));
                let asked = rest.clone();
                let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                    request.extensions_mut().insert(Peer(from));
                    if let Some(node) = &node {
                        request.extensions_mut().insert(node.clone());
                    }
                    let (asking, answer) = (asked.ask(), app.call(request));
                    async move {
                        let response = answer.await?;
                        // The answer's body keeps it until its end.
                        let hold = move |frame| {
                            let _ = &asking;
                            frame
                        };
                        Ok::<_, Infallible>(response.map(|body| body.map_frame(hold)))
                    }
                });
                let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                tokio::select! {
                    // A connection that breaks is its client's matter.
                    ended = watcher.watch(connection.into_owned()) => if let Err(error) = ended {
                        tracing::debug!(%error, "an API connection ended");
                    },
                    () = rest.too_long() => tracing::debug!("an API connection asked nothing"),
                }
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::debug!("some API requests were cut off");
    }
    tasks.end().await;
}

/// The handshake has said which protocol it is; to find out by reading would have no time limit.
fn builder(http2: bool, streams: Tasks) -> Builder<Tasks> {
    let builder = Builder::new(streams);
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES as u32)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(HEAD);
    builder
}

async fn until<T>(stop: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        () = stop.cancelled() => None,
        out = future => Some(out),
    }
}

/// The next connection, once there is room for it.
async fn next(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, from)) => {
                // Answers are small and each waits for the next; nothing is gained by holding packets back.
                let _ = stream.set_nodelay(true);
                return (stream, from, permit);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an API connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
