//! The embedded registry: the OCI distribution specification 1.1 over a store of blobs.
//!
//! The router holds whole paths (`/v2/…`), to be merged into a server, which also decides who may do what: nothing here asks for a login.

mod answer;
mod content;
mod lists;
mod route;
mod uploads;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, Method, StatusCode};

use crate::blobs::Blobs;
use answer::Refusal;
use route::{Route, Target};
use uploads::Uploads;

/// Bounds on what clients may store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest blob in bytes. Default 1 GiB.
    pub blob: u64,
    /// Uploads that may be open at once. Default 256.
    pub uploads: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { blob: 1 << 30, uploads: 256 }
    }
}

/// A registry over `blobs` with the default limits.
pub fn router(blobs: Blobs) -> Router {
    router_with(blobs, Limits::default())
}

/// A registry over `blobs`.
pub fn router_with(blobs: Blobs, limits: Limits) -> Router {
    let registry = Registry { uploads: Arc::new(Uploads::new(blobs.clone(), limits)), blobs };
    let router = Router::new().route("/v2", any(root)).route("/v2/", any(root)).route("/v2/{*rest}", any(dispatch));
    router.with_state(registry)
}

#[derive(Clone)]
struct Registry {
    blobs: Blobs,
    uploads: Arc<Uploads>,
}

/// A request that has been understood.
struct Call {
    method: Method,
    repository: String,
    query: HashMap<String, String>,
    headers: HeaderMap,
}

impl Call {
    fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }
}

async fn root(method: Method) -> Response {
    match method {
        Method::GET | Method::HEAD => {
            (StatusCode::OK, [("docker-distribution-api-version", "registry/2.0")], axum::Json(serde_json::json!({}))).into_response()
        }
        _ => Refusal::method("GET, HEAD").into_response(),
    }
}

async fn dispatch(
    State(registry): State<Registry>,
    Path(rest): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let answer = match route::parse(&rest) {
        Err(refusal) => Err(refusal),
        Ok(Route { repository, target }) => {
            let call = Call { method: head.method, repository, query, headers: head.headers };
            registry.handle(target, &call, body).await
        }
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

impl Registry {
    async fn handle(&self, target: Target, call: &Call, body: Body) -> Result<Response, Refusal> {
        match (target, call.method.as_str()) {
            (Target::Catalog, "GET") => lists::catalog(&self.blobs, call).await,
            (Target::Tags, "GET") => lists::tags(&self.blobs, call).await,
            (Target::Referrers(digest), "GET") => lists::referrers(&self.blobs, call, &digest).await,
            (Target::Blob(digest), "GET" | "HEAD") => content::get_blob(&self.blobs, call, &digest).await,
            (Target::Blob(digest), "DELETE") => content::delete_blob(&self.blobs, &digest).await,
            (Target::Manifest(name), "GET" | "HEAD") => content::get_manifest(&self.blobs, call, &name).await,
            (Target::Manifest(name), "PUT") => content::put_manifest(&self.blobs, call, &name, body).await,
            (Target::Manifest(name), "DELETE") => content::delete_manifest(&self.blobs, call, &name).await,
            (Target::Uploads, "POST") => self.uploads.begin(call, body).await,
            (Target::Upload(id), "PATCH") => self.uploads.append(&id, call, body).await,
            (Target::Upload(id), "PUT") => self.uploads.finish(&id, call, body).await,
            (Target::Upload(id), "GET") => self.uploads.status(&id, call),
            (Target::Upload(id), "DELETE") => self.uploads.cancel(&id, call),
            (target, _) => Err(Refusal::method(target.methods())),
        }
    }
}
