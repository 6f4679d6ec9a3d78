//! Most that a namespace may have altogether.

use std::collections::HashSet;

use serde_json::Value;

use super::{Quota, plain, rules};
use crate::api::status::{Refusal, Result};
use crate::api::{Api, quantity, reply};
use crate::kinds::{DEPLOYMENT, JOB, POD, REPLICA_SET};
use crate::objects::{Object, Write};

/// Where the turns of namespaces with a quota are kept.
const QUOTAS: &str = "/quotas/";

/// 403 where the namespace would hold more than its quota once `changed` is written. Gives what has to be in the same commit, so that
/// of two writes that fit alone and not together one comes second and is looked at again.
pub(in crate::api) async fn quota(api: &Api, namespace: &str, changed: &[&Object]) -> Result<Option<Write>> {
    let counted: Vec<&Object> =
        changed.iter().copied().filter(|object| matches!(object.kind(), "Deployment" | "ReplicaSet" | "Job" | "Pod")).collect();
    let Some(first) = counted.first() else { return Ok(None) };
    let kind = first.known_kind().map_err(|e| Refusal::bad_request(e.to_string()))?;
    let limits: Vec<(String, [Limit; 3])> =
        rules(api, namespace).await?.into_iter().map(|(name, rules)| (name, rules.quota.limits())).collect();
    if limits.iter().all(|(_, limits)| limits.iter().all(Option::is_none)) {
        return Ok(None);
    }
    let turn = api.0.objects.turn(format!("{QUOTAS}{namespace}")).await.map_err(|e| reply::refusal(kind, first.name(), e))?;
    let sums = sums(api, namespace, &counted).await?;
    for (name, limits) in limits {
        for ((sum, limit), what) in sums.iter().zip(limits).zip(["pods", "memory", "cpu"]) {
            let Some((_, shown)) = limit.filter(|(most, _)| sum > most) else { continue };
            let why = format!(
                "the namespace {namespace} would have more than its quota of {what}, {shown} (policy {name}); lower replicas or limits"
            );
            return Err(Refusal::forbidden(kind, first.name(), &why));
        }
    }
    Ok(Some(Write::Turn(turn)))
}

/// The most that there may be, and as the policy says it.
type Limit = Option<(u128, String)>;

impl Quota {
    /// Of pods, memory and CPU.
    fn limits(&self) -> [Limit; 3] {
        let amount = |value: &Option<Value>| value.as_ref().and_then(|value| Some((quantity::of(value)?, plain(value))));
        [self.pods.map(|pods| (u128::from(pods), pods.to_string())), amount(&self.memory), amount(&self.cpu)]
    }
}

/// What the namespace would hold: its pods, their memory and their CPU.
async fn sums(api: &Api, namespace: &str, changed: &[&Object]) -> Result<[u128; 3]> {
    let mut sums = [0u128; 3];
    // What owns counts for what it owns: a Deployment for its ReplicaSets, a ReplicaSet or a Job for its Pods.
    let mut owners: HashSet<String> = HashSet::new();
    for kind in [&DEPLOYMENT, &REPLICA_SET, &JOB, &POD] {
        let list = api.0.objects.list(kind, Some(namespace), 0, None).await.map_err(|e| reply::refusal(kind, "", e))?;
        let of_kind = || changed.iter().copied().filter(|c| c.kind() == kind.kind);
        let kept = list.items.iter().filter(|o| !of_kind().any(|c| c.name() == o.name()));
        let all: Vec<&Object> = kept.chain(of_kind()).collect();
        all.iter().filter(|o| o.controller_uid().is_none_or(|uid| !owners.contains(uid))).for_each(|o| add(&mut sums, o));
        // A Job is no owner of ReplicaSets and a ReplicaSet none of Jobs, so both may be in the way of the next.
        if kind == &JOB {
            owners.extend(all.iter().map(|o| o.uid().to_owned()))
        } else {
            owners = all.iter().map(|o| o.uid().to_owned()).collect()
        }
    }
    Ok(sums)
}

/// Adds pods, memory and CPU of a Deployment, ReplicaSet, Job or Pod, the last two in thousandths.
fn add(sums: &mut [u128; 3], object: &Object) {
    let ended = |status: &Value| {
        matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"))
            || !status["completionTime"].is_null()
            || status["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Failed" && c["status"] == "True")
    };
    let pods = match object.kind() {
        "Pod" | "Job" if ended(object.status()) => 0,
        "Pod" => 1,
        "Job" => u128::from(object.spec()["parallelism"].as_u64().unwrap_or(1)),
        _ => u128::from(object.spec()["replicas"].as_u64().unwrap_or(1)),
    };
    let template = if object.kind() == "Pod" { &object.0 } else { &object.spec()["template"] };
    let resources = &template["spec"]["containers"][0]["resources"];
    let amount = |name: &str| quantity::of(&resources["limits"][name]).or_else(|| quantity::of(&resources["requests"][name])).unwrap_or(0);
    sums[0] = sums[0].saturating_add(pods);
    sums[1] = sums[1].saturating_add(pods.saturating_mul(amount("memory")));
    sums[2] = sums[2].saturating_add(pods.saturating_mul(amount("cpu")));
}
