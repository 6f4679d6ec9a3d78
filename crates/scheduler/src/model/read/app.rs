//! An App as JSON to the small struct.

use super::{annotation, canonical, count, flag, int, items, text};
use crate::app::without_replicas;
use crate::model::{App, AppStatus, Key, Meta, Name, ObjectId, Phase, Revision, ServiceStatus};
use crate::{kinds, names};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub(super) fn app(meta: Meta, object: &Value) -> App {
    let services = object.pointer("/spec/services").and_then(Value::as_object);
    let parts = services.into_iter().flatten().flat_map(|(name, service)| parts(&meta.key, name, service)).collect();
    App {
        services: services.map_or(1, |all| all.values().filter(|service| !service["job"].is_object()).count()),
        parts,
        meta,
        rolled_back: annotation(object, names::ROLLED_BACK).map(Name::from),
        status: app_status(&object["status"]),
    }
}

/// What one service of an App becomes: the same objects as in [`expand`](crate::app::expand).
fn parts(app: &Key, name: &str, service: &Value) -> Vec<ObjectId> {
    // A job that ran once is not made again: it would run again.
    if service["job"].is_object() {
        let cron = service["job"]["cron"].is_string().then_some(&kinds::CRON_JOB);
        let key = app.sibling(&crate::app::object_name(&app.name, name));
        return cron.map(|kind| ObjectId::new(kind, key)).into_iter().collect();
    }
    let key = app.sibling(&crate::app::object_name(&app.name, name));
    let routed = match &service["route"] {
        Value::Null => false,
        Value::Array(routes) => !routes.is_empty(),
        _ => true,
    };
    let scaled = service["scale"].is_object().then_some(&kinds::HPA);
    let kinds = [Some(&kinds::DEPLOYMENT), Some(&kinds::SERVICE), routed.then_some(&kinds::INGRESS), scaled];
    kinds.into_iter().flatten().map(|kind| ObjectId::new(kind, key.clone())).collect()
}

fn app_status(status: &Value) -> AppStatus {
    let services = status.get("services").and_then(Value::as_object);
    let one = |value: &Value| ServiceStatus {
        ready: count(value, "/ready"),
        desired: count(value, "/desired"),
        updated: count(value, "/updated"),
        revision: u64::try_from(int(value, "/revision")).unwrap_or(0),
        asleep: flag(value, "/asleep"),
    };
    AppStatus {
        phase: Phase::parse(text(status, "/phase")),
        observed: int(status, "/observedGeneration"),
        good: status.get("goodGeneration").and_then(Value::as_i64),
        services: services.into_iter().flatten().map(|(name, value)| (name.clone(), one(value))).collect(),
        waiting: items(status, "/waiting").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        message: text(status, "/message").to_owned(),
    }
}

pub(super) fn revision(meta: Meta, object: &Value) -> Revision {
    let text = canonical(&without_replicas(&object["data"]["spec"]));
    // Only ever compared within this process.
    let rollout = Sha256::digest(text).iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    Revision { number: int(object, "/revision"), meta, rollout }
}
