//! What registry and nodes no longer need: `POST /apis/wctl.dev/v1/prune`, and the registry's part now and then by itself.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use artifact::blobs::{Blobs, Error, Prune, Pruned};
use artifact::{Digest, Reference};
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::status::Refusal;
use crate::kinds::{APP, CONTROLLER_REVISION, CRON_JOB, DEPLOYMENT, JOB, NODE, POD, REPLICA_SET};
use crate::objects::Objects;

/// What was pushed within this time stays, unless another is asked for: a deploy may be about to name it.
const GRACE: Duration = Duration::from_secs(3600);
/// Bytes of blobs that may lie there before the server tidies up by itself.
const WATERMARK: u64 = 4 << 30;

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "dryRun")]
    dry_run: Option<String>,
    /// Seconds for which what was pushed stays.
    grace: Option<u64>,
}

pub(super) fn router(api: Api, blobs: Blobs) -> Router {
    Router::new().route("/apis/wctl.dev/v1/prune", post(answer)).with_state((api, blobs))
}

async fn answer(State((api, blobs)): State<(Api, Blobs)>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    match asked_by_admin(&api, &blobs, &headers, &asked).await {
        Ok(body) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn asked_by_admin(api: &Api, blobs: &Blobs, headers: &HeaderMap, asked: &Asked) -> Result<Value, Refusal> {
    let who = api.identify(headers).await?;
    if !who.is_admin() {
        return Err(Refusal::new(403, "Forbidden", format!("User \"{}\" cannot prune: only an admin may", who.name)));
    }
    let dry_run = match asked.dry_run.as_deref() {
        None | Some("") => false,
        Some("All") => true,
        Some(other) => return Err(Refusal::bad_request(format!("dryRun must be All, not {other:?}"))),
    };
    let keep = needed(api.objects()).await.map_err(Refusal::internal)?;
    let grace = asked.grace.map_or(GRACE, Duration::from_secs);
    let wanted = Prune { keep: keep.clone(), grace, watermark: 0, dry_run };
    let pruned = blobs.prune(wanted).await.map_err(|e| match e {
        Error::Store | Error::Sweeping => Refusal::unavailable(e.to_string()),
        e => Refusal::internal(e.to_string()),
    })?;
    Ok(shown(&pruned, &on_nodes(api, &keep, dry_run).await?))
}

/// What the nodes keep of artifacts that nobody needs.
#[derive(Default)]
struct OnNodes {
    /// Node, digest of the component, bytes.
    freed: Vec<(String, String, u64)>,
    /// Nodes that could not be asked, and why.
    unheard: Vec<(String, String)>,
}

async fn on_nodes(api: &Api, keep: &HashSet<Digest>, dry_run: bool) -> Result<OnNodes, Refusal> {
    let nodes = api.objects().list(&NODE, None, 0, None).await.map_err(|e| Refusal::internal(e.to_string()))?;
    let ask = json!({ "ask": "prune", "keep": keep, "dryRun": dry_run });
    let names: Vec<String> = nodes.items.iter().map(|node| node.name().to_owned()).collect();
    let asked = names.iter().map(|name| api.ask::<BTreeMap<String, u64>>(name, ask.clone()));
    let answers = futures::future::join_all(asked).await;
    let mut done = OnNodes::default();
    for (name, answer) in names.into_iter().zip(answers) {
        match answer {
            Ok(layers) => done.freed.extend(layers.into_iter().map(|(digest, bytes)| (name.clone(), digest, bytes))),
            Err(refusal) => done.unheard.push((name, refusal.message)),
        }
    }
    Ok(done)
}

fn shown(pruned: &Pruned, nodes: &OnNodes) -> Value {
    let manifests =
        pruned.manifests.iter().map(|(name, digest)| json!({ "what": "manifest", "name": format!("{name}@{digest}"), "bytes": 0 }));
    let blobs = pruned.blobs.iter().map(|(digest, bytes)| json!({ "what": "blob", "name": digest.to_string(), "bytes": bytes }));
    let code = nodes.freed.iter().map(|(node, digest, bytes)| json!({ "what": "code", "name": digest, "node": node, "bytes": bytes }));
    let unheard = nodes.unheard.iter().map(|(node, why)| json!({ "node": node, "message": why }));
    json!({
        "kind": "PruneResult", "apiVersion": "wctl.dev/v1", "leftBytes": pruned.left,
        "freedBytes": pruned.freed + nodes.freed.iter().map(|(_, _, bytes)| bytes).sum::<u64>(),
        "items": manifests.chain(blobs).chain(code).collect::<Vec<_>>(), "unheard": unheard.collect::<Vec<_>>(),
    })
}

/// Tidies up where more lies there than need be.
pub(super) async fn now_and_then(objects: &Objects, blobs: &Blobs) -> Result<(), String> {
    let keep = needed(objects).await?;
    let pruned = blobs.prune(Prune { keep, grace: GRACE, watermark: WATERMARK, dry_run: false }).await.map_err(|e| e.to_string())?;
    if pruned.freed > 0 {
        tracing::info!(bytes = pruned.freed, "the registry dropped what no revision needs");
    }
    Ok(())
}

/// Every digest that an object names, those of old revisions included.
async fn needed(objects: &Objects) -> Result<HashSet<Digest>, String> {
    let mut digests = HashSet::new();
    for kind in [&APP, &CONTROLLER_REVISION, &DEPLOYMENT, &REPLICA_SET, &POD, &JOB, &CRON_JOB] {
        let list = objects.list(kind, None, 0, None).await.map_err(|e| e.to_string())?;
        list.items.iter().for_each(|object| collect(&object.0, &mut digests));
    }
    Ok(digests)
}

fn collect(value: &Value, digests: &mut HashSet<Digest>) {
    match value {
        Value::String(text) if text.contains("@sha256:") => {
            digests.extend(text.parse::<Reference>().ok().and_then(|reference| reference.digest().cloned()));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, digests)),
        Value::Object(map) => map.values().for_each(|item| collect(item, digests)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_an_object_names_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let object = json!({ "data": { "spec": { "services": { "web": { "image": format!("shop/web@{digest}"), "typed": "web:1" } } } } });
        let mut found = HashSet::new();
        collect(&object, &mut found);
        assert_eq!(found.into_iter().map(|d| d.to_string()).collect::<Vec<_>>(), [digest]);
    }
}
