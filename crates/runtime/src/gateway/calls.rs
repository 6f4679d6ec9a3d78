//! One service calls another on this node: a function call through the host, on a task of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use jiff::Timestamp;
use scheduler::names;
use scheduler::routes::Key;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

use super::answer::{REQUEST_ID, Refusal};
use super::forward::Errand;
use super::local::Held;
use super::peers::Remote;
use super::table::{Service, Target};
use super::wire::Caller;
use super::{Answerer, Arrival, Failed, Gateway, head, trace};
use crate::body::{Body, Error};
use crate::sandbox::{CallError, Callee, Calls, PodIdentity, Trace, granted};

/// How often a request may go from one service to the next.
pub const MAX_HOPS: u32 = 16;

/// Frames of an answer that wait for the caller.
const FRAMES: usize = 2;

#[async_trait]
impl Calls for Gateway {
    async fn call(
        &self,
        caller: &PodIdentity,
        service: &Callee,
        mut request: Request<Body>,
        remaining: Duration,
    ) -> Result<Response<Body>, CallError> {
        let trace = next(request.extensions_mut().remove())?;
        self.metrics.calls.fetch_add(1, Ordering::Relaxed);
        let (found, target) = self.callee(caller, service)?;
        let host = service.to_string();
        let service = &*host;
        let hops = trace.hops;
        let arrival = arrival(service, &mut request, trace);
        let remaining = remaining.min(Duration::from_secs(86_400));
        let deadline = tokio::time::Instant::now() + remaining;
        let request = request.map(|body| Lingering { body: Some(body), deadline }.boxed_unsync());
        let held = match target {
            Target::Local(local) => match local.hold() {
                Some(held) => held,
                None => {
                    let woken = timeout_at(deadline, Box::pin(self.wake(&local))).await;
                    woken.map_err(|_| CallError::Deadline(service.to_owned()))?.map_err(|failed| call_error(service, &failed.refusal))?
                }
            },
            Target::Remote(remote) => {
                let caller = Caller { pod: Key::new(&caller.namespace, &caller.name), uid: caller.uid.as_str().into() };
                let errand = Errand { hops, within: Some(remaining), caller: Some(caller) };
                return self.call_there(service, &found, remote, request, errand, deadline).await;
            }
        };
        let (head, told) = oneshot::channel();
        let (frames, body) = mpsc::channel(FRAMES);
        let task = Answering { access: self.access.clone(), metrics: self.metrics.clone(), held, arrival };
        let running = Abort(tokio::spawn(task.run(request, deadline, head, frames)).abort_handle());
        match told.await {
            Ok(Ok(parts)) => Ok(Response::from_parts(parts, Answer { body, _running: running }.boxed_unsync())),
            Ok(Err(refusal)) => Err(call_error(service, &refusal)),
            Err(_) => Err(CallError::Failed { service: service.to_owned(), reason: "it was stopped".into() }),
        }
    }
}

impl Gateway {
    /// A pod of the service that takes the call, now or not at all: waiting for a permit could wait for the caller itself.
    fn callee(&self, caller: &PodIdentity, service: &Callee) -> Result<(Arc<Service>, Target), CallError> {
        let table = self.table.load();
        let app = caller.app.as_deref();
        let found = match service {
            Callee::Internal(name) => {
                table.service(&granted(name, &caller.namespace, app)).filter(|found| *found.app == *app.unwrap_or_default())
            }
            Callee::Service(key, _) => table.service(key),
        };
        let found = found.ok_or_else(|| CallError::NoService(service.to_string()))?;
        if let Callee::Service(_, port) = service {
            admits(found, &caller.namespace, *port)?;
        }
        let target = self.pick(found).map_err(|_| CallError::Unavailable(service.to_string()))?;
        Ok((found.clone(), target))
    }

    /// The callee is on another node, which keeps the log of it.
    async fn call_there(
        &self,
        name: &str,
        service: &Service,
        remote: Arc<Remote>,
        request: Request<Body>,
        errand: Errand,
        deadline: tokio::time::Instant,
    ) -> Result<Response<Body>, CallError> {
        match timeout_at(deadline, self.ask_there(service, remote, request, errand)).await {
            Ok(Ok((response, Answerer::There(_)))) => Ok(response),
            // Its own node could not be reached, and one is here after all.
            Ok(Ok((response, Answerer::Here(held)))) => Ok(response.map(|body| {
                let kept = body.map_frame(move |frame| {
                    let _ = &held;
                    frame
                });
                kept.boxed_unsync()
            })),
            Ok(Err(failed)) => Err(call_error(name, &failed.refusal)),
            Err(_) => Err(CallError::Deadline(name.to_owned())),
        }
    }
}

/// An error unless pods of this namespace may call the Service at this port.
fn admits(service: &Service, namespace: &str, port: u16) -> Result<(), CallError> {
    if !service.lets_in(namespace) {
        let (callers, own) = (names::CALLERS, service.key.namespace());
        let sentence = format!(
            "the Service {} lets nobody from the namespace {namespace} call it: in {own}, add {namespace} to its annotation {callers}",
            service.key
        );
        return Err(CallError::Refused(sentence));
    }
    if !service.ports.contains(&port) {
        let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
        return Err(CallError::Refused(format!("the Service {} has no port {port}, but {}", service.key, ports.join(", "))));
    }
    Ok(())
}

/// What the callee inherits.
fn next(trace: Option<Trace>) -> Result<Trace, CallError> {
    let trace = trace.unwrap_or_else(|| Trace { id: head::new_id(), hops: 0, parent: None, state: None });
    if trace.hops >= MAX_HOPS { Err(CallError::Loop) } else { Ok(Trace { hops: trace.hops + 1, ..trace }) }
}

fn arrival(service: &str, request: &mut Request<Body>, trace: Trace) -> Arrival {
    head::strip_hop_by_hop(request.headers_mut());
    let id = trace.id.clone();
    request.headers_mut().insert(REQUEST_ID, id.clone());
    // What the caller sent, by itself or by inheritance, goes on with a span of the callee.
    let place = trace::Place::of(request.headers());
    place.put(request.headers_mut());
    let trace = trace::inherited(request.headers(), trace.id, trace.hops);
    request.extensions_mut().insert(trace);
    let host = HeaderValue::from_str(service).unwrap_or_else(|_| HeaderValue::from_static("internal"));
    let (method, uri) = (request.method().clone(), request.uri().clone());
    Arrival { id, host, method, uri, since: Instant::now(), at: Timestamp::now(), trace: place }
}

fn call_error(service: &str, refusal: &Refusal) -> CallError {
    match refusal {
        Refusal::Deadline => CallError::Deadline(service.to_owned()),
        Refusal::Busy | Refusal::NoEndpoint | Refusal::Unreachable | Refusal::Waking => CallError::Unavailable(service.to_owned()),
        Refusal::Loop => CallError::Loop,
        other => CallError::Failed { service: service.to_owned(), reason: other.reason().to_owned() },
    }
}

/// The called side, on its own task: it is never polled by the caller, so neither can stall the other.
struct Answering {
    access: super::access::Access,
    metrics: Arc<crate::metrics::Metrics>,
    held: Held,
    arrival: Arrival,
}

type Head = Result<http::response::Parts, Refusal>;

impl Answering {
    async fn run(
        self,
        request: Request<Body>,
        deadline: tokio::time::Instant,
        head: oneshot::Sender<Head>,
        frames: mpsc::Sender<Result<Frame<Bytes>, Error>>,
    ) {
        let Answering { access, metrics, held, arrival } = self;
        let identity = Some(held.identity().clone());
        let answered = timeout_at(deadline, held.instance.guest.handle(request)).await;
        let failed = match answered {
            Ok(Ok(response)) => {
                held.answered(response.status());
                let method = arrival.method.clone();
                let log = super::log(&access, &metrics, arrival, response.status().as_u16(), "ok", identity, None);
                let (parts, body) = response.into_parts();
                let length = super::length(&method, &parts, &body);
                // The caller may have gone; then the body is dropped with everything else.
                let _ = head.send(Ok(parts));
                return pump(super::Tracked::new(body, Some(held), log, length), deadline, frames).await;
            }
            Ok(Err(failure)) => Failed::count(&failure, &held),
            Err(_) => Failed { refusal: Refusal::Deadline, pod: identity, detail: Some("the caller's time was over".into()) },
        };
        let Failed { refusal, pod, detail } = failed;
        super::log(&access, &metrics, arrival, refusal.status().as_u16(), refusal.reason(), pod, detail).finished();
        let _ = head.send(Err(refusal));
    }
}

async fn pump(mut body: super::Tracked, deadline: tokio::time::Instant, frames: mpsc::Sender<Result<Frame<Bytes>, Error>>) {
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(_) => Err("the caller's time was over".into()),
        };
        let last = frame.is_err();
        if frames.send(frame).await.is_err() || last {
            return;
        }
    }
}

/// A request's body as the callee reads it. What the callee leaves unread is read here, up to [`LINGERS`]: a callee may answer before its
/// caller has written all, and a caller that finds nobody at the other end takes that for a broken connection, although the answer is there.
struct Lingering {
    body: Option<Body>,
    deadline: tokio::time::Instant,
}

/// The most bytes that a callee may leave unread without its caller noticing.
const LINGERS: usize = 256 * 1024;

impl http_body::Body for Lingering {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map_or_else(|| http_body::SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !http_body::Body::is_end_stream(body)) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let deadline = self.deadline;
        runtime.spawn(async move {
            let rest = async {
                let mut left = LINGERS;
                while left > 0
                    && let Some(Ok(frame)) = body.frame().await
                {
                    left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                }
            };
            // Whoever writes until then is told nothing more.
            let _ = timeout_at(deadline, rest).await;
        });
    }
}

/// Ends the callee's task when the caller no longer wants its answer.
struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Answer {
    body: mpsc::Receiver<Result<Frame<Bytes>, Error>>,
    _running: Abort,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.body.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h28_a_circle_of_calls_ends_and_keeps_its_id() {
        let mut trace = Trace { id: HeaderValue::from_static("7"), hops: 0, parent: None, state: None };
        for _ in 0..MAX_HOPS {
            trace = next(Some(trace)).expect("another hop");
        }
        assert_eq!(trace.id, "7");
        assert_eq!(next(Some(trace)), Err(CallError::Loop));
    }

    #[tokio::test]
    async fn a_caller_may_go_on_writing_what_its_callee_leaves_unread() {
        let (writer, mut reader) = mpsc::channel::<Result<Frame<Bytes>, Error>>(1);
        let frames = futures::stream::poll_fn(move |context| reader.poll_recv(context));
        let body = http_body_util::StreamBody::new(frames).boxed_unsync();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        drop(Lingering { body: Some(body), deadline });
        for _ in 0..4 {
            let sent = writer.send(Ok(Frame::data(Bytes::from_static(b"late")))).await;
            assert!(sent.is_ok(), "the callee is done, but the caller need not know");
        }
        // But not for ever.
        let much = Bytes::from(vec![0; LINGERS]);
        writer.send(Ok(Frame::data(much))).await.unwrap();
        writer.closed().await;
    }
}
