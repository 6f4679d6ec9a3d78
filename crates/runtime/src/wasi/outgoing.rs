//! Outgoing HTTP: granted targets only, addresses checked before any connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http::{HeaderName, Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use scheduler::routes::Key;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::body::Body;
use crate::gateway::trace;
use crate::sandbox::{CallError, Callee, Calls, Entry, Host, Level, Output, PodIdentity, Spec, Target, Trace, granted, target};

mod address;
mod client;
mod names;

pub use client::Client;
pub(crate) use client::Prohibited;

/// Requests and connections to elsewhere that one pod may have under way.
pub(crate) const AT_A_TIME: usize = 128;

/// How often a pod's log is told of what was refused.
const TELL: Duration = Duration::from_secs(10);

/// Names of services of the same app end in this.
const INTERNAL: &str = ".internal";

/// What one pod may reach.
pub(crate) struct Allowance {
    pod: PodIdentity,
    connect: Vec<Target>,
    /// Whether it reaches everything, names that lead inside too.
    all: bool,
    call: Vec<String>,
    /// The Services that those entries name.
    granted: Vec<Key>,
    output: Arc<dyn Output>,
    told: Mutex<Option<Instant>>,
    calls: Arc<dyn Calls>,
    client: Arc<Client>,
    under_way: Arc<Semaphore>,
}

impl Allowance {
    pub fn new(spec: &Spec, host: &Host) -> Self {
        Self {
            pod: spec.pod.clone(),
            connect: spec.connect.clone(),
            all: spec.network,
            call: spec.call.clone(),
            granted: spec.call.iter().map(|entry| granted(entry, &spec.pod.namespace, spec.pod.app.as_deref())).collect(),
            output: host.output.clone(),
            told: Mutex::default(),
            calls: host.calls.clone(),
            client: host.outbound.clone(),
            under_way: Arc::new(Semaphore::new(if spec.network { Semaphore::MAX_PERMITS } else { AT_A_TIME })),
        }
    }

    /// Permits for what goes elsewhere, bare connections too.
    pub fn under_way(&self) -> &Arc<Semaphore> {
        &self.under_way
    }

    /// Where a request is granted to go, by its exact scheme, host and port.
    fn route(&self, uri: &http::Uri) -> Result<Route, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let (scheme, default) = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => (target::Scheme::Http, 80),
            Some(scheme) if *scheme == Scheme::HTTPS => (target::Scheme::Https, 443),
            _ => return Err(Error::HttpRequestDenied),
        };
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| Error::HttpRequestUriInvalid)?,
            None => default,
        };
        let host = target::plain_host(authority.host());
        if let Some(service) = host.strip_suffix(INTERNAL) {
            let granted = scheme == target::Scheme::Http && port == 80 && self.call.iter().any(|name| name == service);
            return if granted { Ok(Route::Service(Callee::Internal(service.to_owned()))) } else { Err(self.denied(uri)) };
        }
        let wanted = Target { scheme, host, port };
        if self.all || self.connect.contains(&wanted) {
            return Ok(Route::Outside);
        }
        let service = if scheme == target::Scheme::Http { self.service(&wanted.host) } else { None };
        service.map(|key| Route::Service(Callee::Service(key, port))).ok_or_else(|| self.denied(uri))
    }

    /// The granted Service of this name: `NAME`, `NAME.NAMESPACE` or that with `.svc` or `.svc.cluster.local`.
    fn service(&self, host: &str) -> Option<Key> {
        let own = &self.pod.namespace;
        let named = match names::service(host)? {
            (name, Some(namespace)) => Some(Key::new(namespace, name)),
            (name, None) => {
                [Key::new(own, name), granted(name, own, self.pod.app.as_deref())].into_iter().find(|key| self.granted.contains(key))
            }
        };
        named.filter(|key| self.granted.contains(key))
    }

    fn denied(&self, uri: &http::Uri) -> Error {
        let host = uri.authority().map_or("", |authority| authority.host());
        self.tell(&names::refusal(uri, &target::plain_host(host)));
        Error::HttpRequestDenied
    }

    /// A guest often shows only that it was denied; its pod's log has the reason.
    fn tell(&self, message: &str) {
        let mut told = self.told.lock();
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            *told = Some(Instant::now());
            self.output.log(&Entry { level: Level::Warn, context: "wctl", message });
        }
    }
}

enum Route {
    Service(Callee),
    Outside,
}

/// The hooks through which wasmtime's `wasi:http` sends what a guest asks for.
pub(crate) struct Hooks {
    allowance: Arc<Allowance>,
    /// When the guest itself must have answered.
    pub deadline: Option<Instant>,
    /// What the guest's own requests inherit.
    pub trace: Option<Trace>,
}

impl Hooks {
    pub fn new(allowance: Arc<Allowance>) -> Self {
        Self { allowance, deadline: None, trace: None }
    }

    fn remaining(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Hooks {
    /// The same names as by default, compared without making the list anew for each header.
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        matches!(
            name.as_str(),
            "connection"
                | "host"
                | "http2-settings"
                | "keep-alive"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "proxy-connection"
                | "transfer-encoding"
                | "upgrade"
        )
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let allowance = self.allowance.clone();
        let remaining = self.remaining();
        if let Some(trace) = &self.trace {
            trace::inherit(&mut request, trace);
            request.extensions_mut().insert(trace.clone());
        }
        Box::new(async move {
            let route = allowance.route(request.uri())?;
            let permit = allowance.under_way.clone().try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)?;
            let response = match route {
                Route::Service(service) => call(&allowance, &service, request, remaining).await?,
                Route::Outside => allowance.client.send(request, options.unwrap_or_default(), remaining).await?,
            };
            let done: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(std::future::ready(Ok(())));
            Ok((response.map(|body| holding(body, permit)), done))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}

/// Bytes of a body that wait between the guest and the wire.
const CHUNK: usize = 64 << 10;

/// A body that gives the permit back at its end.
fn holding(body: WasiBody, permit: OwnedSemaphorePermit) -> WasiBody {
    body.map_frame(move |frame| {
        let _ = &permit;
        frame
    })
    .boxed_unsync()
}

async fn call(
    allowance: &Allowance,
    service: &Callee,
    request: Request<WasiBody>,
    remaining: Duration,
) -> Result<Response<WasiBody>, Error> {
    let request = request.map(|body| body.map_err(|error| error.to_string().into()).boxed_unsync());
    let answer = allowance.calls.call(&allowance.pod, service, request, remaining).await;
    answer.map(|response| response.map(to_guest)).map_err(|error| match error {
        CallError::NoService(_) => {
            allowance.tell(&format!("a request was refused: {error}"));
            Error::DestinationNotFound
        }
        CallError::Refused(sentence) => {
            allowance.tell(&format!("a request was refused: {sentence}"));
            Error::HttpRequestDenied
        }
        CallError::Unavailable(_) | CallError::Failed { .. } => Error::DestinationUnavailable,
        CallError::Deadline(_) => Error::HttpResponseTimeout,
        CallError::Loop => Error::LoopDetected,
    })
}

/// A body of ours as wasmtime's: an error in it stays an error.
pub(crate) fn to_guest(body: Body) -> WasiBody {
    body.map_err(|error| Error::InternalError(Some(error.to_string()))).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyvalue::{Buckets, Limits};

    #[test]
    fn the_forbidden_headers_are_those_of_wasi_http() {
        let host = Host::quiet(Buckets::in_memory(Limits::default()).unwrap().into(), Client::new(Vec::new()).unwrap().into());
        let mut hooks = Hooks::new(Arc::new(Allowance::new(&Spec::new(PodIdentity::default()), &host)));
        for name in wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS {
            assert!(hooks.is_forbidden_header(&name), "{name}");
        }
        assert!(!hooks.is_forbidden_header(&http::header::CONTENT_TYPE));
    }
}
