//! The embedded registry at `/v2`, behind the same tokens as the API.

use artifact::blobs::Blobs;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;

use crate::api::Api;
use crate::auth::{Identity, authorize};
use crate::kinds::APP;

/// The registry's routes. A deployer pushes and pulls what lies under its namespace's name, nodes pull everything.
pub(super) fn router(api: Api, blobs: Blobs) -> Router {
    artifact::server::router(blobs).layer(from_fn_with_state(api, guard))
}

async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let who = match api.who(request.headers(), request.extensions()).await {
        Ok(who) => who,
        Err(refusal) if refusal.code == 401 => {
            return denied(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "log in with `wctl login`: any user, and a token as the password");
        }
        Err(refusal) => return refusal.into_response(),
    };
    let path = request.uri().path().to_owned();
    if may(&who, request.method(), &path) {
        return next.run(request).await;
    }
    denied(StatusCode::FORBIDDEN, "DENIED", &format!("{} may not do this with {path}", who.name))
}

fn may(who: &Identity, method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads && (who.node_name().is_some() || matches!(path, "/v2" | "/v2/")) {
        return true;
    }
    // The first part of a repository's name is its namespace; `_catalog` is about all of them.
    let namespace =
        path.strip_prefix("/v2/").and_then(|rest| rest.split('/').next()).filter(|first| !first.is_empty() && *first != "_catalog");
    authorize(who, if reads { "get" } else { "create" }, &APP, namespace)
}

fn denied(code: StatusCode, word: &str, message: &str) -> Response {
    let body = json!({ "errors": [{ "code": word, "message": message, "detail": {} }] });
    let mut response = (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    if code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"wctl\""));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployer_has_the_repositories_of_its_namespace() {
        let alice = Identity::deployer("alice", "shop");
        for path in ["/v2/shop/web/manifests/1", "/v2/shop/web/blobs/uploads/"] {
            assert!(may(&alice, &Method::GET, path) && may(&alice, &Method::POST, path), "{path}");
        }
        for path in ["/v2/other/web/manifests/1", "/v2/shop2/web/manifests/1", "/v2/_catalog", "/v2/web/manifests/1"] {
            assert!(!may(&alice, &Method::PUT, path) && !may(&alice, &Method::GET, path), "{path}");
        }
        assert!(may(&alice, &Method::GET, "/v2/"));
        let node = Identity::node("n");
        assert!(may(&node, &Method::GET, "/v2/shop/web/manifests/1") && !may(&node, &Method::PUT, "/v2/shop/web/manifests/1"));
        assert!(may(&Identity::admin(), &Method::GET, "/v2/_catalog") && may(&Identity::admin(), &Method::PUT, "/v2/x/manifests/1"));
    }
}
