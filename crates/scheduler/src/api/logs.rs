//! `GET …/pods/POD/log`: what a guest wrote, fetched from its node.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header;
use serde_json::json;

use super::status::{Refusal, Result};
use super::{Call, link, read};

pub(super) async fn answer(call: Call) -> Result<Response> {
    let Call { api, target, query, .. } = call;
    let pod = read::object(&api, &target).await?;
    let node = pod.spec()["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(Refusal::bad_request(format!("pod {} is not placed on a node yet, so it has no logs", pod.name())));
    }
    let container = pod.spec()["containers"][0]["name"].as_str().unwrap_or_default();
    if let Some(other) = query.get("container").filter(|asked| *asked != container) {
        return Err(Refusal::bad_request(format!("container {other} is not valid for pod {}; it has {container}", pod.name())));
    }
    let ask = json!({
        "ask": "logs", "namespace": pod.namespace(), "pod": pod.name(), "uid": pod.uid(),
        "follow": query.flag("follow"), "previous": query.flag("previous"), "timestamps": query.flag("timestamps"),
        "tail": query.number("tailLines")?, "sinceSeconds": query.number("sinceSeconds")?, "sinceTime": query.get("sinceTime"),
    });
    let limit = query.number("limitBytes")?;
    let pieces = api.0.links.ask(node, ask).await?;
    let body = match limit {
        Some(limit) => at_most(pieces, limit),
        None => link::body(pieces, api.0.stop.clone()),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain")], body).into_response())
}

/// The first `limit` bytes.
fn at_most(pieces: tokio::sync::mpsc::Receiver<Bytes>, limit: u64) -> Body {
    let cut = stream::unfold((pieces, limit), |(mut pieces, left)| async move {
        if left == 0 {
            return None;
        }
        let mut piece = pieces.recv().await?;
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - piece.len() as u64;
        Some((piece, (pieces, left)))
    });
    Body::from_stream(cut.map(Ok::<_, std::convert::Infallible>))
}
