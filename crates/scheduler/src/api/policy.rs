//! The ceiling of a namespace: what its deployers may ask for, checked here for App, Deployment, Pod and annotations alike.
//!
//! An App is checked as the Deployments and Ingresses that it expands to, so there is one set of rules. A `Policy` binds everybody;
//! loopback, link-local, node and control-plane addresses are the admin's alone to grant, policy or not.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use crate::auth::Identity;
use crate::kinds::{Kind, NODE, POLICY};
use crate::names;
use crate::objects::Object;

use super::status::{Cause, Refusal, Result};
use super::{Api, grants, node_ports, quantity, reply};

mod quota;

pub(super) use quota::quota;

/// `spec` of a Policy; what is absent is not limited.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rules {
    /// Hosts that guests may connect to: `api.mail.example`, `*.mail.example`, `*`.
    connect: Option<Vec<String>>,
    /// Ports of a node that guests may listen on: `5000`, `5000-5999`.
    listen: Option<Vec<String>>,
    /// Hosts that routes may claim, in the form of `connect`.
    hosts: Option<Vec<String>>,
    /// Where images may come from: `ghcr.io/acme`, or `embedded` for the cluster's own registry.
    registries: Option<Vec<String>>,
    /// Most that one pod may have.
    limits: Limits,
    /// Most that the namespace may have altogether.
    quota: Quota,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Limits {
    memory: Option<Value>,
    cpu: Option<Value>,
    time: Option<String>,
    concurrency: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Quota {
    pods: Option<u64>,
    memory: Option<Value>,
    cpu: Option<Value>,
}

/// What is wrong with a Policy itself: a rule with a typing error would otherwise limit nothing.
pub(super) fn malformed(kind: &Kind, object: &Value) -> Vec<Cause> {
    if kind != &POLICY {
        return Vec::new();
    }
    let mut causes = Vec::new();
    let known: [(&str, &[&str]); 3] = [
        ("spec", &["connect", "listen", "hosts", "registries", "limits", "quota"]),
        ("spec.limits", &["memory", "cpu", "time", "concurrency"]),
        ("spec.quota", &["pods", "memory", "cpu"]),
    ];
    for (at, fields) in known {
        let part = object.pointer(&format!("/{}", at.replace('.', "/"))).and_then(Value::as_object);
        for key in part.into_iter().flat_map(|map| map.keys()).filter(|key| !fields.contains(&key.as_str())) {
            causes.push(Cause::invalid(format!("{at}.{key}"), format!("is not a rule; there are {}", fields.join(", "))));
        }
    }
    if let Err(error) = Rules::deserialize(&object["spec"]) {
        causes.push(Cause::invalid("spec", error.to_string()));
    }
    for field in ["limits/memory", "limits/cpu", "quota/memory", "quota/cpu"] {
        if object.pointer(&format!("/spec/{field}")).is_some_and(|v| quantity::of(v).is_none()) {
            causes.push(Cause::invalid(format!("spec.{}", field.replace('/', ".")), "is not a quantity such as 64Mi or 200m"));
        }
    }
    for range in object["spec"]["listen"].as_array().into_iter().flatten().filter_map(Value::as_str).filter(|r| range_of(r).is_none()) {
        causes.push(Cause::invalid("spec.listen", format!("{range:?} is not a port or a range of ports such as 5000-5999")));
    }
    if object["spec"]["limits"]["time"].as_str().is_some_and(|t| grants::milliseconds(t).is_none()) {
        causes.push(Cause::invalid("spec.limits.time", "is not a time such as 5s or 500ms"));
    }
    causes
}

/// The rules of a namespace: all of its policies, each of which has to allow what is asked for.
async fn rules(api: &Api, namespace: &str) -> Result<Vec<(String, Rules)>> {
    let list = api.0.objects.list(&POLICY, Some(namespace), 0, None).await.map_err(|e| reply::refusal(&POLICY, "", e))?;
    let read = |policy: Object| {
        let rules = Rules::deserialize(policy.spec());
        // A policy that cannot be read might forbid anything.
        let unreadable = |e| Refusal::forbidden(&POLICY, policy.name(), &format!("it cannot be read, so nothing is allowed: {e}"));
        rules.map(|rules| (policy.name().to_owned(), rules)).map_err(unreadable)
    };
    list.items.into_iter().map(read).collect()
}

/// 403 where an object asks for more than its author may have. What stood there before and was not touched is not asked for again.
pub(super) async fn enforce(api: &Api, who: &Identity, object: &Object, old: Option<&Object>) -> Result<()> {
    let kind = object.known_kind().map_err(|e| Refusal::bad_request(e.to_string()))?;
    let namespace = object.namespace();
    let mut wrong = Vec::new();
    if let Some((template, at)) = grants::template(kind, &object.0) {
        let before = old.and_then(|old| grants::template(kind, &old.0)).map(|(template, _)| template);
        let same = before.is_some_and(|before| {
            before["spec"] == template["spec"] && before["metadata"]["annotations"] == template["metadata"]["annotations"]
        });
        if same {
            return Ok(());
        }
        for (name, rules) in rules(api, namespace).await? {
            wrong.extend(
                exceeded(&rules, template).into_iter().map(|(field, what)| (format!("{at}{field}"), format!("{what} (policy {name})"))),
            );
        }
        if !who.is_admin() {
            wrong.extend(
                forbidden_targets(api, template)
                    .await?
                    .into_iter()
                    .map(|what| (format!("{at}metadata.annotations[{}]", names::CONNECT), what)),
            );
            let low = grants::ports(template).into_iter().filter(|port| *port < FREE);
            let what = |port: u16| format!("port {port}/tcp belongs to the machine; only an admin may grant ports below {FREE}");
            wrong.extend(low.map(|port| (format!("{at}metadata.annotations[{}]", names::LISTEN), what(port))));
        }
    }
    if kind.kind == "Ingress" && old.is_none_or(|old| old.spec() != object.spec()) {
        for (name, rules) in rules(api, namespace).await? {
            wrong.extend(foreign_hosts(&rules, object).into_iter().map(|(field, what)| (field, format!("{what} (policy {name})"))));
        }
    }
    wrong.extend(node_ports::forbidden(who, object, old));
    if kind.kind == "Service" && old.is_none_or(|old| old.spec() != object.spec()) {
        let opened = node_ports::opened(object.spec());
        let all = if opened.is_empty() { Vec::new() } else { rules(api, namespace).await? };
        for (name, rules) in &all {
            let refused = opened.iter().filter(|(_, port)| !rules.may_listen(*port));
            let what =
                |port| format!("port {port}/tcp of the nodes may not be listened on here; allowed are {}", listed_or_none(&rules.listen));
            wrong.extend(refused.map(|(index, port)| (format!("spec.ports[{index}].port"), format!("{} (policy {name})", what(port)))));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let causes = wrong.into_iter().map(|(field, what)| Cause::forbidden(field, what)).collect::<Vec<_>>();
    let sentences: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
    Err(Refusal { causes, ..Refusal::forbidden(kind, object.name(), &sentences.join("; ")) })
}

impl Rules {
    fn may_listen(&self, port: u16) -> bool {
        let within = |allowed: &Vec<String>| allowed.iter().filter_map(|range| range_of(range)).any(|range| range.contains(&port));
        self.listen.as_ref().is_none_or(within)
    }
}

fn listed_or_none(allowed: &Option<Vec<String>>) -> String {
    listed(allowed.as_deref().unwrap_or_default())
}

/// Fields of a template that go over the rules, with what is allowed.
fn exceeded(rules: &Rules, template: &Value) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    let container = &template["spec"]["containers"][0];
    if let Some(allowed) = &rules.registries {
        let image = container["image"].as_str().unwrap_or_default();
        if !allowed.iter().any(|prefix| comes_from(image, prefix)) {
            wrong.push((
                "spec.containers[0].image".to_owned(),
                format!("{image} may not be used here; images come from {}", allowed.join(", ")),
            ));
        }
    }
    if let Some(allowed) = &rules.connect {
        for target in grants::targets(template).iter().filter(|t| !allowed.iter().any(|pattern| covers(pattern, &t.host))) {
            let field = format!("metadata.annotations[{}]", names::CONNECT);
            wrong.push((field, format!("{}:{} may not be reached from here; allowed are {}", target.host, target.port, listed(allowed))));
        }
    }
    if let Some(allowed) = &rules.listen {
        for port in grants::ports(template).into_iter().filter(|port| !rules.may_listen(*port)) {
            let field = format!("metadata.annotations[{}]", names::LISTEN);
            wrong.push((field, format!("port {port}/tcp may not be listened on here; allowed are {}", listed(allowed))));
        }
    }
    for (amount, most) in [("memory", &rules.limits.memory), ("cpu", &rules.limits.cpu)] {
        let Some(most) = most else { continue };
        let given = quantity::of(&container["resources"]["limits"][amount]);
        if given.is_none_or(|given| Some(given) > quantity::of(most)) {
            wrong.push((
                format!("spec.containers[0].resources.limits.{amount}"),
                format!("a limit of at most {} is needed here", plain(most)),
            ));
        }
    }
    if let Some(most) = &rules.limits.time {
        let given = grants::annotation(template, names::TIME).and_then(grants::milliseconds);
        if given.is_some_and(|given| Some(given) > grants::milliseconds(most)) {
            wrong.push((format!("metadata.annotations[{}]", names::TIME), format!("a request may take {most} at most here")));
        }
    }
    if let Some(most) = rules.limits.concurrency {
        let given = grants::annotation(template, names::CONCURRENCY).and_then(|t| t.parse::<u64>().ok());
        if given.is_some_and(|given| given > most) {
            wrong.push((format!("metadata.annotations[{}]", names::CONCURRENCY), format!("{most} at most are allowed here")));
        }
    }
    wrong
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn listed(allowed: &[String]) -> String {
    if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") }
}

/// Ports below this are those of a machine's own services.
const FREE: u16 = 1024;

/// `5000` or `5000-5999`.
fn range_of(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// Whether `*.mail.example` or `*` or the very name covers a host.
fn covers(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => suffix.starts_with('.') && host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

/// Whether an image comes from a registry, or from a part of it.
fn comes_from(image: &str, prefix: &str) -> bool {
    let Ok(reference) = image.parse::<artifact::Reference>() else { return false };
    match (reference.registry(), prefix) {
        (None, "embedded") => true,
        (None, _) | (_, "embedded") => false,
        (Some(registry), prefix) => {
            let whole = format!("{registry}/{}", reference.repository());
            whole.strip_prefix(prefix.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

fn foreign_hosts(rules: &Rules, ingress: &Object) -> Vec<(String, String)> {
    let Some(allowed) = &rules.hosts else { return Vec::new() };
    let rules = ingress.spec()["rules"].as_array().into_iter().flatten().enumerate();
    let foreign = rules.filter(|(_, rule)| {
        let host = rule["host"].as_str().unwrap_or_default().to_ascii_lowercase();
        !allowed.iter().any(|pattern| covers(pattern, &host))
    });
    let what = |(index, rule): (usize, &Value)| {
        let host = rule["host"].as_str().filter(|h| !h.is_empty()).unwrap_or("every host");
        (format!("spec.rules[{index}].host"), format!("{host} is not a host of this namespace; allowed are {}", listed(allowed)))
    };
    foreign.map(what).collect()
}

/// Targets that only an admin may grant.
async fn forbidden_targets(api: &Api, template: &Value) -> Result<Vec<String>> {
    let targets = grants::targets(template);
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let nodes = node_addresses(api).await?;
    let own = |host: &str| is_local(host) || nodes.iter().any(|node| node == host);
    let what = |host: &str| format!("{host} is an address of a machine of this cluster or of its link; only an admin may grant it");
    Ok(targets.iter().filter(|t| own(&t.host)).map(|t| what(&t.host)).collect())
}

async fn node_addresses(api: &Api) -> Result<Vec<String>> {
    let nodes = api.0.objects.list(&NODE, None, 0, None).await.map_err(|e| reply::refusal(&NODE, "", e))?;
    let addresses = nodes.items.iter().flat_map(|node| node.status()["addresses"].as_array().cloned().unwrap_or_default());
    let named = addresses.filter_map(|a| a["address"].as_str().map(str::to_ascii_lowercase));
    Ok(named.chain(nodes.items.iter().map(|node| node.name().to_owned())).collect())
}

/// Loopback, link-local, unspecified and the names for them. What a public name resolves to is checked when it is connected to.
fn is_local(host: &str) -> bool {
    if matches!(host, "localhost" | "*") || host.ends_with(".localhost") || host.ends_with(".internal") {
        return true;
    }
    let Ok(address) = host.parse::<IpAddr>() else { return false };
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || (v6.segments()[0] & 0xffc0) == 0xfe80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn local_addresses_are_known_in_every_spelling() {
        for local in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "user.internal",
            "*",
        ] {
            assert!(is_local(local), "{local}");
        }
        for far in ["10.0.0.1", "api.mail.example", "2001:db8::1", "localhost.example"] {
            assert!(!is_local(far), "{far}");
        }
    }

    #[test]
    fn patterns_cover_whole_labels() {
        assert!(covers("*", "a.b") && covers("*.b", "a.b") && covers("A.b", "a.b"));
        assert!(!covers("*.b", "b") && !covers("*b", "ab") && !covers("a.b", "x.a.b"));
    }

    #[test]
    fn images_come_from_whole_parts_of_a_registry() {
        assert!(comes_from("ghcr.io/acme/web:1", "ghcr.io/acme") && comes_from("web:1", "embedded"));
        assert!(
            !comes_from("ghcr.io/acmeevil/web:1", "ghcr.io/acme")
                && !comes_from("ghcr.io/acme/web", "embedded")
                && !comes_from("web", "ghcr.io")
        );
    }

    #[test]
    fn each_rule_says_what_is_allowed() {
        let rules = Rules::deserialize(&json!({
            "connect": ["*.mail.example"], "listen": ["80", "5000-5999"], "registries": ["ghcr.io/acme"], "limits": { "memory": "64Mi", "time": "5s", "concurrency": 10 },
        }));
        let template = json!({
            "metadata": { "annotations": { "wctl.dev/connect": "https://api.mail.example,tcp://db:5432", "wctl.dev/listen": "80/tcp,5999/tcp,6000/tcp", "wctl.dev/time": "6s", "wctl.dev/concurrency": "11" } },
            "spec": { "containers": [{ "image": "web", "resources": { "limits": { "memory": "65Mi" } } }] },
        });
        let fields: Vec<String> = exceeded(&rules.unwrap(), &template).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields.len(), 6, "{fields:?}");
        assert!(exceeded(&Rules::default(), &template).is_empty());
    }

    #[test]
    fn a_policy_with_a_typing_error_is_refused() {
        let wrong = json!({ "spec": { "conect": [], "listen": ["x"], "limits": { "memory": "lots" }, "quota": { "pods": 3, "disk": 1 } } });
        let fields: Vec<String> = malformed(&POLICY, &wrong).into_iter().map(|c| c.field).collect();
        assert_eq!(fields, ["spec.conect", "spec.quota.disk", "spec.limits.memory", "spec.listen"]);
    }
}
