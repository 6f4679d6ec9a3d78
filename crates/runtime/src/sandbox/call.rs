//! How one guest's request reaches another service.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, Request, Response};
use scheduler::app::object_name;
use scheduler::routes::Key;

use super::PodIdentity;
use crate::body::Body;

/// What a request and those that a guest makes while it answers have in common. The gateway puts it into the extensions of a request, and
/// finds it there again in [`Calls::call`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The id under which all of them are logged.
    pub id: HeaderValue,
    /// How many services have been called on the way.
    pub hops: u32,
    /// The W3C `traceparent` that the guest was told.
    pub parent: Option<HeaderValue>,
    /// The `tracestate` beside it.
    pub state: Option<HeaderValue>,
}

/// The service that a guest calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// One of the caller's app by its name there: `user` of `http://user.internal`.
    Internal(String),
    /// A Service by its own name, and the port that is asked: `http://orders.billing:8080`.
    Service(Key, u16),
}

impl fmt::Display for Callee {
    /// As a host: `user.internal`, `orders.billing`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Callee::Internal(name) => write!(f, "{name}.internal"),
            Callee::Service(key, _) => write!(f, "{}.{}", key.name(), key.namespace()),
        }
    }
}

/// The Service that an entry of `wctl.dev/call` names for a pod: `user` is a service of its App, or, without one, a Service of its
/// namespace; `orders.billing` is the Service `orders` of the namespace `billing`.
pub fn granted(entry: &str, namespace: &str, app: Option<&str>) -> Key {
    match (entry.split_once('.'), app) {
        (Some((name, namespace)), _) => Key::new(namespace, name),
        (None, Some(app)) => Key::new(namespace, &object_name(app, entry)),
        (None, None) => Key::new(namespace, entry),
    }
}

/// Carries a guest's request to a pod of a service. The grant has been checked.
#[async_trait]
pub trait Calls: Send + Sync {
    /// Calls `service` for `caller`, which has `remaining` left itself.
    ///
    /// # Errors
    /// When no pod of the service could be reached or would take the request.
    async fn call(
        &self,
        caller: &PodIdentity,
        service: &Callee,
        request: Request<Body>,
        remaining: Duration,
    ) -> Result<Response<Body>, CallError>;
}

/// Why a call to another service brought no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such service.
    #[error("there is no service {0}")]
    NoService(String),
    /// The service is not for this caller, or not at this port: a sentence with what to do.
    #[error("{0}")]
    Refused(String),
    /// None of its pods is ready or has a free permit.
    #[error("service {0} has no pod that can take the request")]
    Unavailable(String),
    /// The callee failed before it answered.
    #[error("service {service} failed: {reason}")]
    Failed {
        /// The callee.
        service: String,
        /// Why.
        reason: String,
    },
    /// The time of the caller or of the callee ran out.
    #[error("service {0} did not answer in time")]
    Deadline(String),
    /// The request has been through too many services.
    #[error("the request went in a circle")]
    Loop,
}

/// Knows no other service: for `wctl run` and tests.
pub struct NoCalls;

#[async_trait]
impl Calls for NoCalls {
    async fn call(&self, _: &PodIdentity, service: &Callee, _: Request<Body>, _: Duration) -> Result<Response<Body>, CallError> {
        Err(CallError::NoService(service.to_string()))
    }
}
