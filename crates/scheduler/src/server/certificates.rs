//! `POST /apis/wctl.dev/v1/nodes/NODE/certificate`: a node's signing request (PEM) becomes its certificate.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::request::Parts as Head;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::status::Refusal;
use crate::pki::Authority;

type Parts = (Api, Arc<Authority>);

pub(super) fn router(api: Api, authority: Arc<Authority>) -> Router {
    Router::new().route("/apis/wctl.dev/v1/nodes/{node}/certificate", post(answer)).with_state((api, authority))
}

async fn answer(State((api, authority)): State<Parts>, Path(node): Path<String>, head: Head, request: String) -> Response {
    match signed(&api, &authority, &node, &head, &request).await {
        Ok(body) => Json(body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn signed(api: &Api, authority: &Authority, node: &str, head: &Head, request: &str) -> Result<Value, Refusal> {
    let who = api.who(&head.headers, &head.extensions).await?;
    // Whoever has a node's certificate gets that node's requests, so nobody gets another's.
    if who.node_name() != Some(node) && !who.is_admin() {
        return Err(Refusal::new(403, "Forbidden", format!("User \"{}\" is not the agent of node \"{node}\"", who.name)));
    }
    let certificate = authority.sign_node(node, request).map_err(|error| Refusal::bad_request(error.to_string()))?;
    Ok(json!({"certificate": certificate, "ca": authority.ca_pem()}))
}
