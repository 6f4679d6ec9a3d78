//! What clients ask about themselves: who they are, and what they may do. Nothing of it is kept.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::auth::{self, Identity};
use crate::kinds::{KINDS, Kind};

use super::path::Review;
use super::status::Result;
use super::{body, discovery, reply};

/// Paths that everybody whose token is known may read.
const OPEN: &[&str] = &["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version"];

/// Answers a review, in the form of the object that asked.
pub(super) async fn answer(who: &Identity, review: Review, headers: &HeaderMap, body: Body) -> Result<Response> {
    let mut object = body::json(headers, body).await?;
    let (version, kind, status) = match review {
        Review::Who => ("authentication.k8s.io/v1", "SelfSubjectReview", whoami(who)),
        Review::Access => ("authorization.k8s.io/v1", "SelfSubjectAccessReview", access(who, &object["spec"])),
        Review::Rules => ("authorization.k8s.io/v1", "SelfSubjectRulesReview", rules(who, object["spec"]["namespace"].as_str())),
    };
    for (field, value) in [("apiVersion", json!(version)), ("kind", json!(kind)), ("status", status)] {
        object[field] = value;
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    Ok(reply::json(StatusCode::CREATED, &object, &[]))
}

fn whoami(who: &Identity) -> Value {
    let groups: Vec<&str> = who.groups.iter().map(String::as_str).chain(["system:authenticated"]).collect();
    json!({ "userInfo": { "username": who.name, "groups": groups } })
}

fn access(who: &Identity, spec: &Value) -> Value {
    let allowed = match (spec["resourceAttributes"].as_object(), spec["nonResourceAttributes"].as_object()) {
        (Some(resource), _) => may(who, |field| resource.get(field).and_then(Value::as_str).unwrap_or_default()),
        (None, Some(path)) => {
            let text = |field: &str| path.get(field).and_then(Value::as_str).unwrap_or_default();
            who.is_admin() || matches!(text("verb"), "get" | "head") && OPEN.iter().any(|open| covers(open, text("path")))
        }
        (None, None) => false,
    };
    let mut status = json!({ "allowed": allowed });
    if !allowed {
        status["reason"] = json!(format!("no role of {} grants it", who.name));
    }
    status
}

/// Whether somebody may do what these attributes name: `verb`, `group`, `resource`, `namespace`. `*` means all there is.
fn may<'a>(who: &Identity, text: impl Fn(&str) -> &'a str) -> bool {
    if who.is_admin() {
        return true;
    }
    let (group, resource, verb) = (text("group"), text("resource"), text("verb"));
    let namespace = Some(text("namespace")).filter(|namespace| !namespace.is_empty());
    let named: Vec<&Kind> = KINDS
        .iter()
        .copied()
        .filter(|kind| (group == "*" || group == kind.group) && (resource == "*" || resource == kind.plural))
        .collect();
    let verbs = |kind: &Kind| if verb == "*" { discovery::verbs(kind).to_vec() } else { vec![verb] };
    let part = text("subresource");
    let grants = |kind: &&Kind| {
        verbs(kind).into_iter().all(|verb| auth::authorize_part(who, verb, kind, part, namespace.filter(|_| kind.namespaced)))
    };
    // What asks about oneself is open to all.
    let review = verb == "create" && group.starts_with("auth") && resource.starts_with("selfsubject");
    review || !named.is_empty() && named.iter().all(grants)
}

fn covers(open: &str, path: &str) -> bool {
    open.strip_suffix('*').map_or(open == path, |start| path.starts_with(start))
}

/// All that somebody may do in a namespace.
fn rules(who: &Identity, namespace: Option<&str>) -> Value {
    let all = json!(["*"]);
    let open = json!({ "verbs": ["get"], "nonResourceURLs": OPEN });
    if who.is_admin() {
        let everything = json!({ "verbs": all, "apiGroups": all, "resources": all });
        return json!({ "resourceRules": [everything], "nonResourceRules": [{ "verbs": all, "nonResourceURLs": all }], "incomplete": false });
    }
    let mut rules = vec![json!({
        "verbs": ["create"], "apiGroups": ["authentication.k8s.io", "authorization.k8s.io"],
        "resources": ["selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    })];
    rules.extend(KINDS.iter().filter_map(|kind| {
        let may = |verb: &&&str| auth::authorize(who, verb, kind, namespace.filter(|_| kind.namespaced));
        let verbs: Vec<&&str> = discovery::verbs(kind).iter().filter(may).collect();
        (!verbs.is_empty()).then(|| json!({ "verbs": verbs, "apiGroups": [kind.group], "resources": [kind.plural] }))
    }));
    json!({ "resourceRules": rules, "nonResourceRules": [open], "incomplete": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(who: &Identity, verb: &str, group: &str, resource: &str, namespace: &str) -> bool {
        let spec = json!({ "resourceAttributes": { "verb": verb, "group": group, "resource": resource, "namespace": namespace } });
        access(who, &spec)["allowed"] == true
    }

    #[test]
    fn a_review_says_what_the_roles_say() {
        let (admin, alice) = (Identity::admin(), Identity::deployer("alice", "shop"));
        assert!(asks(&admin, "*", "*", "*", "") && asks(&admin, "create", "", "nothing", "x"));
        assert!(asks(&alice, "create", "apps", "deployments", "shop"));
        assert!(!asks(&alice, "create", "apps", "deployments", "other") && !asks(&alice, "list", "", "secrets", ""));
        assert!(!asks(&alice, "create", "", "deployments", "shop"), "there is no such resource in that group");
        let forwards = |who: &Identity| {
            let what = json!({ "verb": "create", "group": "", "resource": "pods", "subresource": "portforward", "namespace": "shop" });
            access(who, &json!({ "resourceAttributes": what }))["allowed"] == true
        };
        assert!(forwards(&alice) && forwards(&admin) && !forwards(&Identity::viewer("bob")));
        assert!(!asks(&alice, "*", "", "nodes", "") && asks(&alice, "list", "", "nodes", ""));
        assert!(asks(&Identity::viewer("bob"), "list", "", "pods", "") && !asks(&Identity::viewer("bob"), "delete", "", "pods", "shop"));
    }

    #[test]
    fn rules_list_what_one_may_do_in_a_namespace() {
        let rules = rules(&Identity::deployer("alice", "shop"), Some("shop"));
        let rule = |resource: &str| rules["resourceRules"].as_array().unwrap().iter().find(|r| r["resources"][0] == resource).cloned();
        assert!(rule("deployments").unwrap()["verbs"].as_array().unwrap().contains(&json!("create")));
        assert_eq!(rule("nodes").unwrap()["verbs"], json!(["get", "list", "watch"]));
        assert_eq!(rule("policies").unwrap()["verbs"], json!(["get", "list", "watch"]));
    }
}
