//! A request goes to a pod of another node: sent on the connection to that node, its answer passed back; where the node cannot be
//! reached, or the pod takes no more, one other is asked.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::local::Identity;
use super::peers::{Entered, Passing, Remote};
use super::request::copied;
use super::table::{Service, Target};
use super::wire::{self, Caller, Terms, Why};
use super::{Answerer, Failed, Gateway, Refusal, draws};
use crate::body::Body;

/// What came with a request that a pod of this node is to answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Way {
    /// How many services have been called on the way.
    pub hops: u32,
    /// Whether another node sent it: then it goes no further.
    pub is_forwarded: bool,
}

/// On whose behalf a request goes to another node.
#[derive(Debug, Clone, Default)]
pub struct Errand {
    /// How many services have been called on the way.
    pub hops: u32,
    /// How long its answer will be waited for, where it is not the pod alone that says so.
    pub within: Option<Duration>,
    /// The pod that calls.
    pub caller: Option<Caller>,
}

/// What became of one try.
enum Tried {
    Answered(Response<Body>, Arc<Identity>),
    /// No guest has seen the request; it comes back where that can be.
    Untouched(Option<Box<Request<Body>>>, Failed),
    /// A guest may have seen it.
    Lost(Failed),
    /// The other node says why there is no answer.
    Refused(Failed),
}

/// How long the explanation of a refusal may take.
const EXPLAINED: Duration = Duration::from_secs(5);

impl Gateway {
    /// Has a pod of another node answer, or, where that one cannot, one other pod of the Service.
    pub(super) async fn ask_there(
        &self,
        service: &Service,
        remote: Arc<Remote>,
        request: Request<Body>,
        errand: Errand,
    ) -> Result<(Response<Body>, Answerer), Failed> {
        self.peers.earn();
        let spare = copied(&request);
        // Doing it twice must be the same as doing it once, for the pod may have done it.
        let repeats = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
        let tried = self.send(service, &remote, request, &errand).await;
        let (again, failed) = match tried {
            Tried::Answered(response, identity) => return Ok((response, Answerer::There(identity))),
            Tried::Untouched(request, failed) => (request.map(|request| *request).or(spare), failed),
            Tried::Lost(failed) => (spare.filter(|_| repeats), failed),
            Tried::Refused(failed) => {
                (spare.filter(|_| matches!(failed.refusal, Refusal::Busy | Refusal::NoEndpoint | Refusal::Starting)), failed)
            }
        };
        let other = || service.pick_other(&remote, draws());
        let Some((request, other)) = again.zip(other()).filter(|_| self.peers.spend()) else { return Err(failed) };
        self.metrics.retried();
        match other {
            Target::Local(local) => {
                let id = super::head::known_id(request.headers());
                let way = Way { hops: errand.hops, is_forwarded: true };
                Box::pin(self.ask_here(service, local, request, &id, way)).await
            }
            Target::Remote(remote) => match self.send(service, &remote, request, &errand).await {
                Tried::Answered(response, identity) => Ok((response, Answerer::There(identity))),
                Tried::Untouched(_, failed) | Tried::Lost(failed) | Tried::Refused(failed) => Err(failed),
            },
        }
    }

    async fn send(&self, service: &Service, remote: &Arc<Remote>, mut request: Request<Body>, errand: &Errand) -> Tried {
        let mut sender = match remote.link.sender().await {
            Ok(sender) => sender,
            Err(unreachable) => return Tried::Untouched(Some(Box::new(request)), lost(unreachable.to_string())),
        };
        let no_host = request.uri().authority().is_none();
        if no_host {
            super::name_authority(&mut request, &http::HeaderValue::from_static(wire::NOWHERE));
        }
        let terms = Terms {
            service: service.key.clone(),
            pod: remote.uid.clone(),
            hops: errand.hops,
            within: errand.within,
            caller: errand.caller.clone(),
            no_host,
        };
        terms.put(request.headers_mut());
        *request.version_mut() = http::Version::HTTP_2;
        let entered = remote.enter();
        self.metrics.forwarded();
        match sender.try_send_request(request).await {
            Ok(response) => self.read(service, remote, response, entered).await,
            Err(mut error) => {
                remote.failed();
                let node = &remote.link.node;
                let failed = lost(format!("node {node}: {}", crate::instance::chain(error.error())));
                match error.take_message() {
                    Some(mut request) => {
                        if no_host {
                            *request.uri_mut() = request.uri().path_and_query().map(|path| path.clone().into()).unwrap_or_default();
                        }
                        Tried::Untouched(Some(Box::new(request)), failed)
                    }
                    None => Tried::Lost(failed),
                }
            }
        }
    }

    async fn read(&self, service: &Service, remote: &Arc<Remote>, response: Response<Incoming>, entered: Entered) -> Tried {
        let (mut parts, body) = response.into_parts();
        let identity = |(pod, revision)| Identity { pod, revision, uid: remote.uid.to_string(), ..service.identity() };
        if !wire::is_refused(&parts.headers) {
            remote.succeeded();
            let identity = wire::signature(&mut parts.headers).map_or_else(|| service.identity(), identity);
            wire::clear(&mut parts.headers);
            return Tried::Answered(Response::from_parts(parts, Passing::new(body, entered).boxed_unsync()), Arc::new(identity));
        }
        let read = tokio::time::timeout(EXPLAINED, Limited::new(body, wire::LONGEST).collect()).await;
        let text = read.ok().and_then(Result::ok).map(|whole| whole.to_bytes()).unwrap_or_default();
        let Ok(why) = serde_json::from_slice::<Why>(&text) else {
            return Tried::Lost(lost(format!("node {} refused without a reason", remote.link.node)));
        };
        let refusal = why.refusal();
        match refusal {
            Refusal::Deadline | Refusal::NoAnswer | Refusal::NoEndpoint | Refusal::Starting => remote.failed(),
            Refusal::Trap | Refusal::BadAnswer => remote.succeeded(),
            _ => {}
        }
        Tried::Refused(Failed { refusal, pod: why.pod.map(|pod| Arc::new(identity(pod))), detail: why.detail })
    }
}

fn lost(detail: String) -> Failed {
    Failed { detail: Some(detail), ..Refusal::Unreachable.into() }
}
