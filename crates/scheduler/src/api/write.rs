//! Create, replace and patch.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::kinds::{APP, DEPLOYMENT, EVENT, Kind, LEASE, POLICY};
use crate::names;
use crate::objects::{Object, Write};

use super::admit::{self, Manner};
use super::reply::{self, Form};
use super::status::{Refusal, Result};
use super::tries::Tries;
use super::{Api, Call, Target, access, apps, body, imports, patch, pinned, policy, read};

/// What came of a write.
pub(super) struct Done {
    pub(super) object: Object,
    pub(super) warnings: Vec<String>,
    pub(super) created: bool,
}

fn respond(call_form: Form, kind: &Kind, done: &Done) -> Response {
    let code = if done.created { StatusCode::CREATED } else { StatusCode::OK };
    reply::json(code, &call_form.one(kind, &done.object.0, jiff::Timestamp::now()), &done.warnings)
}

/// POST of a new object.
pub(super) async fn create(call: Call) -> Result<Response> {
    let Call { api, who, target, query, headers, body } = call;
    let manner = Manner::of(&query)?;
    let value = body::json(&headers, body).await?;
    let object = admit::envelope(&target, value)?;
    let done = make(&api, &who, manner, object).await?;
    Ok(respond(Form::of(&headers, &query), target.kind, &done))
}

/// Makes an object; again from the start where another write changed what its checks had read.
async fn make(api: &Api, who: &crate::auth::Identity, manner: Manner, object: Object) -> Result<Done> {
    let mut tries = Tries::default();
    loop {
        match make_once(api, who, manner, object.clone()).await {
            Err(refusal) if tries.again(&refusal).await => {}
            done => return done,
        }
    }
}

async fn make_once(api: &Api, who: &crate::auth::Identity, manner: Manner, mut object: Object) -> Result<Done> {
    let kind = object.known_kind().map_err(|e| Refusal::bad_request(e.to_string()))?;
    if object.resource_version() != 0 {
        return Err(Refusal::bad_request("resourceVersion cannot be set on an object that is to be made"));
    }
    admit::generate_name(&mut object);
    access::owns(who, kind, object.name(), &object.0)?;
    object.stamp_new(&uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
    if kind.status {
        admit::first_status(&mut object);
    }
    let mut warnings = admit::check(api, who, manner, &mut object, None).await?;
    let home = admit::namespace_is_there(api, &object).await?;
    pinned::pin(api, &mut object).await?;
    imports::check(api, &object, None).await?;
    warnings.extend(apps::missing_secrets(api, &object).await?);
    let mut writes = if kind == &APP { apps::writes(api, who, &object, None).await? } else { vec![Write::Create(object.clone())] };
    writes.extend(policy::quota(api, object.namespace(), &[&object]).await?);
    writes.extend(home);
    let object = commit(api, manner, object, writes).await?;
    Ok(Done { object, warnings, created: true })
}

/// PUT of a whole object, or of its status.
pub(super) async fn replace(call: Call) -> Result<Response> {
    let Call { api, who, target, query, headers, body } = call;
    let manner = Manner::of(&query)?;
    let value = body::json(&headers, body).await?;
    let form = Form::of(&headers, &query);
    let done = change(&api, &who, manner, &target, |_| Ok(value.clone())).await;
    let done = match done {
        // These are written by whoever comes first, again and again, so PUT makes them too.
        Err(refusal) if refusal.code == 404 && target.part.is_empty() && made_by_put(target.kind) => {
            make(&api, &who, manner, admit::envelope(&target, value)?).await?
        }
        other => other?,
    };
    Ok(respond(form, target.kind, &done))
}

fn made_by_put(kind: &Kind) -> bool {
    [&APP, &POLICY, &LEASE, &EVENT].contains(&kind)
}

/// PATCH of an object, or of its status.
pub(super) async fn patch(call: Call) -> Result<Response> {
    let Call { api, who, target, query, headers, body } = call;
    let manner = Manner::of(&query)?;
    let form = patch::Form::of(&headers)?;
    let bytes = body::whole(&headers, body).await?;
    let shown = Form::of(&headers, &query);
    let done = change(&api, &who, manner, &target, |old| patch::apply(form, &old.0, &bytes)).await?;
    Ok(respond(shown, target.kind, &done))
}

/// Reads the object, changes it and writes it back; again from the start where somebody else came in between. A client that
/// named the version it means gets its conflict from [`is_about`] then.
pub(super) async fn change(
    api: &Api,
    who: &crate::auth::Identity,
    manner: Manner,
    target: &Target,
    new: impl Fn(&Object) -> Result<Value>,
) -> Result<Done> {
    let mut tries = Tries::default();
    loop {
        let old = read::object(api, target).await?;
        let object = admit::envelope(target, new(&old)?)?;
        is_about(&object, &old)?;
        match put(api, who, manner, target, object, &old).await {
            Err(refusal) if tries.again(&refusal).await => {}
            done => return done,
        }
    }
}

/// 409 where the client means another version, or another object of the same name, than what is there.
fn is_about(object: &Object, old: &Object) -> Result<()> {
    let kind = old.known_kind().map_err(|e| Refusal::bad_request(e.to_string()))?;
    if !object.uid().is_empty() && object.uid() != old.uid() {
        let why = format!("its uid is {}, not {}: it was deleted and made again", old.uid(), object.uid());
        return Err(Refusal::conflict(kind, old.name(), &why));
    }
    match object.0["metadata"]["resourceVersion"].as_str() {
        None | Some("") => Ok(()),
        Some(version) if version == old.resource_version().to_string() => Ok(()),
        Some(_) => Err(Refusal::stale(kind, old.name())),
    }
}

async fn put(api: &Api, who: &crate::auth::Identity, manner: Manner, target: &Target, sent: Object, old: &Object) -> Result<Done> {
    let kind = target.kind;
    let mut object = if target.part == "status" { with_status(old, &sent) } else { with_old_status(kind, sent, old) };
    access::owns(who, kind, old.name(), &old.0)?;
    forget_roll_back(&mut object, old);
    object.stamp_changed(old);
    let version = json!(old.resource_version().to_string());
    object.metadata_mut().insert("resourceVersion".to_owned(), version);
    let mut warnings = Vec::new();
    let mut turn = None;
    if target.part.is_empty() {
        warnings = admit::check(api, who, manner, &mut object, Some(old)).await?;
        imports::check(api, &object, Some(old)).await?;
        warnings.extend(apps::missing_secrets(api, &object).await?);
        turn = policy::quota(api, object.namespace(), &[&object]).await?;
        object.stamp_changed(old);
    }
    if object == *old {
        if kind == &APP && target.part.is_empty() && !manner.dry_run {
            repair(api, old).await?;
        }
        return Ok(Done { object, warnings, created: false });
    }
    let mut writes = writes(api, who, kind, &object, old).await?;
    writes.extend(turn);
    let object = commit(api, manner, object, writes).await?;
    Ok(Done { object, warnings, created: false })
}

/// Why an App was rolled back says nothing about the spec that somebody deploys next.
fn forget_roll_back(object: &mut Object, old: &Object) {
    let why = object.annotation(names::ROLLED_BACK);
    if object.kind() == "App"
        && why.is_some()
        && why == old.annotation(names::ROLLED_BACK)
        && !object.asks_the_same(old)
        && let Some(annotations) = object.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(names::ROLLED_BACK);
    }
}

/// What changes in the store, which for what belongs to an App is more than the object.
async fn writes(api: &Api, who: &crate::auth::Identity, kind: &'static Kind, object: &Object, old: &Object) -> Result<Vec<Write>> {
    // The last finalizer lets it go; a pod that drains has none, and goes when its node says so.
    let released = old.finalizers().next().is_some() && object.finalizers().next().is_none();
    if object.deletion_timestamp().is_some() && released {
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        return Ok(vec![Write::Delete { kind, namespace, name, resource_version: Some(old.resource_version()) }]);
    }
    if kind == &APP && !object.asks_the_same(old) {
        return apps::writes(api, who, object, Some(old)).await;
    }
    let mut writes = vec![Write::Update(object.clone())];
    if kind == &DEPLOYMENT && object.spec()["replicas"] != old.spec()["replicas"] {
        writes.extend(apps::write_through(api, object).await?);
    }
    Ok(writes)
}

/// Who deploys an App unchanged wants it whole.
async fn repair(api: &Api, app: &Object) -> Result<()> {
    let mut writes = apps::missing(api, app).await?;
    if writes.is_empty() {
        return Ok(());
    }
    writes.push(Write::same(&APP, app));
    api.0.objects.commit(writes).await.map_err(|e| reply::refusal(&APP, app.name(), e)).map(drop)
}

/// The old object with a new status.
fn with_status(old: &Object, sent: &Object) -> Object {
    let mut object = old.clone();
    object.set_status(sent.status().clone());
    object
}

/// The new object; where status is a subresource, with the old status.
fn with_old_status(kind: &Kind, sent: Object, old: &Object) -> Object {
    let mut object = sent;
    if kind.status
        && let Some(map) = object.0.as_object_mut()
    {
        match old.0.get("status") {
            Some(status) => map.insert("status".to_owned(), status.clone()),
            None => map.remove("status"),
        };
    }
    object
}

/// Commits, unless nothing is to be changed for good; gives the object as it is then stored.
async fn commit(api: &Api, manner: Manner, object: Object, writes: Vec<Write>) -> Result<Object> {
    if manner.dry_run {
        return Ok(object);
    }
    let kind = object.known_kind().map_err(|e| Refusal::bad_request(e.to_string()))?;
    let stored = api.0.objects.commit(writes).await.map_err(|e| reply::refusal(kind, object.name(), e))?;
    let same = |o: &Object| o.kind() == object.kind() && o.name() == object.name() && o.namespace() == object.namespace();
    Ok(stored.into_iter().find(same).unwrap_or(object))
}
