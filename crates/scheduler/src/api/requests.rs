//! `GET …/nodes/NODE/proxy/logs/access.log`: the requests that a node's gateway answered, a line of JSON each.

use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::json;

use crate::auth::Identity;

use super::path::Query;
use super::status::Result;
use super::{Api, access, link};

/// The lines that match the parameters (`namespace`, `app`, `service`, `request`, `sinceTime`, `tailLines`, `follow`), fetched from the node.
pub(super) async fn answer(api: &Api, who: &Identity, node: &str, query: &Query) -> Result<Response> {
    let namespace = query.get("namespace");
    access::may_read_requests(who, namespace)?;
    let ask = json!({
        "ask": "access", "namespace": namespace, "app": query.get("app"), "service": query.get("service"), "request": query.get("request"),
        "since": query.time("sinceTime")?, "tail": query.number("tailLines")?, "follow": query.flag("follow"),
    });
    let pieces = api.0.links.ask(node, ask).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], link::body(pieces, api.0.stop.clone())).into_response())
}
