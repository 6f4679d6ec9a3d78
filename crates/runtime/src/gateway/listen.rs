//! Takes connections, gives their requests to the gateway, and sees them out when the node stops.

mod bytes;
mod connection;
mod forwarded;
mod offer;
pub mod openings;
mod watched;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::head::Peer;
use super::track::Tracked;
use super::{Door, Gateway, incoming};
use connection::{Connection, Connections, Entered, Order};
use watched::Watched;

pub use connection::Flight;

/// How long and how much clients may keep a connection busy.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first byte of a request's head, or from the opening of a connection, to the end of the head.
    pub head: Duration,
    /// Without a request.
    pub idle: Duration,
    /// Without a byte of a request's body while the guest waits for one.
    pub body: Duration,
    /// Without taking a byte of an answer.
    pub stall: Duration,
    /// Connections at a time; one more makes the one that is idle longest go.
    pub connections: usize,
    /// Bytes of a request's head; of a connection's buffers each.
    pub buffer: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            connections: 8192,
            buffer: 64 << 10,
        }
    }
}

/// Serves a gateway on any number of listeners.
pub struct Front {
    /// What answers.
    pub gateway: Arc<Gateway>,
    http: auto::Builder<TokioExecutor>,
    connections: Connections,
    limits: Limits,
}

impl Front {
    /// Nothing is served yet.
    pub fn new(gateway: Arc<Gateway>, limits: Limits) -> Arc<Front> {
        let http = builder(&limits);
        Arc::new(Front { gateway, http, connections: Connections::default(), limits })
    }

    /// Takes connections on `listener` until `stop`.
    pub async fn serve(self: Arc<Front>, listener: TcpListener, door: Door, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, from)) => self.take(stream, from, door.clone()),
                Err(error) => {
                    // Out of file descriptors, or a client that left at once: neither is a reason to stop.
                    tracing::warn!(%error, "cannot take a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    fn take(self: &Arc<Front>, stream: TcpStream, from: SocketAddr, door: Door) {
        let metrics = &self.gateway.metrics;
        if self.connections.count() >= self.limits.connections && !self.connections.evict() {
            metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        let entered = self.connections.enter(door.number());
        // Answers are written whole, so waiting for more to send only costs time; a socket that refuses is about to fail anyway.
        let _ = stream.set_nodelay(true);
        tokio::spawn(self.clone().talk(entered, stream, from, door));
    }

    async fn talk(self: Arc<Front>, entered: Entered, stream: TcpStream, from: SocketAddr, door: Door) {
        let connection = entered.connection();
        let io = TokioIo::new(Watched::new(stream, connection.clone()));
        let peer = Peer::new(from.ip(), &self.gateway.settings.trusted);
        let talk = Arc::new(Talk { front: self.clone(), connection: connection.clone(), peer, door });
        // Counted in before it is first polled: hyper looks for the end of the connection earlier than that.
        let service = service_fn(move |request: Request<Incoming>| talk.clone().answer(talk.connection.begin(request.version()), request));
        let mut served = std::pin::pin!(self.http.serve_connection(io, service));
        loop {
            tokio::select! {
                biased;
                result = &mut served => {
                    if let Err(error) = result {
                        tracing::trace!(%error, %from, "connection ended");
                    }
                    return;
                }
                order = connection.order() => match order {
                    Order::Finish => served.as_mut().graceful_shutdown(),
                    Order::Break => return,
                },
            }
        }
    }

    /// Ends connections that break a limit, until it is dropped.
    pub async fn sweep(self: Arc<Front>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            self.connections.sweep(&self.limits);
        }
    }

    /// Lets the requests end that are under way at a port of a Service, which is closed already.
    pub fn finish(&self, port: u16) {
        self.connections.tell_port(port, Order::Finish);
    }

    /// Lets requests in flight end, for `grace` at most; then breaks what is left. How many connections were broken.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.connections.tell_all(Order::Finish);
        let _ = tokio::time::timeout(grace, self.connections.empty()).await;
        let left = self.connections.count();
        self.connections.tell_all(Order::Break);
        left
    }
}

/// One connection's requests.
struct Talk {
    front: Arc<Front>,
    connection: Arc<Connection>,
    peer: Peer,
    door: Door,
}

impl Talk {
    async fn answer(self: Arc<Talk>, flight: Flight, request: Request<Incoming>) -> Result<Response<Tracked>, Infallible> {
        let request = request.map(|incoming| incoming::body(incoming, self.front.limits.body));
        let mut response = self.front.gateway.respond(request, &self.peer, &self.door).await;
        response.body_mut().carry(flight);
        Ok(response)
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(limits.buffer).keep_alive(true);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(u32::try_from(limits.buffer).unwrap_or(u32::MAX))
        .max_send_buf_size(limits.buffer)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    http
}
