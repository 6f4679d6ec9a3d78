//! The port between nodes: takes requests that other nodes of the cluster forward, and has the pods of this node answer them. Nobody
//! else gets as far as a request, and no request goes on from here.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::calls::MAX_HOPS;
use super::forward::Way;
use super::peers::{CONNECTION_WINDOW, HEAD, STREAM_WINDOW, peer};
use super::track::Tracked;
use super::wire::{self, Terms, Why};
use super::{Answerer, Arrival, Failed, Gateway, Refusal, draws, head, incoming, trace};
use crate::body::Body;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections whose handshake is not done: who is no node gets no further than this.
const STRANGERS: usize = 256;
/// Requests of one connection at a time.
const STREAMS: u32 = 8192;
/// How often the other end is asked for a sign of life, and how long that may take: what waits for an answer on a cut link is given up.
const PING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));
/// How long the body of a request may be silent. The asking gateway is less patient with its client.
const SILENCE: Duration = Duration::from_secs(120);
/// How long to wait where the system has no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the pods of one node to the others.
pub struct Port {
    gateway: Arc<Gateway>,
    http: http2::Builder<TokioExecutor>,
    strangers: Arc<Semaphore>,
}

impl Port {
    /// Nothing is served yet.
    pub fn new(gateway: Arc<Gateway>) -> Arc<Port> {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD)
            .max_concurrent_streams(STREAMS)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            // Clients that go are many, and their going is no attack of the other node's.
            .max_pending_accept_reset_streams(usize::MAX)
            .max_local_error_reset_streams(None);
        Arc::new(Port { gateway, http, strangers: Arc::new(Semaphore::new(STRANGERS)) })
    }

    /// Takes connections until `stop`, then lets requests under way end, for `grace` at most.
    pub async fn serve(self: Arc<Port>, listener: TcpListener, stop: CancellationToken, grace: Duration) {
        let graceful = GracefulShutdown::new();
        let cut = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let Ok(permit) = self.strangers.clone().try_acquire_owned() else { continue };
            let (port, watcher, cut) = (self.clone(), graceful.watcher(), cut.clone());
            tokio::spawn(async move {
                let greeted = tokio::time::timeout(HANDSHAKE, port.greet(stream)).await;
                drop(permit);
                let Ok(Some((stream, node))) = greeted else { return };
                let (node, answering): (Arc<str>, _) = (node.into(), port.clone());
                let service = service_fn(move |request| answering.clone().answer(node.clone(), request));
                let served = watcher.watch(port.http.serve_connection(TokioIo::new(stream), service));
                tokio::select! {
                    result = served => if let Err(error) = result {
                        tracing::debug!(%error, "the connection of another node ended");
                    },
                    () = cut.cancelled() => {}
                }
            });
        }
        drop(listener);
        // Whoever is not done by then is cut off.
        let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
        cut.cancel();
    }

    /// The connection, and which node dialled; none where it is no node of this cluster.
    async fn greet(&self, stream: TcpStream) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, String)> {
        let tls = self.gateway.peers.tls().borrow().clone()?;
        // A socket that refuses is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let stream = TlsAcceptor::from(tls.server.clone()).accept(stream).await;
        let stream = stream.inspect_err(|error| tracing::debug!(%error, "somebody is no node of this cluster")).ok()?;
        let node = peer(stream.get_ref().1.peer_certificates())?;
        Some((stream, node))
    }

    async fn answer(self: Arc<Port>, node: Arc<str>, request: Request<Incoming>) -> Result<Response<Tracked>, Infallible> {
        let request = request.map(|body| incoming::body(body, SILENCE));
        Ok(self.gateway.respond_to_node(&node, request).await)
    }
}

impl Gateway {
    /// Answers a request that another node has forwarded, by a pod of this one or not at all.
    async fn respond_to_node(&self, node: &str, mut request: Request<Body>) -> Response<Tracked> {
        let since = Instant::now();
        let terms = Terms::take(request.headers_mut());
        let id = head::known_id(request.headers());
        let host = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        let arrival = Arrival {
            id,
            host: host.unwrap_or_else(|| HeaderValue::from_static("")),
            method: request.method().clone(),
            uri: request.uri().clone(),
            since,
            at: Timestamp::now(),
            trace: trace::Place::of(request.headers()),
        };
        let called = terms.as_ref().is_some_and(|terms| terms.caller.is_some());
        match self.answer_node(node, terms, request, &arrival.id).await {
            Ok((response, Answerer::Here(held))) => {
                let (mut parts, body) = response.into_parts();
                head::strip_hop_by_hop(&mut parts.headers);
                wire::sign(&mut parts.headers, held.identity());
                parts.version = http::Version::HTTP_2;
                let length = super::length(&arrival.method, &parts, &body);
                let mut log = self.noted(arrival, parts.status.as_u16(), "ok", Some(held.identity().clone()), None);
                // A client's request stands in the log of the node that it came to.
                log.only_broken = !called;
                Response::from_parts(parts, Tracked::new(body, Some(held), log, length))
            }
            Ok((_, Answerer::There(_))) => self.unasked(arrival, &Failed::from(Refusal::Loop), called),
            Err(failed) => self.unasked(arrival, &failed, called),
        }
    }

    fn unasked(&self, arrival: Arrival, failed: &Failed, called: bool) -> Response<Tracked> {
        let Failed { refusal, pod, detail } = failed;
        let why = Why::of(refusal, pod.as_deref(), detail.clone());
        let mut log = self.noted(arrival, refusal.status().as_u16(), refusal.reason(), pod.clone(), detail.clone());
        log.only_broken = !called;
        why.answer().map(|body| Tracked::new(body, None, log, Some(0)))
    }

    fn noted(
        &self,
        arrival: Arrival,
        status: u16,
        reason: &'static str,
        pod: Option<Arc<super::local::Identity>>,
        detail: Option<String>,
    ) -> super::track::Log {
        let Arrival { id, host, method, uri, since, at, trace } = arrival;
        let (trace, took) = (trace.parent, Duration::ZERO);
        let record = super::access::Record { at, id, trace, method, uri, host, pod, status, reason, detail, took, bytes: 0 };
        super::track::Log { access: self.access.clone(), record, since, only_broken: false }
    }

    async fn answer_node(
        &self,
        node: &str,
        terms: Option<Terms>,
        mut request: Request<Body>,
        id: &HeaderValue,
    ) -> Result<(Response<Body>, Answerer), Failed> {
        let Some(terms) = terms else { return Err(Refusal::Malformed("a forwarded request does not say what is asked").into()) };
        if !self.peers.knows(node) {
            let detail = Some(format!("node {node} is not of this cluster any more"));
            return Err(Failed { detail, ..Refusal::Forbidden("no node of this cluster".into()).into() });
        }
        if terms.hops > MAX_HOPS {
            return Err(Refusal::Loop.into());
        }
        let service = self.table.load().service(&terms.service).cloned();
        let service = service.ok_or_else(|| if *self.version.borrow() == 0 { Refusal::Starting } else { Refusal::NoEndpoint })?;
        if let Some(caller) = &terms.caller {
            self.grants.check(node, caller, &service).await?;
        }
        if terms.no_host {
            *request.uri_mut() = request.uri().path_and_query().map(|path| path.clone().into()).unwrap_or_default();
        } else {
            let host = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
            super::name_authority(&mut request, &host.unwrap_or_else(|| HeaderValue::from_static("")));
        }
        *request.version_mut() = http::Version::HTTP_11;
        let none = || if service.is_here() { Refusal::Busy } else { Refusal::NoEndpoint };
        let local = service.pick_here(&terms.pod, draws()).ok_or_else(none)?;
        let answered = self.ask_here(&service, local, request, id, Way { hops: terms.hops, is_forwarded: true });
        match terms.within {
            None => answered.await,
            Some(within) => tokio::time::timeout(within, answered)
                .await
                .unwrap_or_else(|_| Err(Failed { detail: Some("the caller's time was over".into()), ..Refusal::Deadline.into() })),
        }
    }
}
