//! Deletion of one object, and of all that a selector matches.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::Identity;
use crate::kinds::{APP, KINDS, Kind, LEASE, NAMESPACE, NODE, POD};
use crate::model::LEASES;
use crate::names;
use crate::objects::{self, Object, Write};

use super::admit::Manner;
use super::path::Query;
use super::reply::{self, Form};
use super::selector::Selector;
use super::status::{self, Refusal, Result};
use super::tries::Tries;
use super::{Api, Call, Target, access, apps, body, read};

/// Objects of a namespace that are deleted in one commit.
const BATCH: usize = 100;

/// What a client says about a deletion, in the URL or in the body.
#[derive(Debug, Default)]
pub(super) struct Options {
    uid: Option<String>,
    version: Option<String>,
    /// What it owns stays.
    orphan: bool,
    /// What it owns goes first.
    foreground: bool,
    dry_run: bool,
    /// Seconds that a pod has to finish its requests; its own number where nothing is said.
    grace: Option<u64>,
}

impl Options {
    pub(super) fn of(query: &Query, body: &Value) -> Result<Options> {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let policy = query.get("propagationPolicy").map(str::to_owned).or_else(|| text("/propagationPolicy"));
        if let Some(other) = policy.as_deref().filter(|policy| !["Background", "Foreground", "Orphan"].contains(policy)) {
            return Err(Refusal::bad_request(format!("propagationPolicy must be Background, Foreground or Orphan, not {other:?}")));
        }
        // kubectl of old, and many a client, still says it so.
        let orphan = policy.as_deref() == Some("Orphan") || (policy.is_none() && body["orphanDependents"] == true);
        let foreground = policy.as_deref() == Some("Foreground");
        let dry_run = Manner::of(query)?.dry_run || body["dryRun"].as_array().is_some_and(|d| d.iter().any(|d| d == "All"));
        let grace = query.number("gracePeriodSeconds")?.or_else(|| body["gracePeriodSeconds"].as_u64());
        Ok(Options { uid: text("/preconditions/uid"), version: text("/preconditions/resourceVersion"), orphan, foreground, dry_run, grace })
    }

    fn check(&self, kind: &Kind, object: &Object) -> Result<()> {
        let version = object.resource_version().to_string();
        let differs = |wanted: &Option<String>, is: &str| wanted.as_deref().is_some_and(|wanted| wanted != is);
        if differs(&self.uid, object.uid()) || differs(&self.version, &version) {
            let why = format!("the precondition does not hold: its uid is {} and its resourceVersion {version}", object.uid());
            return Err(Refusal::conflict(kind, object.name(), &why));
        }
        Ok(())
    }
}

async fn options(query: &Query, headers: &http::HeaderMap, given: axum::body::Body) -> Result<Options> {
    let value = body::any(headers, given).await?;
    Options::of(query, &value)
}

/// DELETE of one object.
pub(super) async fn one(call: Call) -> Result<Response> {
    let Call { api, who, target, query, headers, body, .. } = call;
    let options = options(&query, &headers, body).await?;
    let object = remove(&api, &who, &target, &options).await?;
    // What is not gone yet is shown as it is now.
    let body = if object.deletion_timestamp().is_none() { status::success(target.kind, object.name(), object.uid()) } else { object.0 };
    Ok(reply::json(StatusCode::OK, &body, &[]))
}

/// DELETE of all objects that a selector matches.
pub(super) async fn all(call: Call) -> Result<Response> {
    let Call { api, who, target, query, headers, body, .. } = call;
    let selector = Selector::of(target.kind, &query)?;
    let options = options(&query, &headers, body).await?;
    let selected = read::select(&api, &target, &selector, None, None).await?;
    for item in &selected.items {
        let object = Object(item.clone());
        let namespace = target.kind.namespaced.then(|| object.namespace().to_owned());
        let each = Target { kind: target.kind, namespace, name: Some(object.name().to_owned()), part: String::new() };
        match remove(&api, &who, &each, &options).await {
            Err(refusal) if refusal.code == 404 => {}
            other => drop(other?),
        }
    }
    let meta = json!({ "resourceVersion": selected.version.to_string() });
    let body = Form::Whole.list(target.kind, selected.items, meta);
    Ok(reply::json(StatusCode::OK, &body, &[]))
}

/// Removes an object, or says that it is to go.
pub(super) async fn remove(api: &Api, who: &Identity, target: &Target, options: &Options) -> Result<Object> {
    let mut tries = Tries::default();
    loop {
        match remove_once(api, who, target, options, None).await {
            Err(refusal) if tries.again(&refusal).await => {}
            done => return done,
        }
    }
}

/// Removes a pod, unless what its removal depends on changes meanwhile: 409.
pub(super) async fn remove_guarded(api: &Api, who: &Identity, target: &Target, options: &Options, guard: Write) -> Result<Object> {
    remove_once(api, who, target, options, Some(guard)).await
}

async fn remove_once(api: &Api, who: &Identity, target: &Target, options: &Options, guard: Option<Write>) -> Result<Object> {
    let object = read::object(api, target).await?;
    options.check(target.kind, &object)?;
    access::owns(who, target.kind, object.name(), &object.0)?;
    if options.dry_run {
        return Ok(object);
    }
    attempt(api, target, &object, options, guard).await.map_err(|refusal| about_another(refusal, &object))
}

/// A child that went while its App was being deleted is a conflict, and no reason to say that the App is not there.
fn about_another(refusal: Refusal, object: &Object) -> Refusal {
    let another = refusal.code == 404 && refusal.about.as_deref().is_some_and(|(_, _, name)| name != object.name());
    if another { Refusal { code: 409, reason: "Conflict", ..refusal } } else { refusal }
}

async fn attempt(api: &Api, target: &Target, object: &Object, options: &Options, guard: Option<Write>) -> Result<Object> {
    let kind = target.kind;
    let refusal = |e| reply::refusal(kind, object.name(), e);
    // Apps, namespaces and nodes have an order of their own, and a pod owns nothing.
    if options.foreground && ![&APP, &NAMESPACE, &NODE, &POD].contains(&kind) {
        let mut object = object.clone();
        add_finalizer(&mut object);
        return mark(api, &object, 0, guard).await;
    }
    if object.finalizers().next().is_some() {
        return mark(api, object, 0, guard).await;
    }
    if kind == &POD && !object.spec()["nodeName"].is_null() && !ended(object) {
        let own = object.spec()["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
        let grace = options.grace.unwrap_or(own);
        // Its node takes it out of routing, lets it finish, and deletes it with a grace of 0.
        if grace > 0 {
            return mark(api, object, grace, guard).await;
        }
    }
    if kind == &NAMESPACE {
        return namespace(api, object).await;
    }
    let mut writes = if kind == &APP && !options.orphan {
        apps::removals(api, object).await?
    } else {
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        vec![Write::Delete { kind, namespace, name, resource_version: Some(object.resource_version()) }]
    };
    if kind == &NODE {
        writes.extend(sign_of_life(api, object.name()).await?);
    }
    if options.orphan {
        writes.extend(disowned(api, object).await?);
    }
    writes.extend(guard);
    api.0.objects.commit(writes).await.map_err(refusal)?;
    let mut gone = object.clone();
    gone.metadata_mut().remove("deletionTimestamp");
    Ok(gone)
}

/// A node's Lease goes with it: a node that is there all the same finds that out when it next renews, and registers again.
async fn sign_of_life(api: &Api, node: &str) -> Result<Option<Write>> {
    let found = api.0.objects.get(&LEASE, LEASES, node).await.map_err(|e| reply::refusal(&LEASE, node, e))?;
    // It changes each second, so no version is asked for.
    let delete = |_| Write::Delete { kind: &LEASE, namespace: LEASES.to_owned(), name: node.to_owned(), resource_version: None };
    Ok(found.map(delete))
}

/// Whether a pod has nothing left to finish.
fn ended(pod: &Object) -> bool {
    matches!(pod.status()["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Says that an object is to go, to those who still have to finish something before it does.
async fn mark(api: &Api, object: &Object, grace: u64, guard: Option<Write>) -> Result<Object> {
    if object.deletion_timestamp().is_some() {
        return Ok(object.clone());
    }
    let kind = object.known_kind().map_err(|e| Refusal::internal(e.to_string()))?;
    let mut marked = object.clone();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    marked.metadata_mut().insert("deletionTimestamp".to_owned(), json!(now));
    marked.metadata_mut().insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    let writes = std::iter::once(Write::Update(marked.clone())).chain(guard).collect();
    let stored = api.0.objects.commit(writes).await.map_err(|e| reply::refusal(kind, object.name(), e))?;
    Ok(stored.into_iter().next().unwrap_or(marked))
}

/// Says that what an object owns is to go first; the scheduler sees to it.
fn add_finalizer(object: &mut Object) {
    let mut finalizers: Vec<Value> = object.finalizers().map(Value::from).filter(|finalizer| finalizer != names::FOREGROUND).collect();
    finalizers.push(json!(names::FOREGROUND));
    object.metadata_mut().insert("finalizers".to_owned(), finalizers.into());
}

/// Dependents without their reference to an owner that goes alone.
async fn disowned(api: &Api, owner: &Object) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    for kind in KINDS.iter().copied().filter(|kind| kind.namespaced) {
        let list = api.0.objects.list(kind, Some(owner.namespace()), 0, None).await.map_err(|e| reply::refusal(kind, "", e))?;
        for mut object in list.items {
            let Some(owners) = object.metadata_mut().get_mut("ownerReferences").and_then(Value::as_array_mut) else { continue };
            let before = owners.len();
            owners.retain(|reference| reference["uid"] != owner.uid());
            if owners.len() != before {
                writes.push(Write::Update(object));
            }
        }
    }
    Ok(writes)
}

/// A namespace and everything in it: nothing new comes in first, then it is emptied, then it goes.
async fn namespace(api: &Api, namespace: &Object) -> Result<Object> {
    let name = namespace.name();
    if name == names::DEFAULT_NAMESPACE {
        return Err(Refusal::forbidden(&NAMESPACE, name, "it is the namespace that is meant when none is named, so it stays"));
    }
    let mut going = namespace.clone();
    going.set_status(json!({ "phase": "Terminating" }));
    let going = mark(api, &going, 0, None).await?;
    // Apps first: with them go their children and the routes that they claim.
    let kinds = std::iter::once(&APP).chain(KINDS.iter().copied().filter(|kind| kind.namespaced && *kind != &APP));
    for kind in kinds {
        empty(api, kind, name).await?;
    }
    let version = Some(going.resource_version());
    let delete = Write::Delete { kind: &NAMESPACE, namespace: String::new(), name: name.to_owned(), resource_version: version };
    match api.0.objects.commit(vec![delete]).await {
        // The loop has seen that it is empty, too.
        Ok(_) | Err(objects::Error::NotFound { .. }) => Ok(namespace.clone()),
        Err(error) => Err(reply::refusal(&NAMESPACE, name, error)),
    }
}

async fn empty(api: &Api, kind: &'static Kind, namespace: &str) -> Result<()> {
    loop {
        let page = api.0.objects.list(kind, Some(namespace), BATCH, None).await.map_err(|e| reply::refusal(kind, "", e))?;
        if page.items.is_empty() {
            return Ok(());
        }
        for object in &page.items {
            let writes = if kind == &APP {
                apps::removals(api, object).await?
            } else {
                let name = object.name().to_owned();
                vec![Write::Delete { kind, namespace: namespace.to_owned(), name, resource_version: None }]
            };
            match api.0.objects.commit(writes).await.map_err(|e| reply::refusal(kind, object.name(), e)) {
                // Somebody else changed or deleted it meanwhile; the next round sees how it is now.
                Err(refusal) if matches!(refusal.code, 404 | 409) => {}
                other => drop(other?),
            }
        }
    }
}
