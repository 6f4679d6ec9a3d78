//! Create, replace and patch.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::Identity;
use crate::kinds::{APP, DEPLOYMENT, EVENT, Kind, LEASE, POLICY};
use crate::names;
use crate::objects::{Object, Write};

use super::admit::{self, Manner, Unknown};
use super::managed::{self, By, Managers};
use super::reply::{self, Form};
use super::status::{Refusal, Result};
use super::tries::Tries;
use super::{Api, Call, Target, access, apps, body, imports, node_ports, patch, pinned, policy, read, typed};

/// What came of a write.
pub(super) struct Done {
    pub(super) object: Object,
    pub(super) warnings: Vec<String>,
    pub(super) created: bool,
}

impl Done {
    /// Warns of what is told of the body, unless nobody wants to hear of it.
    fn tell(&mut self, manner: Manner, sentences: Vec<String>) {
        if manner.unknown == Unknown::Warn {
            self.warnings.extend(sentences);
        }
    }
}

fn respond(call_form: Form, kind: &Kind, done: Done) -> Response {
    let code = if done.created { StatusCode::CREATED } else { StatusCode::OK };
    reply::json(code, &call_form.one(kind, done.object.0, jiff::Timestamp::now()), &done.warnings)
}

/// POST of a new object.
pub(super) async fn create(call: Call) -> Result<Response> {
    let Call { api, who, target, query, headers, body, .. } = call;
    let manner = Manner::of(&query)?;
    let by = By::of(&who, target.kind, &target.part, &query, &headers)?;
    let (value, twice) = body::object(&headers, body, manner.unknown == Unknown::Refuse).await?;
    let object = admit::envelope(&target, value)?;
    let mut done = make(&api, &who, manner, object, |object| made_by(&by, object)).await?;
    done.tell(manner, twice);
    Ok(respond(Form::of(&headers, &query), target.kind, done))
}

/// The managers of an object that is new.
fn made_by(by: &By, object: &Object) -> Managers {
    let Ok(kind) = object.known_kind() else { return Managers::default() };
    Managers::default().updated(by, kind, None, object, &now())
}

/// The time, as managedFields have it.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Makes an object; again from the start where another write changed what its checks had read.
async fn make(api: &Api, who: &Identity, manner: Manner, object: Object, owners: impl Fn(&Object) -> Managers) -> Result<Done> {
    let mut tries = Tries::default();
    loop {
        match make_once(api, who, manner, object.clone(), &owners).await {
            Err(refusal) if tries.again(&refusal).await => {}
            done => return done,
        }
    }
}

async fn make_once(api: &Api, who: &Identity, manner: Manner, mut object: Object, owners: &impl Fn(&Object) -> Managers) -> Result<Done> {
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
    let turn = node_ports::choose(api, &mut object, None).await?;
    owners(&object).put_into(&mut object);
    let mut writes = if kind == &APP { apps::writes(api, who, &object, None).await? } else { vec![Write::Create(object.clone())] };
    writes.extend(policy::quota(api, object.namespace(), &[&object]).await?);
    writes.extend(turn);
    writes.extend(home);
    let object = commit(api, manner, object, writes).await?;
    Ok(Done { object, warnings, created: true })
}

/// PUT of a whole object, or of its status.
pub(super) async fn replace(call: Call) -> Result<Response> {
    let Call { api, who, target, query, headers, body, .. } = call;
    let manner = Manner::of(&query)?;
    let (value, twice) = body::object(&headers, body, manner.unknown == Unknown::Refuse).await?;
    let by = By::of(&who, target.kind, &target.part, &query, &headers)?;
    let form = Form::of(&headers, &query);
    let done = change(&api, &who, manner, &by, &target, |_| Ok(value.clone())).await;
    let mut done = match done {
        // These are written by whoever comes first, again and again, so PUT makes them too.
        Err(refusal) if refusal.code == 404 && target.part.is_empty() && made_by_put(target.kind) => {
            make(&api, &who, manner, admit::envelope(&target, value)?, |object| made_by(&by, object)).await?
        }
        other => other?,
    };
    done.tell(manner, twice);
    Ok(respond(form, target.kind, done))
}

fn made_by_put(kind: &Kind) -> bool {
    [&APP, &POLICY, &LEASE, &EVENT].contains(&kind)
}

/// PATCH of an object, or of its status.
pub(super) async fn patch(call: Call) -> Result<Response> {
    let Call { api, who, target, query, headers, body, .. } = call;
    let manner = Manner::of(&query)?;
    let form = patch::Form::of(&headers)?;
    let by = By::of(&who, target.kind, &target.part, &query, &headers)?;
    let bytes = body::whole(&headers, body).await?;
    let shown = Form::of(&headers, &query);
    let done = if form == patch::Form::Apply {
        apply(&api, &who, manner, &by, &target, patch::config(&bytes)?, query.flag("force")).await?
    } else {
        change(&api, &who, manner, &by, &target, |old| patch::apply(form, target.kind, &old.0, &bytes)).await?
    };
    Ok(respond(shown, target.kind, done))
}

/// Server-side apply: what a manager wants of an object, which is made where it is not there.
async fn apply(api: &Api, who: &Identity, manner: Manner, by: &By, target: &Target, config: Value, force: bool) -> Result<Done> {
    if !config["metadata"]["managedFields"].is_null() {
        return Err(Refusal::bad_request("metadata.managedFields must be nil: who owns what is the server's to write"));
    }
    let mut config = admit::envelope(target, config)?;
    only_its_part(target, &mut config);
    let mut tries = Tries::default();
    loop {
        let old = match read::object(api, target).await {
            Ok(old) => Some(old),
            Err(refusal) if refusal.code == 404 && target.part.is_empty() => {
                access::may_too(who, "create", target)?;
                None
            }
            Err(refusal) => return Err(refusal),
        };
        if let Some(old) = &old {
            is_about(&config, old)?;
        }
        let (object, managers) = managed::applied(by, target.kind, old.as_ref(), &config, force, &now())?;
        let done = match &old {
            Some(old) => put(api, who, manner, target, object, old, |_| managers.clone()).await,
            None => make_once(api, who, manner, object, &|_| managers.clone()).await,
        };
        match done {
            // Somebody else made it meanwhile. Whatever else is in its way is there to stay.
            Err(refusal) if old.is_none() && refusal.reason == "AlreadyExists" && refusal.is_about(target) && tries.more() => {}
            Err(refusal) if tries.again(&refusal).await => {}
            done => return done,
        }
    }
}

/// What is applied to the status says nothing about the rest, and the other way round.
fn only_its_part(target: &Target, config: &mut Object) {
    let Some(map) = config.0.as_object_mut() else { return };
    if target.part == "status" {
        map.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| matches!(field.as_str(), "name" | "namespace" | "uid" | "resourceVersion"));
        }
    } else if target.kind.status {
        map.remove("status");
    }
}

/// Reads the object, changes it and writes it back; again from the start where somebody else came in between. A client that
/// named the version it means gets its conflict from [`is_about`] then.
pub(super) async fn change(
    api: &Api,
    who: &Identity,
    manner: Manner,
    by: &By,
    target: &Target,
    new: impl Fn(&Object) -> Result<Value>,
) -> Result<Done> {
    let mut tries = Tries::default();
    loop {
        let old = read::object(api, target).await?;
        let value = new(&old)?;
        // A client may hand ownership over, as kubectl does when it begins to apply on the server.
        let before = Managers::of(&value).or_else(|| Managers::of(&old.0)).unwrap_or_default();
        let object = admit::envelope(target, value)?;
        is_about(&object, &old)?;
        let owners = |object: &Object| before.clone().updated(by, target.kind, Some(&old), object, &now());
        match put(api, who, manner, target, object, &old, owners).await {
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

async fn put(
    api: &Api,
    who: &Identity,
    manner: Manner,
    target: &Target,
    sent: Object,
    old: &Object,
    owners: impl Fn(&Object) -> Managers,
) -> Result<Done> {
    let kind = target.kind;
    let mut object = if target.part == "status" { with_status(old, &sent) } else { with_old_status(kind, sent, old) };
    access::owns(who, kind, old.name(), &old.0)?;
    typed::restore(api, kind, &mut object, old).await?;
    forget_roll_back(&mut object, old);
    object.stamp_changed(old);
    let version = json!(old.resource_version().to_string());
    object.metadata_mut().insert("resourceVersion".to_owned(), version);
    let mut warnings = Vec::new();
    let mut turn = None;
    if target.part.is_empty() {
        warnings = admit::check(api, who, manner, &mut object, Some(old)).await?;
        pinned::pin_again(api, &mut object, old).await?;
        imports::check(api, &object, Some(old)).await?;
        warnings.extend(apps::missing_secrets(api, &object).await?);
        turn = match policy::quota(api, object.namespace(), &[&object]).await? {
            None => node_ports::choose(api, &mut object, Some(old)).await?,
            turn => turn,
        };
        object.stamp_changed(old);
    }
    owners(&object).put_into(&mut object);
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
async fn writes(api: &Api, who: &Identity, kind: &'static Kind, object: &Object, old: &Object) -> Result<Vec<Write>> {
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
    let mut writes = apps::missing(api, app, true).await?;
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
