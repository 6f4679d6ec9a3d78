//! Connections that somebody forwarded to one pod: the same checks, limits and log as at the gateway, but that pod answers and no other.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::io::DuplexStream;

use super::connection::Order;
use super::{Front, incoming};
use crate::body::Body;
use crate::gateway::head::{self, Peer};
use crate::gateway::local::Local;
use crate::gateway::outcome::{Answerer, Failed};
use crate::gateway::track::Tracked;
use crate::gateway::{Arrival, Gateway, name_authority, trace};

impl Front {
    /// Has a pod answer what comes on `stream`, until that ends or breaks a limit.
    pub async fn talk_for(self: Arc<Front>, stream: DuplexStream, pod: Arc<Local>) {
        let entered = self.connections.enter(0);
        let connection = entered.connection();
        // Whoever forwards speaks from this machine, as far as the pod can see; that is how Kubernetes shows it too.
        let peer = Arc::new(Peer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), &[]));
        let service = service_fn(|request: Request<Incoming>| {
            let (front, pod, peer, flight) = (self.clone(), pod.clone(), peer.clone(), connection.begin(request.version()));
            async move {
                let request = request.map(|incoming| incoming::body(incoming, front.limits.body));
                let mut response = front.gateway.respond_by(&pod, request, &peer).await;
                response.body_mut().carry(flight);
                Ok::<_, Infallible>(response)
            }
        });
        let mut served = std::pin::pin!(self.http.serve_connection(TokioIo::new(stream), service));
        loop {
            tokio::select! {
                biased;
                result = &mut served => {
                    if let Err(error) = result {
                        tracing::trace!(%error, "a forwarded connection ended");
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
}

impl Gateway {
    /// Answers one request by this pod, whatever routes there are.
    async fn respond_by(&self, pod: &Arc<Local>, mut request: Request<Body>, peer: &Peer) -> Response<Tracked> {
        let host = head::check(&request);
        let arrival = Arrival {
            id: head::id(request.headers(), peer),
            host: host.as_ref().cloned().unwrap_or_else(|_| HeaderValue::from_static("")),
            method: request.method().clone(),
            uri: request.uri().clone(),
            since: Instant::now(),
            at: Timestamp::now(),
            trace: trace::Place::of(request.headers()),
        };
        if let Err(refusal) = host {
            return self.refuse(arrival, refusal, Some(pod.identity.clone()), None);
        }
        head::rewrite(request.headers_mut(), &arrival.host, &arrival.id, peer);
        arrival.trace.put(request.headers_mut());
        name_authority(&mut request, &arrival.host);
        let held = match pod.hold() {
            Some(held) => held,
            None => match Box::pin(self.wake(pod)).await {
                Ok(held) => held,
                Err(Failed { refusal, pod, detail }) => return self.refuse(arrival, refusal, pod, detail),
            },
        };
        if held.instance.calls {
            let trace = trace::inherited(request.headers(), arrival.id.clone(), 0);
            request.extensions_mut().insert(trace);
        }
        match held.instance.guest.handle(request).await {
            Ok(response) => self.pass_on(arrival, response, Answerer::Here(held)),
            Err(failure) => {
                let Failed { refusal, pod, detail } = Failed::count(&failure, &held);
                self.refuse(arrival, refusal, pod, detail)
            }
        }
    }
}
