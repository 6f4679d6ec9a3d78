//! What the gateway itself answers: a status, a sentence and the request's id.

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER, UPGRADE};
use http::{HeaderValue, Response, StatusCode};

use crate::body::{self, Body};

/// Carries a request's id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Why a request was not answered by a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The head contradicts itself or the protocol.
    Malformed(&'static str),
    /// CONNECT or TRACE.
    Method,
    /// It asked for another protocol.
    Upgrade,
    /// No route has this host and path.
    NoRoute,
    /// The route's service has no pod that could answer.
    NoEndpoint,
    /// Every pod that was asked is at its limit of concurrency or memory.
    Busy,
    /// The guest trapped.
    Trap,
    /// The guest ended without an answer.
    NoAnswer,
    /// The guest's answer cannot be sent on.
    BadAnswer,
    /// The guest took longer than its limit.
    Deadline,
    /// The pod's node could not be reached.
    Unreachable,
    /// Calls between services go round in a circle.
    Loop,
    /// The caller has no grant for this, or the host refuses it.
    Forbidden(String),
    /// The gateway has not seen the routes yet.
    Starting,
    /// The pod slept, and is not awake yet.
    Waking,
}

impl Refusal {
    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Upgrade => StatusCode::UPGRADE_REQUIRED,
            Refusal::NoRoute => StatusCode::NOT_FOUND,
            Refusal::NoEndpoint | Refusal::Busy | Refusal::Starting | Refusal::Waking => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Trap => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::NoAnswer | Refusal::BadAnswer | Refusal::Unreachable => StatusCode::BAD_GATEWAY,
            Refusal::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Loop => StatusCode::LOOP_DETECTED,
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        }
    }

    /// One word or two for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::Method => "method",
            Refusal::Upgrade => "upgrade",
            Refusal::NoRoute => "no route",
            Refusal::NoEndpoint => "no endpoint",
            Refusal::Busy => "busy",
            Refusal::Trap => "trap",
            Refusal::NoAnswer => "no answer",
            Refusal::BadAnswer => "bad answer",
            Refusal::Deadline => "deadline",
            Refusal::Unreachable => "unreachable",
            Refusal::Loop => "loop",
            Refusal::Forbidden(_) => "forbidden",
            Refusal::Starting => "starting",
            Refusal::Waking => "waking",
        }
    }

    /// A sentence for whoever sent the request; it tells nothing of the inside.
    pub fn sentence(&self) -> &str {
        match self {
            Refusal::Malformed(what) => what,
            Refusal::Method => "this method is not served here",
            Refusal::Upgrade => "this gateway does not switch protocols: send a plain request",
            Refusal::NoRoute => "no app has a route for this host and path",
            Refusal::NoEndpoint => "the app has no replica that is ready: try again shortly",
            Refusal::Busy => "every replica is at its limit of requests or memory: try again shortly",
            Refusal::Trap => "the app crashed on this request",
            Refusal::NoAnswer => "the app ended without an answer",
            Refusal::BadAnswer => "the app gave an answer that cannot be sent",
            Refusal::Deadline => "the app did not answer within its time limit",
            Refusal::Unreachable => "the app's node could not be reached",
            Refusal::Loop => "services call each other in a circle",
            Refusal::Forbidden(what) => what,
            Refusal::Starting => "this gateway has just started and does not know the routes yet: try again shortly",
            Refusal::Waking => "the app was asleep and is still waking up: try again shortly",
        }
    }

    /// The whole answer.
    pub fn answer(&self, id: &HeaderValue) -> Response<Body> {
        let text = serde_json::json!({
            "status": self.status().as_u16(), "reason": self.reason(), "message": self.sentence(), "request": id.to_str().unwrap_or_default(),
        });
        let mut response = Response::new(body::full(format!("{text}\n")));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(REQUEST_ID, id.clone());
        match self {
            Refusal::NoEndpoint | Refusal::Busy | Refusal::Starting | Refusal::Waking => {
                headers.insert(RETRY_AFTER, HeaderValue::from(RETRY.as_secs()))
            }
            Refusal::Method => headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")),
            Refusal::Upgrade => headers.insert(UPGRADE, HeaderValue::from_static("HTTP/2.0")),
            _ => None,
        };
        response
    }
}

/// When a refused client may try again.
const RETRY: Duration = Duration::from_secs(1);
