//! The `eviction` subresource of a pod, by which `kubectl drain` empties a node.
//!
//! A pod goes at once where its Deployment may have one fewer (`maxUnavailable`), or where nothing serves from it. Otherwise it is marked, the
//! plan starts another in its place and ends it when that one serves; until then the answer is 429, upon which clients ask again.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::Identity;
use crate::kinds::{DEPLOYMENT, Kind, POD, REPLICA_SET};
use crate::names;
use crate::objects::{Object, Write};

use super::admit::Manner;
use super::delete::Options;
use super::status::{Refusal, Result};
use super::tries::Tries;
use super::{Api, Call, Target, body, delete, read, reply};

/// POST of an Eviction.
pub(super) async fn answer(call: Call) -> Result<Response> {
    let Call { api, who, target, query, headers, body, .. } = call;
    let eviction = body::json(&headers, body).await?;
    let pod = Target { kind: &POD, namespace: target.namespace, name: target.name, part: String::new() };
    let dry_run = Manner::of(&query)?.dry_run || eviction.pointer("/deleteOptions/dryRun/0").is_some_and(|all| all == "All");
    let options = Options::of(&query, &eviction["deleteOptions"])?;
    let done =
        || reply::json(StatusCode::CREATED, &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }), &[]);
    let mut tries = Tries::default();
    loop {
        match evict(&api, &who, &pod, &options, dry_run).await {
            Err(refusal) if tries.again(&refusal).await => {}
            other => return other.map(|()| done()),
        }
    }
}

async fn evict(api: &Api, who: &Identity, target: &Target, options: &Options, dry_run: bool) -> Result<()> {
    let pod = read::object(api, target).await?;
    if dry_run || pod.deletion_timestamp().is_some() {
        return Ok(());
    }
    let Some(service) = service_of(api, &pod).await? else { return delete::remove(api, who, target, options).await.map(drop) };
    // Of several that are evicted at once each sees what became of the one before.
    let turn = api.0.objects.turn(format!("/turns/evictions/{}/{}", service.namespace(), service.name())).await;
    let turn = turn.map_err(|e| reply::refusal(&POD, pod.name(), e))?;
    if is_serving(&pod) && !may_miss_one(api, &service).await? {
        mark(api, &pod).await?;
        let what = format!("{} needs its pod {} until another one serves, which is being started", service.name(), pod.name());
        // Without a time to wait: clients that are told one repeat the request themselves and hide the sentence meanwhile.
        return Err(Refusal::new(429, "TooManyRequests", what));
    }
    delete::remove_guarded(api, who, target, options, Write::Turn(turn)).await.map(drop)
}

/// The Deployment of a pod.
async fn service_of(api: &Api, pod: &Object) -> Result<Option<Object>> {
    let Some(set) = owner(api, &REPLICA_SET, pod).await? else { return Ok(None) };
    owner(api, &DEPLOYMENT, &set).await
}

async fn owner(api: &Api, kind: &'static Kind, object: &Object) -> Result<Option<Object>> {
    let Some(reference) = object.controller().filter(|owner| owner["kind"] == kind.kind) else { return Ok(None) };
    let name = reference["name"].as_str().unwrap_or_default();
    let found = api.0.objects.get(kind, object.namespace(), name).await.map_err(|e| reply::refusal(kind, name, e))?;
    Ok(found.filter(|owner| reference["uid"] == owner.uid()))
}

fn is_serving(pod: &Object) -> bool {
    let conditions = pod.status()["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    pod.deletion_timestamp().is_none() && conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Whether a Deployment would still have as many pods as its rollouts leave it.
async fn may_miss_one(api: &Api, deployment: &Object) -> Result<bool> {
    let refusal = |e| reply::refusal(&DEPLOYMENT, deployment.name(), e);
    let sets = api.0.objects.list(&REPLICA_SET, Some(deployment.namespace()), 0, None).await.map_err(refusal)?.items;
    let own: Vec<&str> = sets.iter().filter(|set| set.controller_uid() == Some(deployment.uid())).map(Object::uid).collect();
    let pods = api.0.objects.list(&POD, Some(deployment.namespace()), 0, None).await.map_err(refusal)?.items;
    let is_own = |pod: &Object| pod.controller_uid().is_some_and(|uid| own.contains(&uid));
    let serving = pods.iter().filter(|pod| is_own(pod) && is_serving(pod)).count() as u64;
    let desired = deployment.spec()["replicas"].as_u64().unwrap_or(1);
    Ok(serving > desired.saturating_sub(unavailable(deployment.spec(), desired)))
}

/// How many pods may be missing: `maxUnavailable`, of which a share is rounded down.
fn unavailable(spec: &Value, desired: u64) -> u64 {
    match &spec["strategy"]["rollingUpdate"]["maxUnavailable"] {
        Value::Number(count) => count.as_u64().unwrap_or(0),
        Value::String(text) => text.strip_suffix('%').and_then(|n| n.parse::<u64>().ok()).map_or(0, |n| desired.saturating_mul(n) / 100),
        _ if spec["strategy"]["type"] == "Recreate" => desired,
        _ => 0,
    }
}

async fn mark(api: &Api, pod: &Object) -> Result<()> {
    if pod.annotation(names::EVICTED).is_some() {
        return Ok(());
    }
    let mut marked = pod.clone();
    marked.set_annotation(names::EVICTED, "true");
    match api.0.objects.commit(vec![Write::Update(marked)]).await.map_err(|e| reply::refusal(&POD, pod.name(), e)) {
        // Its node wrote its status meanwhile; the client asks again anyhow.
        Err(refusal) if refusal.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_pods_is_rounded_down() {
        let of = |max: Value, desired| unavailable(&json!({ "strategy": { "rollingUpdate": { "maxUnavailable": max } } }), desired);
        assert_eq!((of(json!("25%"), 3), of(json!("25%"), 4), of(json!(2), 3), of(json!("x"), 3)), (0, 1, 2, 0));
        assert_eq!(unavailable(&json!({ "strategy": { "type": "Recreate" } }), 3), 3);
    }
}
