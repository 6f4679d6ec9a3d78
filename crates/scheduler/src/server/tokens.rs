//! Tokens and certificates: `/apis/wctl.dev/v1/tokens` for admins, `/apis/wctl.dev/v1/nodes/NODE/join` for machines that join.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::status::Refusal;
use crate::auth::{self, Identity, New};
use crate::pki::Authority;

use super::cluster::{admin, refused};

#[derive(Clone)]
struct Shared {
    api: Api,
    authority: Arc<Authority>,
}

/// A token, as it is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// `node`, `admin`, `deployer` or `viewer`.
    role: String,
    /// Of a deployer, or of a viewer who is not to see the others.
    namespace: Option<String>,
    /// Whose it is.
    name: Option<String>,
    /// Seconds.
    ttl: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Csr {
    csr: String,
}

type Answer = Result<Json<Value>, Refusal>;

pub(super) fn router(api: Api, authority: Arc<Authority>) -> Router {
    Router::new()
        .route("/apis/wctl.dev/v1/tokens", get(list).post(make))
        .route("/apis/wctl.dev/v1/tokens/{id}", delete(revoke))
        .route("/apis/wctl.dev/v1/nodes/{name}/join", post(certificate))
        .with_state(Shared { api, authority })
}

async fn list(State(shared): State<Shared>, head: Parts) -> Answer {
    admin(&shared.api, &head, "see the tokens").await?;
    let tokens = shared.api.tokens().list().await.map_err(failed)?;
    Ok(Json(json!({ "items": tokens })))
}

async fn make(State(shared): State<Shared>, head: Parts, body: String) -> Answer {
    admin(&shared.api, &head, "make tokens").await?;
    let asked: Asked = serde_json::from_str(&body).map_err(|error| Refusal::bad_request(format!("the token asked for: {error}")))?;
    let (id, token) = shared.api.tokens().make(New { id: None, ttl: asked.ttl, who: whose(&asked)? }).await.map_err(failed)?;
    Ok(Json(json!({ "id": id, "token": format!("{token}.{}", shared.authority.pin()) })))
}

fn whose(asked: &Asked) -> Result<Identity, Refusal> {
    let name = asked.name.as_deref().unwrap_or(&asked.role);
    let namespace = asked.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    if name.is_empty() || name.contains(':') || name.len() > 100 || name.chars().any(char::is_control) {
        return Err(Refusal::bad_request(format!("`{name}` is no name for whoever has the token: it is a word without a colon")));
    }
    match (asked.role.as_str(), namespace) {
        ("node", None) => Ok(Identity::joiner()),
        ("admin", None) => Ok(Identity { name: name.to_owned(), ..Identity::admin() }),
        ("viewer", None) => Ok(Identity::viewer(name)),
        ("viewer", Some(namespace)) => Ok(Identity::viewer_of(name, namespace)),
        ("deployer", Some(namespace)) => Ok(Identity::deployer(name, namespace)),
        ("deployer", None) => Err(Refusal::bad_request("a deployer belongs to a namespace: name it")),
        ("node" | "admin", Some(_)) => Err(Refusal::bad_request(format!("the role {} is not for one namespace", asked.role))),
        (other, _) => Err(Refusal::bad_request(format!("there is no role `{other}`: use node, admin, deployer or viewer"))),
    }
}

async fn revoke(State(shared): State<Shared>, Path(id): Path<String>, head: Parts) -> Answer {
    admin(&shared.api, &head, "revoke tokens").await?;
    if let Some(node) = id.strip_prefix("node:") {
        shared.api.tokens().revoke_node(node).await.map_err(failed)?;
        return Ok(Json(json!({ "id": id })));
    }
    if shared.api.tokens().revoke(&id).await.map_err(failed)? {
        return Ok(Json(json!({ "id": id })));
    }
    Err(Refusal::new(404, "NotFound", format!("there is no token {id}; `wctl token list` shows them")))
}

/// Whoever may join, and the node itself once it has joined, gets a certificate for the name.
async fn certificate(State(shared): State<Shared>, Path(name): Path<String>, head: Parts, body: String) -> Answer {
    let who = shared.api.who(&head.headers, &head.extensions).await?;
    if !(who.is_joiner() || who.is_admin() || who.node_name() == Some(&name)) {
        return Err(refused(&who, &format!("ask for the certificate of node {name}")));
    }
    let label =
        !name.is_empty() && name.len() <= 253 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
    if !label {
        return Err(Refusal::bad_request(format!("`{name}` is no name of a node: use small letters, digits, dashes and points")));
    }
    let csr: Csr = serde_json::from_str(&body).map_err(|error| Refusal::bad_request(format!("the request for a certificate: {error}")))?;
    let signed = shared.api.tokens().sign(&shared.authority, &name, &csr.csr).await.map_err(|error| match error {
        auth::Error::OtherKey(_) => Refusal::new(409, "Conflict", error.to_string()),
        auth::Error::Certificate(_) => Refusal::bad_request(error.to_string()),
        other => failed(other),
    })?;
    let mut answer = json!({ "certificate": signed, "ca": shared.authority.ca_pem() });
    // The registry is asked with a token, as all registries are. A node that only renews its certificate has one that is in use.
    if who.node_name().is_none() {
        answer["token"] = json!(shared.api.tokens().of_node(&name).await.map_err(failed)?);
    }
    Ok(Json(answer))
}

fn failed(error: auth::Error) -> Refusal {
    Refusal::unavailable(error.to_string())
}
