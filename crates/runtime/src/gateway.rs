//! The front of a node: listens, routes, balances, calls here or forwards.

pub mod access;
pub mod answer;
pub mod head;
pub mod listen;
pub mod local;
pub mod trace;
pub mod track;

mod calls;
mod door;
mod forward;
mod grants;
mod incoming;
mod outcome;
mod paths;
pub mod peers;
pub mod port;
mod request;
mod table;
mod wake;
mod watch;
mod wire;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use jiff::Timestamp;
use parking_lot::Mutex;
use scheduler::routes::{self, Book, Changes, Key, Openings};
use tokio::sync::{Notify, broadcast, watch as latest};

use crate::body::Body;
use crate::metrics::Metrics;
use crate::sandbox::Failure;
use access::{Access, Record};
use answer::{REQUEST_ID, Refusal};
pub use door::Door;
use grants::Grants;
use head::Peer;
use local::{Local, Locals};
use outcome::{Answerer, Failed};
use peers::Peers;
use request::{length, name_authority, spare};
use table::{Cluster, Pick, Service, Table, Target};
use track::{Log, Tracked};
pub use wake::WAKES;

/// What a gateway is told when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name.
    pub node: String,
    /// Proxies whose `X-Forwarded-*` and `X-Request-Id` are believed.
    pub trusted: Vec<IpAddr>,
}

/// A change of which pods of a Service are ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointEvent {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// Pods that may get requests from now on.
    pub ready: usize,
}

/// Routes and answers requests. One for each node, shared by everything that needs it.
pub struct Gateway {
    settings: Settings,
    /// The pods of this node.
    pub locals: Locals,
    /// The other nodes.
    pub peers: Arc<Peers>,
    grants: Grants,
    /// What the node counts.
    pub metrics: Arc<Metrics>,
    /// Where requests are logged.
    pub access: Access,
    table: ArcSwap<Table>,
    version: latest::Sender<u64>,
    events: broadcast::Sender<EndpointEvent>,
    stale: Notify,
    stale_pods: Mutex<HashSet<String>>,
    exposed: Mutex<HashSet<Key>>,
    waking: wake::Places,
    /// The ports of this node on which Services should answer.
    openings: latest::Sender<Arc<Openings>>,
}

/// A request's facts that its answer and log line need.
struct Arrival {
    id: HeaderValue,
    host: HeaderValue,
    method: Method,
    uri: Uri,
    since: Instant,
    at: Timestamp,
    trace: trace::Place,
}

impl Gateway {
    /// A gateway that knows no routes yet.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Gateway {
        Gateway {
            settings,
            locals: Locals::default(),
            peers: Arc::default(),
            grants: Grants::default(),
            metrics,
            access: Access::default(),
            table: ArcSwap::default(),
            version: latest::Sender::new(0),
            events: broadcast::Sender::new(4096),
            stale: Notify::new(),
            stale_pods: Mutex::default(),
            exposed: Mutex::default(),
            waking: wake::Places::default(),
            openings: latest::Sender::default(),
        }
    }

    /// What pods of other nodes may call is asked there.
    pub fn ask_grants(&self, client: kube::Client) {
        self.grants.ask(client);
    }

    /// Routes by the book from now on, of which this changed.
    pub fn route(&self, changes: &Changes, book: &Book) {
        let before = self.table.load_full();
        let cluster = Cluster { node: &self.settings.node, locals: &self.locals, peers: &self.peers };
        let table = Arc::new(before.after(changes, book, &cluster, &self.exposed.lock()));
        let services = || changes.services.iter().map(|key| (before.service(key), table.service(key)));
        services().filter_map(|(_, now)| now).flat_map(|now| now.locals()).for_each(|local| local.list());
        self.table.store(table.clone());
        services().filter_map(|(before, _)| before).flat_map(|before| before.locals()).for_each(|local| local.unlist());
        self.version.send_modify(|version| *version += 1);
        if changes.openings {
            self.openings.send_replace(Arc::new(book.openings()));
        }
        // Told last: whoever hears of a change finds it in the table.
        for (before, now) in services() {
            if let Some(now) = now.filter(|now| now.differs(before)) {
                self.tell(now);
            }
        }
    }

    /// A pod of this node is there, gone, or ready in another way: [`Gateway::follow`] looks again.
    pub fn refresh(&self, pod: &str) {
        self.stale_pods.lock().insert(pod.to_owned());
        self.stale.notify_one();
    }

    /// An App gets a port of its own: its routes are kept apart from now on, which those of most Apps need not be.
    pub async fn expose(&self, app: Key) {
        let mut version = self.version.subscribe();
        self.exposed.lock().insert(app);
        self.stale.notify_one();
        // Before the first table nobody has routes, and then it comes with that.
        let _ = tokio::time::timeout(Duration::from_secs(1), version.changed()).await;
    }

    /// The ports of this node on which Services should answer.
    pub fn openings(&self) -> latest::Receiver<Arc<Openings>> {
        self.openings.subscribe()
    }

    fn take_stale(&self) -> HashSet<String> {
        std::mem::take(&mut *self.stale_pods.lock())
    }

    fn tell(&self, service: &Service) {
        let (namespace, name, ready) = (service.key.namespace().to_owned(), service.key.name().to_owned(), service.ready());
        tracing::debug!(namespace, service = name, ready, "endpoints");
        // Nobody has to listen.
        let _ = self.events.send(EndpointEvent { namespace, service: name, ready });
    }

    /// Tells of each change of a Service's ready pods from now on.
    pub fn endpoint_events(&self) -> broadcast::Receiver<EndpointEvent> {
        self.events.subscribe()
    }

    /// How many pods of a Service may get requests now.
    pub fn ready(&self, namespace: &str, service: &str) -> usize {
        self.table.load().service(&Key::new(namespace, service)).map_or(0, |service| service.ready())
    }

    /// Done when no Service lists the pod any more, or after `most`.
    pub async fn unlisted(&self, pod: &Local, most: Duration) {
        let mut version = self.version.subscribe();
        let gone = async {
            while pod.is_listed() {
                if version.changed().await.is_err() {
                    return;
                }
            }
        };
        // After that time the server is away or slow, and the pod goes all the same.
        let _ = tokio::time::timeout(most, gone).await;
    }

    /// Answers one request that came in at `door` from `peer`.
    pub async fn respond(&self, mut request: Request<Body>, peer: &Peer, door: &Door) -> Response<Tracked> {
        let since = Instant::now();
        let host = head::check(&request);
        let arrival = Arrival {
            id: head::id(request.headers(), peer),
            host: host.as_ref().cloned().unwrap_or_else(|_| HeaderValue::from_static("")),
            method: request.method().clone(),
            uri: request.uri().clone(),
            since,
            at: Timestamp::now(),
            trace: trace::Place::of(request.headers()),
        };
        let service = match host {
            Ok(_) => self.find(&arrival, door),
            Err(refusal) => return self.refuse(arrival, refusal, None, None),
        };
        let Some(service) = service else { return self.refuse(arrival, self.without_route(), None, None) };
        head::rewrite(request.headers_mut(), &arrival.host, &arrival.id, peer);
        arrival.trace.put(request.headers_mut());
        name_authority(&mut request, &arrival.host);
        match self.ask(&service, request, &arrival.id).await {
            Ok((response, answerer)) => self.pass_on(arrival, response, answerer),
            Err(Failed { refusal, pod, detail }) => {
                let pod = pod.or_else(|| Some(Arc::new(service.identity())));
                self.refuse(arrival, refusal, pod, detail)
            }
        }
    }

    /// What no route means: before the first table it says nothing about the apps, and a 404 would be taken for their word.
    fn without_route(&self) -> Refusal {
        if *self.version.borrow() == 0 { Refusal::Starting } else { Refusal::NoRoute }
    }

    fn find(&self, arrival: &Arrival, door: &Door) -> Option<Arc<Service>> {
        let table = self.table.load();
        let path = arrival.uri.path();
        match door {
            Door::Front => table.find(&routes::normal_host(arrival.host.to_str().unwrap_or_default()), path),
            Door::App(app) => table.find_of_app(app, path),
            Door::Service(_, service) => Some(table.named(service)),
        }
    }

    /// Has a pod of the Service answer; a pod that turns out to be full passes the request to one other.
    async fn ask(&self, service: &Service, request: Request<Body>, id: &HeaderValue) -> Result<(Response<Body>, Answerer), Failed> {
        match self.pick(service)? {
            Target::Local(local) => self.ask_here(service, local, request, id, forward::Way::default()).await,
            // Boxed, so that requests which stay here need not carry the room for it.
            Target::Remote(remote) => Box::pin(self.ask_there(service, remote, request, forward::Errand::default())).await,
        }
    }

    /// The same from a pod of this node on.
    async fn ask_here(
        &self,
        service: &Service,
        local: Arc<Local>,
        mut request: Request<Body>,
        id: &HeaderValue,
        way: forward::Way,
    ) -> Result<(Response<Body>, Answerer), Failed> {
        let held = match local.hold() {
            Some(held) => held,
            // Boxed, so that requests to those that are awake need not carry the room for it.
            None => Box::pin(self.wake(&local)).await?,
        };
        if held.instance.calls {
            // Only those who can call others pay for it.
            let trace = trace::inherited(request.headers(), id.clone(), way.hops);
            request.extensions_mut().insert(trace);
        }
        let spare = spare(&held, &request);
        match held.instance.guest.handle(request).await {
            Ok(response) => {
                held.answered(response.status());
                Ok((response, Answerer::Here(held)))
            }
            Err(failure @ (Failure::Busy(_) | Failure::NoMemory(_))) => {
                held.instance.health.failed(&failure);
                let Some(request) = spare.filter(|_| service.ready() > 1) else { return Err(Failed::of(&failure, &held)) };
                let other = match self.pick(service) {
                    Ok(Target::Remote(remote)) if !way.is_forwarded => {
                        return Box::pin(self.ask_there(service, remote, request, forward::Errand::default())).await;
                    }
                    Ok(Target::Local(other)) => match other.hold() {
                        Some(held) => Some(held),
                        None => Box::pin(self.wake(&other)).await.ok(),
                    },
                    _ => None,
                };
                let Some(other) = other else { return Err(Failed::of(&failure, &held)) };
                let answer = other.instance.guest.handle(request).await;
                answer.map_err(|failure| Failed::count(&failure, &other)).map(|response| (response, Answerer::Here(other)))
            }
            Err(failure) => Err(Failed::count(&failure, &held)),
        }
    }

    fn pick(&self, service: &Service) -> Result<Target, Failed> {
        match service.pick(draws()) {
            Pick::Target(target) => Ok(target),
            Pick::Away(remote) => {
                let why = remote.link.trouble().unwrap_or_else(|| "it cannot be reached".into());
                Err(Failed { detail: Some(format!("node {}: {why}", remote.link.node)), ..Refusal::Unreachable.into() })
            }
            Pick::Busy => Err(Refusal::Busy.into()),
            Pick::Nobody => Err(Refusal::NoEndpoint.into()),
        }
    }

    fn pass_on(&self, arrival: Arrival, response: Response<Body>, answerer: Answerer) -> Response<Tracked> {
        let (mut parts, body) = response.into_parts();
        head::strip_hop_by_hop(&mut parts.headers);
        parts.headers.insert(REQUEST_ID, arrival.id.clone());
        // The guest's own idea of the protocol's version must not reach the wire.
        parts.version = Version::HTTP_11;
        let length = length(&arrival.method, &parts, &body);
        let log = log(&self.access, &self.metrics, arrival, parts.status.as_u16(), "ok", Some(answerer.identity().clone()), None);
        Response::from_parts(parts, Tracked::new(body, answerer.held(), log, length))
    }

    fn refuse(&self, arrival: Arrival, refusal: Refusal, pod: Option<Arc<local::Identity>>, detail: Option<String>) -> Response<Tracked> {
        let answer = refusal.answer(&arrival.id);
        let log = log(&self.access, &self.metrics, arrival, refusal.status().as_u16(), refusal.reason(), pod, detail);
        answer.map(|body| Tracked::new(body, None, log, Some(0)))
    }
}

fn log(
    access: &Access,
    metrics: &Metrics,
    arrival: Arrival,
    status: u16,
    reason: &'static str,
    pod: Option<Arc<local::Identity>>,
    detail: Option<String>,
) -> Log {
    metrics.answered(status);
    let Arrival { id, host, method, uri, since, at, trace } = arrival;
    let record = Record { at, id, trace: trace.parent, method, uri, host, pod, status, reason, detail, took: Duration::ZERO, bytes: 0 };
    Log { access: access.clone(), record, since, only_broken: false }
}

fn draws() -> scheduler::balance::Draws {
    let draw: u64 = rand::random();
    (draw as u32, (draw >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_gateway_says_404_only_once_it_knows_the_routes() {
        let gateway = Gateway::new(Settings { node: "edge-1".into(), trusted: Vec::new() }, Arc::default());
        assert_eq!(gateway.without_route().status(), StatusCode::SERVICE_UNAVAILABLE);
        gateway.route(&Changes::default(), &Book::default());
        assert_eq!(gateway.without_route().status(), StatusCode::NOT_FOUND);
    }
}
