//! Writes of an App: its children, its routes and its revision, all in the App's own commit.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::app;
use crate::auth::Identity;
use crate::kinds::{APP, CONTROLLER_REVISION, DEPLOYMENT, Kind, SECRET};
use crate::names;
use crate::objects::{self, Object, Write};
use crate::reconcile::{AppWriter, Written};

use super::admit::{self, Manner, Unknown};
use super::status::{Cause, Refusal, Result};
use super::tries::Tries;
use super::{Api, claims, policy, reply};

/// Everything that a new spec of an App changes in the store. `app` is stamped; `old` is what it replaces.
pub(super) async fn writes(api: &Api, who: &Identity, app: &Object, old: Option<&Object>) -> Result<Vec<Write>> {
    let new = expand(app)?;
    let base = old.map(expand).transpose()?.unwrap_or_default();
    let mut writes = vec![if old.is_some() { Write::Update(app.clone()) } else { Write::Create(app.clone()) }];
    writes.extend(policy::quota(api, app.namespace(), &new.iter().collect::<Vec<_>>()).await?);
    for child in &new {
        writes.extend(child_write(api, who, app, child, same_name(&base, child)).await?);
    }
    for gone in base.iter().filter(|child| same_name(&new, child).is_none()) {
        writes.extend(removal(api, app, gone).await?);
    }
    writes.extend(claims::writes(api, app, &new, &base).await?);
    writes.push(revision(api, app).await?);
    // One is left for what the App's namespace is guarded with.
    let most = objects::MAX_WRITES - 1;
    if writes.len() > most {
        let what = format!("this changes {} objects at once and {most} fit in one step; deploy it in several", writes.len());
        return Err(admit::wrong(app, Cause::invalid("spec", what)));
    }
    Ok(writes)
}

fn same_name<'a>(children: &'a [Object], child: &Object) -> Option<&'a Object> {
    children.iter().find(|c| c.kind() == child.kind() && c.name() == child.name())
}

/// The Deployments, Services and Ingresses of an App.
pub(super) fn expand(app: &Object) -> Result<Vec<Object>> {
    let children = app::expand(&app.0).map_err(|error| match error {
        app::Error::Spec { mistakes, .. } => Refusal::invalid(&APP, app.name(), mistakes.0.iter().map(cause).collect()),
        other => admit::wrong(app, Cause::invalid("spec", other.to_string())),
    })?;
    Ok(children.into_iter().map(Object).collect())
}

fn cause(mistake: &app::Mistake) -> Cause {
    let meant = mistake.meant.as_ref().map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    Cause::invalid(mistake.path.clone(), format!("{}{meant}", mistake.message))
}

/// A sentence for each secret that an App uses and its namespace does not have: the App may come before its secrets.
pub(super) async fn missing_secrets(api: &Api, object: &Object) -> Result<Vec<String>> {
    let Some(spec) = (object.kind() == "App").then(|| app::AppSpec::read(object.spec()).ok()).flatten() else { return Ok(Vec::new()) };
    if spec.secrets().is_empty() {
        return Ok(Vec::new());
    }
    let found =
        api.0.objects.get(&SECRET, object.namespace(), names::SECRETS).await.map_err(|e| reply::refusal(&SECRET, names::SECRETS, e))?;
    let there = |name: &str| found.as_ref().is_some_and(|secret| secret.0["data"].get(name).is_some());
    Ok(spec.missing_secrets(object.namespace(), &there))
}

async fn current(api: &Api, child: &Object) -> Result<(&'static Kind, Option<Object>)> {
    let kind = child.known_kind().map_err(|e| Refusal::internal(e.to_string()))?;
    let found = api.0.objects.get(kind, child.namespace(), child.name()).await;
    Ok((kind, found.map_err(|e| reply::refusal(kind, child.name(), e))?))
}

/// Makes or changes one child, if it is not already as it should be.
async fn child_write(api: &Api, who: &Identity, app: &Object, child: &Object, base: Option<&Object>) -> Result<Option<Write>> {
    let (kind, live) = current(api, child).await?;
    let manner = Manner { dry_run: false, unknown: Unknown::Ignore };
    let Some(live) = live else {
        let mut child = child.clone();
        child.stamp_new(&uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
        admit::check(api, who, manner, &mut child, None).await?;
        return Ok(Some(Write::Create(child)));
    };
    if live.controller_uid() != Some(app.uid()) {
        return Err(taken(kind, &live));
    }
    let mut child = Object(merged(base.map(|b| &b.0), &child.0, &live.0));
    // A service that is scaled from now on starts from the pods that it has.
    if kind == &DEPLOYMENT && child.spec()["replicas"].is_null() {
        child.0["spec"]["replicas"] = live.spec()["replicas"].clone();
    }
    admit::check(api, who, manner, &mut child, Some(&live)).await?;
    child.stamp_changed(&live);
    Ok((child != live).then_some(Write::Update(child)))
}

/// 409 that says who has the name.
fn taken(kind: &Kind, live: &Object) -> Refusal {
    let owner = match live.controller() {
        Some(owner) => format!("belongs to the {} {}", owner["kind"].as_str().unwrap_or("object"), owner["name"].as_str().unwrap_or("?")),
        None => "was made by hand and belongs to no App".to_owned(),
    };
    let message = format!(
        "the {} {} exists already and {owner}; choose another name for the app or the service, or delete that one",
        kind.kind,
        live.name()
    );
    Refusal { message, ..Refusal::exists(kind, live.name()) }
}

/// What the App says now wins; what it said before and no longer says goes; what others added stays.
fn merged(base: Option<&Value>, new: &Value, live: &Value) -> Value {
    let (Value::Object(wanted), Value::Object(there)) = (new, live) else { return new.clone() };
    let mut out = there.clone();
    for key in base.and_then(Value::as_object).into_iter().flat_map(|b| b.keys()) {
        if !wanted.contains_key(key) {
            out.remove(key);
        }
    }
    for (key, value) in wanted {
        let value = match there.get(key) {
            Some(live) => merged(base.and_then(|b| b.get(key)), value, live),
            None => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    Value::Object(out)
}

/// Removes one child, if it is there and the App's.
async fn removal(api: &Api, app: &Object, child: &Object) -> Result<Option<Write>> {
    let (kind, live) = current(api, child).await?;
    let own = live.filter(|live| live.controller_uid() == Some(app.uid()));
    Ok(own.map(|live| delete(kind, &live)))
}

fn delete(kind: &'static Kind, live: &Object) -> Write {
    let (namespace, name) = (live.namespace().to_owned(), live.name().to_owned());
    Write::Delete { kind, namespace, name, resource_version: Some(live.resource_version()) }
}

/// The ControllerRevision of the App's generation: its whole spec.
async fn revision(api: &Api, app: &Object) -> Result<Write> {
    let mut revision = Object(json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": revision_name(app.name(), app.generation()), "namespace": app.namespace(),
            "labels": { (names::APP): app.name() }, "ownerReferences": [app.controller_reference()],
        },
        "revision": app.generation(),
        "data": { "spec": app.spec() },
    }));
    revision.stamp_new(&uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
    if let Some(why) = app.annotation(names::ROLLED_BACK) {
        revision.set_annotation(names::ROLLED_BACK, why);
    }
    // One that is there already was left by a deleted App of this name.
    let (_, left) = current(api, &revision).await?;
    Ok(if left.is_some() { Write::Update(revision) } else { Write::Create(revision) })
}

fn revision_name(app: &str, generation: i64) -> String {
    format!("{app}-{generation}")
}

/// What the App itself changes by when one of its Deployments is scaled.
pub(super) async fn write_through(api: &Api, deployment: &Object) -> Result<Vec<Write>> {
    let (Some((name, uid)), Some(service)) = (admit::app_of(deployment), deployment.label(names::SERVICE)) else { return Ok(Vec::new()) };
    let found = api.0.objects.get(&APP, deployment.namespace(), name).await.map_err(|e| reply::refusal(&APP, name, e))?;
    let Some(old) = found.filter(|app| app.uid() == uid) else { return Ok(Vec::new()) };
    let mut app = old.clone();
    let Some(service) = app.0.pointer_mut("/spec/services").and_then(|s| s.get_mut(service)).and_then(Value::as_object_mut) else {
        return Ok(Vec::new());
    };
    if service.contains_key("scale") {
        return Ok(Vec::new());
    }
    service.insert("replicas".to_owned(), deployment.spec()["replicas"].clone());
    app.stamp_changed(&old);
    if app == old {
        return Ok(Vec::new());
    }
    Ok(vec![Write::Update(app.clone()), revision(api, &app).await?])
}

/// The App, its children, routes and revisions: all gone in one commit. What does not fit in one is left to the collection of
/// orphans.
pub(super) async fn removals(api: &Api, app: &Object) -> Result<Vec<Write>> {
    let children = expand(app).unwrap_or_default();
    let mut writes = vec![delete(&APP, app)];
    writes.extend(claims::removals(api, app, &children).await?);
    for child in &children {
        writes.extend(removal(api, app, child).await?);
    }
    for generation in (app.generation() - 20).max(1)..=app.generation() {
        let name = revision_name(app.name(), generation);
        let found = api.0.objects.get(&CONTROLLER_REVISION, app.namespace(), &name).await;
        let found = found.map_err(|e| reply::refusal(&CONTROLLER_REVISION, &name, e))?;
        writes.extend(found.filter(|r| r.controller_uid() == Some(app.uid())).map(|r| delete(&CONTROLLER_REVISION, &r)));
    }
    writes.truncate(objects::MAX_WRITES);
    Ok(writes)
}

/// What an App stands for and is not there, to be made again; nothing else of it changes.
/// A job that ran once is made again, and then runs again, only where a person asks for it.
pub(super) async fn missing(api: &Api, app: &Object, asked: bool) -> Result<Vec<Write>> {
    let mut absent = Vec::new();
    for child in expand(app)?.into_iter().filter(|child| asked || child.kind() != "Job") {
        match current(api, &child).await? {
            (_, None) => absent.push(child),
            (kind, Some(live)) if live.controller_uid() != Some(app.uid()) => return Err(taken(kind, &live)),
            _ => {}
        }
    }
    if absent.is_empty() {
        return Ok(Vec::new());
    }
    let mut writes = Vec::new();
    for child in &absent {
        writes.extend(child_write(api, &Identity::admin(), app, child, None).await?);
    }
    writes.extend(claims::writes(api, app, &absent, &[]).await?);
    writes.extend(policy::quota(api, app.namespace(), &absent.iter().collect::<Vec<_>>()).await?);
    writes.extend(admit::namespace_is_there(api, app).await?);
    Ok(writes)
}

#[async_trait]
impl AppWriter for Api {
    async fn remake(&self, namespace: &str, app: &str, generation: i64) -> std::result::Result<Written, String> {
        let mut tries = Tries::default();
        loop {
            match remake_once(self, namespace, app, generation).await {
                Err(refusal) if tries.again(&refusal).await => {}
                done => return done.map_err(|refusal| refusal.message),
            }
        }
    }

    async fn roll_back(
        &self,
        namespace: &str,
        app: &str,
        generation: i64,
        revision: i64,
        why: &str,
    ) -> std::result::Result<Written, String> {
        let mut tries = Tries::default();
        loop {
            match roll_back_once(self, namespace, app, generation, revision, why).await {
                Err(refusal) if tries.again(&refusal).await => {}
                done => return done.map_err(|refusal| refusal.message),
            }
        }
    }
}

async fn remake_once(api: &Api, namespace: &str, name: &str, generation: i64) -> Result<Written> {
    let refusal = |e| reply::refusal(&APP, name, e);
    let found = api.0.objects.get(&APP, namespace, name).await.map_err(refusal)?;
    let Some(app) = found.filter(|app| app.generation() == generation) else { return Ok(Written::Stale) };
    let mut writes = missing(api, &app, false).await?;
    if !writes.is_empty() {
        // An App that is deleted meanwhile must not leave orphans.
        writes.push(Write::same(&APP, &app));
        api.0.objects.commit(writes).await.map_err(refusal)?;
    }
    Ok(Written::Done)
}

async fn roll_back_once(api: &Api, namespace: &str, name: &str, generation: i64, revision: i64, why: &str) -> Result<Written> {
    let found = api.0.objects.get(&APP, namespace, name).await.map_err(|e| reply::refusal(&APP, name, e))?;
    let Some(old) = found.filter(|app| app.generation() == generation) else { return Ok(Written::Stale) };
    let kept = revision_name(name, revision);
    let found = api.0.objects.get(&CONTROLLER_REVISION, namespace, &kept).await;
    let found = found.map_err(|e| reply::refusal(&CONTROLLER_REVISION, &kept, e))?;
    let found = found.filter(|r| r.controller_uid() == Some(old.uid())).ok_or_else(|| Refusal::not_found(&CONTROLLER_REVISION, &kept))?;
    let mut app = old.clone();
    app.0["spec"] = found.0["data"]["spec"].clone();
    app.set_annotation(names::ROLLED_BACK, why);
    app.stamp_changed(&old);
    let mut writes = writes(api, &Identity::admin(), &app, Some(&old)).await?;
    writes.extend(failed(api, &old, why).await?);
    api.0.objects.commit(writes).await.map_err(|e| reply::refusal(&APP, name, e))?;
    Ok(Written::Done)
}

/// Marks the revision that is left, so that nobody goes back to it unawares.
async fn failed(api: &Api, app: &Object, why: &str) -> Result<Option<Write>> {
    let name = revision_name(app.name(), app.generation());
    let found = api.0.objects.get(&CONTROLLER_REVISION, app.namespace(), &name).await;
    let found = found.map_err(|e| reply::refusal(&CONTROLLER_REVISION, &name, e))?;
    Ok(found.filter(|revision| revision.controller_uid() == Some(app.uid())).map(|mut revision| {
        revision.set_annotation(names::FAILED, why);
        Write::Update(revision)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_app_no_longer_says_goes_and_what_others_added_stays() {
        let base = json!({ "metadata": { "annotations": { "wctl.dev/connect": "https://a:443", "wctl.dev/time": "5s" } }, "spec": { "replicas": 1 } });
        let new = json!({ "metadata": { "annotations": { "wctl.dev/time": "6s" } }, "spec": { "replicas": 2 } });
        let live = json!({
            "metadata": { "uid": "u", "annotations": { "wctl.dev/connect": "https://a:443", "wctl.dev/time": "5s", "by": "hand" } },
            "spec": { "replicas": 7, "paused": true }, "status": { "replicas": 7 },
        });
        assert_eq!(
            merged(Some(&base), &new, &live),
            json!({
                "metadata": { "uid": "u", "annotations": { "wctl.dev/time": "6s", "by": "hand" } },
                "spec": { "replicas": 2, "paused": true }, "status": { "replicas": 7 },
            })
        );
    }
}
