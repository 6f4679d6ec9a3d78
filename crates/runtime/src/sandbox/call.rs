//! How one guest's request reaches another service.

use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, Request, Response};

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

/// Carries a guest's request for `http://NAME.internal` to a pod of that service. The grant has been checked.
#[async_trait]
pub trait Calls: Send + Sync {
    /// Calls `service` (`user` of `user.internal`) for `caller`, which has `remaining` left itself.
    ///
    /// # Errors
    /// When no pod of the service could be reached or would take the request.
    async fn call(
        &self,
        caller: &PodIdentity,
        service: &str,
        request: Request<Body>,
        remaining: Duration,
    ) -> Result<Response<Body>, CallError>;
}

/// Why a call to another service brought no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such service in the app.
    #[error("there is no service {0} in this app")]
    NoService(String),
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
    async fn call(&self, _: &PodIdentity, service: &str, _: Request<Body>, _: Duration) -> Result<Response<Body>, CallError> {
        Err(CallError::NoService(service.to_owned()))
    }
}
