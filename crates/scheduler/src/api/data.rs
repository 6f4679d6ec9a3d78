//! `DELETE …/apps/APP/data`: what an App that is gone has kept on the nodes, its buckets and blobs.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::kinds::{APP, NODE};

use super::status::{Refusal, Result};
use super::{Call, reply};

/// Has every node forget it.
pub(super) async fn forget(call: Call) -> Result<Response> {
    let Call { api, target, .. } = call;
    let (namespace, app) = (target.namespace(), target.name.as_deref().unwrap_or_default());
    let internal = |error: crate::objects::Error| Refusal::internal(error.to_string());
    if api.0.objects.get(&APP, namespace, app).await.map_err(internal)?.is_some() {
        return Err(Refusal::conflict(&APP, app, "it still runs with its data; delete it first"));
    }
    let nodes = api.0.objects.list(&NODE, None, 0, None).await.map_err(internal)?;
    let ask = json!({ "ask": "forget", "namespace": namespace, "app": app });
    let asked = nodes.items.iter().map(|node| api.ask::<Value>(node.name(), ask.clone()));
    let answers = futures::future::join_all(asked).await;
    let refusals: Vec<_> = answers.into_iter().filter_map(std::result::Result::err).collect();
    if !refusals.is_empty() {
        let why: Vec<_> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
        let why = format!("not all of its data is gone: {}", why.join("; "));
        // A node that still has a pod will be rid of it soon; one that is away may be so for long.
        let away = refusals.iter().any(|refusal| refusal.code == 503);
        return Err(if away { Refusal::unavailable(why) } else { Refusal::conflict(&APP, app, &why) });
    }
    let done =
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": { "name": app, "kind": "apps" } });
    Ok(reply::json(StatusCode::OK, &done, &[]))
}
