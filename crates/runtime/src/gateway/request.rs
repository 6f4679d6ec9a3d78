//! What is made of a request on its way, and how long its answer will be.

use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Uri};

use super::local::Held;
use crate::body::Body;

/// How many bytes of a body will be asked for, if the head says so.
pub(super) fn length(method: &Method, parts: &Parts, body: &Body) -> Option<u64> {
    if method == Method::HEAD || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Some(0);
    }
    let promised = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    promised.or_else(|| http_body::Body::size_hint(body).exact())
}

/// The request once more, for the case that its pod is full: only when that is likely, and only when there is no body to lose.
pub(super) fn spare(held: &Held, request: &Request<Body>) -> Option<Request<Body>> {
    if held.instance.is_tight() { copied(request) } else { None }
}

/// The request once more, where it has no body.
pub(super) fn copied(request: &Request<Body>) -> Option<Request<Body>> {
    http_body::Body::is_end_stream(request.body()).then(|| {
        let mut copy = Request::new(crate::body::empty());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        copy
    })
}

/// Guests find scheme and authority in the URI, whatever form the request had.
pub(super) fn name_authority(request: &mut Request<Body>, host: &HeaderValue) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = host.to_str().ok().and_then(|host| host.parse().ok());
    if parts.authority.is_none() {
        parts.scheme = None;
    }
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}
