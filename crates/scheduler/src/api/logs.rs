//! `GET …/pods/POD/log`: what a guest wrote, fetched from its node.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, FuturesUnordered, StreamExt};
use http::header;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::path::{Query, Target};
use super::status::{Refusal, Result};
use super::{Api, Call, link, read};

pub(super) async fn answer(call: Call) -> Result<Response> {
    let Call { api, target, query, .. } = call;
    let pod = match read::object(&api, &target).await {
        Err(gone) if gone.code == 404 => return of_the_gone(&api, &target, &query, gone).await,
        found => found?,
    };
    let node = pod.spec()["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(Refusal::bad_request(format!("pod {} is not placed on a node yet, so it has no logs", pod.name())));
    }
    let container = pod.spec()["containers"][0]["name"].as_str().unwrap_or_default();
    if let Some(other) = query.get("container").filter(|asked| *asked != container) {
        return Err(Refusal::bad_request(format!("container {other} is not valid for pod {}; it has {container}", pod.name())));
    }
    let mut ask = ask(pod.namespace(), pod.name(), &query)?;
    ask["uid"] = json!(pod.uid());
    ask["follow"] = json!(query.flag("follow"));
    let pieces = api.0.links.ask(node, ask).await?;
    shown(&api, pieces, &query)
}

fn ask(namespace: &str, pod: &str, query: &Query) -> Result<Value> {
    Ok(json!({
        "ask": "logs", "namespace": namespace, "pod": pod, "uid": "", "follow": false,
        "previous": query.flag("previous"), "timestamps": query.flag("timestamps"),
        "tail": query.number("tailLines")?, "sinceSeconds": query.number("sinceSeconds")?, "sinceTime": query.time("sinceTime")?,
    }))
}

fn shown(api: &Api, pieces: mpsc::Receiver<Bytes>, query: &Query) -> Result<Response> {
    let body = match query.number("limitBytes")? {
        Some(limit) => at_most(pieces, limit),
        None => link::body(pieces, api.0.stop.clone()),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain")], body).into_response())
}

/// A node keeps what a pod wrote for a while after the pod; with the Pod gone nobody knows which node, so all are asked.
async fn of_the_gone(api: &Api, target: &Target, query: &Query, gone: Refusal) -> Result<Response> {
    let (Some(namespace), Some(pod)) = (target.namespace.as_deref(), target.name.as_deref()) else { return Err(gone) };
    let ask = ask(namespace, pod, query)?;
    let nodes = api.0.links.nodes();
    let mut answers: FuturesUnordered<_> = nodes.iter().map(|node| api.0.links.ask(node, ask.clone())).collect();
    while let Some(answer) = answers.next().await {
        // Who refuses has no such log.
        if let Ok(pieces) = answer {
            return shown(api, pieces, query);
        }
    }
    Err(gone)
}

/// The first `limit` bytes.
fn at_most(pieces: mpsc::Receiver<Bytes>, limit: u64) -> Body {
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
