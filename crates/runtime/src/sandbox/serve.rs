//! Calls an HTTP guest: one future that owns the sandbox and ends with it.

use std::sync::Arc;
use std::task::Poll;

use http::Request;
use http::uri::Scheme;
use http_body_util::{BodyExt, Empty};
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme as Scheme02;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::{Error, FieldMap, WasiHttpView, p2, p3};

use super::Failure;
use super::fail::classify;
use super::link::HttpPre;
use super::run::{Lost, Progress};
use super::state::{self, Grants, State};
use crate::body::Body;
use crate::wasi::outgoing::to_guest;

/// An instance of an HTTP guest in its store.
pub(super) struct Sandbox {
    store: Store<State>,
    proxy: Proxy,
    /// Requests that it has served.
    pub served: u32,
}

impl Sandbox {
    /// Whether it runs code of this engine.
    pub fn is_of(&self, engine: &wasmtime::Engine) -> bool {
        wasmtime::Engine::same(self.store.engine(), engine)
    }
}

enum Proxy {
    P2(p2::bindings::Proxy),
    P3(p3::bindings::Service),
}

/// How a call ended. The sandbox lives until this is dropped, so that what ended it can be noted before its streams close.
pub(super) struct Finished {
    pub sandbox: Option<Sandbox>,
    pub result: Result<(), Failure>,
}

impl Finished {
    pub fn failed(failure: Failure) -> Self {
        Self { sandbox: None, result: Err(failure) }
    }
}

impl Lost for Finished {
    fn lost(failure: Failure) -> Self {
        Self::failed(failure)
    }
}

/// Makes a sandbox; `progress` is told of the ticks that its start takes.
pub(super) async fn start(
    engine: &wasmtime::Engine,
    pre: &HttpPre,
    grants: Arc<Grants>,
    progress: &Arc<Progress>,
) -> Result<Sandbox, Failure> {
    let unready = |error: wasmtime::Error| Failure::Trap { message: format!("{error:#}"), backtrace: String::new() };
    let mut store = state::store(engine, grants).map_err(unready)?;
    store.data_mut().set_progress(progress.clone());
    let proxy = match pre {
        HttpPre::P2(pre) => pre.instantiate_async(&mut store).await.map(Proxy::P2),
        HttpPre::P3(pre) => pre.instantiate_async(&mut store).await.map(Proxy::P3),
    };
    match proxy {
        Ok(proxy) => Ok(Sandbox { store, proxy, served: 0 }),
        Err(error) => Err(classify(&error, &store.data().meter, true)),
    }
}

/// Serves one request in `sandbox`, or in a new one.
pub(super) async fn serve(
    sandbox: Option<Sandbox>,
    fresh: (wasmtime::Engine, HttpPre, Arc<Grants>),
    deadline: Option<std::time::Instant>,
    mut request: Request<Body>,
    progress: Arc<Progress>,
) -> Finished {
    let mut sandbox = match sandbox {
        Some(sandbox) => sandbox,
        // Apart, as is 0.3 below, so that the future of a request that needs neither is smaller to allocate and move.
        None => match Box::pin(start(&fresh.0, &fresh.1, fresh.2, &progress)).await {
            Ok(sandbox) => sandbox,
            Err(failure) => return Finished::failed(failure),
        },
    };
    sandbox.served += 1;
    let store = &mut sandbox.store;
    store.data_mut().set_deadline(deadline);
    store.data_mut().set_progress(progress.clone());
    store.data_mut().set_trace(request.extensions_mut().remove());
    store.set_epoch_deadline(1);
    let called = match &sandbox.proxy {
        Proxy::P2(proxy) => call_02(store, proxy, request, &progress).await,
        Proxy::P3(service) => Box::pin(call_03(store, service, request, &progress)).await,
    };
    let result = match called {
        Ok(()) if unfinished(store.data_mut()) => Err(Failure::Refused("the guest returned before it had finished a body".into())),
        Ok(()) => Ok(()),
        Err(error) if progress.has_answered() && twice(&error) => Err(Failure::Refused("the guest set its response twice".into())),
        Err(error) => Err(classify(&error, &store.data().meter, false)),
    };
    Finished { sandbox: Some(sandbox), result }
}

async fn call_02(
    store: &mut Store<State>,
    proxy: &p2::bindings::Proxy,
    request: Request<Body>,
    progress: &Arc<Progress>,
) -> wasmtime::Result<()> {
    let (request, scheme) = incoming(request);
    let scheme = if scheme == Scheme::HTTPS { Scheme02::Https } else { Scheme02::Http };
    let mut view = store.data_mut().http();
    let request = if http_body::Body::is_end_stream(request.body()) {
        // Most requests have no body, and one of no size is not allocated.
        let nothing = Empty::new().map_err(|never| -> Error { match never {} });
        view.new_incoming_request(scheme, request.map(|_| nothing))?
    } else {
        view.new_incoming_request(scheme, request.map(to_guest))?
    };
    let progress = progress.clone();
    let out = view.new_response_outparam_from_callback(move |answer| {
        progress.answer(answer.map_err(|code| format!("{code:?}")));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

async fn call_03(
    store: &mut Store<State>,
    service: &p3::bindings::Service,
    request: Request<Body>,
    progress: &Arc<Progress>,
) -> wasmtime::Result<()> {
    let (request, scheme) = incoming(request);
    let called = store.run_concurrent(async |accessor| -> wasmtime::Result<()> {
        let (parts, body) = request.map(to_guest).into_parts();
        let headers = accessor.with(|mut access| FieldMap::new_immutable(access.data_mut().http().hooks, parts.headers));
        let uri = parts.uri.into_parts();
        let (request, sent) = p3::Request::new(parts.method, Some(scheme), uri.authority, uri.path_and_query, headers, None, body);
        let answer = match service.handle(accessor, request).await? {
            Ok(response) => Ok(accessor.with(|access| response.into_http(access, sent))?),
            Err(code) => Err(format!("{code:?}")),
        };
        progress.answer(answer);
        // The guest's own tasks go on writing the body after the call has returned.
        std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        Ok(())
    });
    called.await?
}

/// The request as wasmtime takes it, with an authority.
fn incoming(mut request: Request<Body>) -> (Request<Body>, Scheme) {
    let scheme = request.uri().scheme().cloned().unwrap_or(Scheme::HTTP);
    if request.uri().authority().is_none() {
        let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let whole = http::Uri::builder().scheme(scheme.clone()).authority(host).path_and_query(path);
        if let Ok(uri) = whole.build() {
            *request.uri_mut() = uri;
        }
    }
    (request, scheme)
}

/// Whether the guest used a handle that is gone; once its response is set, that is the place to set it.
fn twice(error: &wasmtime::Error) -> bool {
    format!("{error:#}").contains("unknown handle index")
}

/// Whether a body was left open: dropping the store would end it as though it were whole.
fn unfinished(state: &mut State) -> bool {
    state.table.iter_mut().any(|entry| entry.is::<HostOutgoingBody>())
}

/// Lets `pending` run once more within `cx`.
pub(super) fn poll_once<F: Future + Unpin>(pending: &mut F, cx: &mut std::task::Context<'_>) -> Option<F::Output> {
    match std::pin::Pin::new(pending).poll(cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
