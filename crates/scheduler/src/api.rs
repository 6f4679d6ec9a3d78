//! The HTTP API in the shape of Kubernetes.

use axum::Router;

use crate::auth::Identity;
use crate::objects::Objects;

pub mod defaults;
pub mod fields;
pub mod patch;
pub mod path;
pub mod quantity;
pub mod selector;
pub mod status;

/// The API over the objects of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    objects: Objects,
}

impl Api {
    /// The API over these objects.
    pub fn new(objects: Objects) -> Api {
        Api { objects }
    }

    /// The objects beneath.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The API as `who` sees it, for clients in this process.
    pub fn service(&self, who: Identity) -> Router {
        Router::new().fallback(|| async { status::Refusal::no_such_path() }).layer(axum::Extension(who))
    }
}
