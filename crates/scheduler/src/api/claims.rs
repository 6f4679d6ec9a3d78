//! Which App has which host and path: one object for each claim, made in the App's commit, so that of two Apps one loses.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::kinds::{APP, ROUTE_CLAIM};
use crate::objects::{Object, Write};

use super::status::{Refusal, Result};
use super::{Api, reply};

/// What changes when an App's children change from `base` to `new`.
pub(super) async fn writes(api: &Api, app: &Object, new: &[Object], base: &[Object]) -> Result<Vec<Write>> {
    let (wanted, before) = (routes(new), routes(base));
    let mut writes = Vec::new();
    for (host, path) in &wanted {
        writes.extend(claim(api, app, host, path).await?);
    }
    for (host, path) in before.difference(&wanted) {
        writes.extend(release(api, app, host, path).await?);
    }
    Ok(writes)
}

/// Gives up all claims of an App.
pub(super) async fn removals(api: &Api, app: &Object, children: &[Object]) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    for (host, path) in routes(children) {
        writes.extend(release(api, app, &host, &path).await?);
    }
    Ok(writes)
}

/// Host and path of every route of the Ingresses among some objects.
fn routes(children: &[Object]) -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    for ingress in children.iter().filter(|c| c.kind() == "Ingress") {
        for rule in ingress.spec()["rules"].as_array().into_iter().flatten() {
            let host = rule["host"].as_str().unwrap_or_default().to_ascii_lowercase();
            for path in rule["http"]["paths"].as_array().into_iter().flatten() {
                let path = path["path"].as_str().unwrap_or("/").trim_end_matches('/');
                routes.insert((host.clone(), if path.is_empty() { "/".to_owned() } else { path.to_owned() }));
            }
        }
    }
    routes
}

async fn found(api: &Api, name: &str) -> Result<Option<Object>> {
    api.0.objects.get(&ROUTE_CLAIM, "", name).await.map_err(|e| reply::refusal(&ROUTE_CLAIM, name, e))
}

async fn claim(api: &Api, app: &Object, host: &str, path: &str) -> Result<Option<Write>> {
    let name = name(host, path);
    let mut claim = Object(json!({
        "apiVersion": "wctl.dev/v1", "kind": "RouteClaim", "metadata": { "name": name },
        "spec": { "host": host, "path": path, "namespace": app.namespace(), "app": app.name(), "uid": app.uid() },
    }));
    claim.stamp_new(&uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
    let Some(there) = found(api, &name).await? else { return Ok(Some(Write::Create(claim))) };
    if there.spec()["uid"] == app.uid() {
        return Ok(None);
    }
    let text = |field: &str| there.spec()[field].as_str().unwrap_or_default().to_owned();
    let (namespace, owner) = (text("namespace"), text("app"));
    let holder = api.0.objects.get(&APP, &namespace, &owner).await.map_err(|e| reply::refusal(&APP, &owner, e))?;
    if holder.is_some_and(|holder| there.spec()["uid"] == holder.uid()) {
        let message = format!(
            "the route {}{path} belongs to the app {owner} in the namespace {namespace}; choose another route, or remove it there",
            shown(host)
        );
        return Err(Refusal { message, ..Refusal::exists(&ROUTE_CLAIM, &name) });
    }
    // Its App is gone without having given it up.
    claim.metadata_mut().insert("resourceVersion".to_owned(), there.0["metadata"]["resourceVersion"].clone());
    Ok(Some(Write::Update(claim)))
}

fn shown(host: &str) -> &str {
    if host.is_empty() { "*" } else { host }
}

async fn release(api: &Api, app: &Object, host: &str, path: &str) -> Result<Option<Write>> {
    let name = name(host, path);
    let own = found(api, &name).await?.filter(|claim| claim.spec()["uid"] == app.uid());
    Ok(own.map(|claim| Write::Delete {
        kind: &ROUTE_CLAIM,
        namespace: String::new(),
        name,
        resource_version: Some(claim.resource_version()),
    }))
}

/// A claim's name: `shop.localhost:users` for `shop.localhost/users`; what a name cannot hold is written as `_` and two digits.
fn name(host: &str, path: &str) -> String {
    let mut name = String::new();
    for byte in format!("{}{path}", shown(host)).bytes() {
        match byte {
            b'/' => name.push(':'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'*' | b'~' => name.push(char::from(byte)),
            other => {
                let _ = write!(name, "_{other:02x}");
            }
        }
    }
    name
}

/// What to call the App that has a claim, for tables.
pub(super) fn owner(claim: &Value) -> String {
    format!("{}/{}", claim["spec"]["namespace"].as_str().unwrap_or("?"), claim["spec"]["app"].as_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_have_names_that_differ_when_routes_do() {
        assert_eq!(name("shop.localhost", "/users/a"), "shop.localhost:users:a");
        assert_eq!(name("", "/"), "*:");
        let all = ["/a:b", "/a/b", "/a_3ab", "/ä", "/a b"].map(|path| name("h", path));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
    }

    #[test]
    fn a_slash_at_the_end_makes_no_other_route() {
        let ingress = |path: &str| {
            Object(json!({ "kind": "Ingress", "spec": { "rules": [{ "host": "H", "http": { "paths": [{ "path": path }] } }] } }))
        };
        assert_eq!(routes(&[ingress("/a/")]), routes(&[ingress("/a")]));
        assert_eq!(routes(&[ingress("/")]), BTreeSet::from([("h".to_owned(), "/".to_owned())]));
    }
}
