//! What a URL of the API names.

use std::collections::BTreeMap;

use axum::extract::Query as Parameters;
use http::Uri;

use crate::kinds::Kind;

use super::discovery;
use super::status::{Refusal, Result};

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// `/healthz`, `/livez`, `/readyz`.
    Health,
    /// `/metrics` and `/api/v1/nodes/NODE/proxy/metrics`.
    Metrics {
        /// The node's name; none for all, and the server's own.
        node: Option<String>,
    },
    /// `/api/v1/nodes/NODE/proxy/logs/access.log`: requests that the node answered.
    Requests {
        /// The node's name.
        node: String,
    },
    /// `/version`.
    Version,
    /// `/openapi/v3`: where the schemas are.
    Schemas,
    /// `/openapi/v2`: which kinds can be patched, for older clients.
    SchemasV2,
    /// ReplicationControllers, all of them: there are none, but `kubectl cluster-info dump` asks.
    Controllers,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/GROUP/VERSION`: the schemas of a group and version.
    Schema(String),
    /// Who one is and what one may do: `selfsubjectreviews`, `selfsubjectaccessreviews`, `selfsubjectrulesreviews`.
    Review(Review),
    /// `/apis/metrics.k8s.io/v1beta1/…`: what nodes or pods use.
    Usage(Usage),
    /// `/api`: the versions of the core group.
    Core,
    /// `/apis`: the groups.
    Groups,
    /// `/apis/GROUP`.
    Group(&'static str),
    /// `/api/v1`, `/apis/GROUP/VERSION`: the kinds of a group.
    Resources(&'static str, &'static str),
    /// One object, or all of a kind.
    Resource(Target),
    /// `/apis/wctl.dev/v1/nodes/NODE/asks`: what the server wants of a node.
    Asks {
        /// The node's name.
        node: String,
    },
    /// `/apis/wctl.dev/v1/nodes/NODE/answers/ID`: what the node answers.
    Answer {
        /// The node's name.
        node: String,
        /// The ask's id.
        id: String,
    },
}

/// What is asked about oneself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review {
    /// Who one is.
    Who,
    /// Whether one may do something.
    Access,
    /// All that one may do in a namespace.
    Rules,
}

/// Whose use is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Usage {
    /// That of one node, or of all.
    Nodes {
        /// The node's name.
        name: Option<String>,
    },
    /// That of one pod, of all pods of a namespace, or of all.
    Pods {
        /// The namespace.
        namespace: Option<String>,
        /// The pod's name.
        name: Option<String>,
    },
}

/// An object, or all objects of a kind, in one namespace or in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace; `None` for all, and for kinds that have none.
    pub namespace: Option<String>,
    /// The object's name; `None` for all of the kind.
    pub name: Option<String>,
    /// `status`, `scale`, `log` …; empty for the object itself.
    pub part: String,
}

impl Target {
    /// The namespace, empty where there is none: as keys of the store want it.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("")
    }
}

/// Reads a path.
pub fn parse(path: &str) -> Result<Place> {
    let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(decode).collect::<Result<_>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Ok(Place::Health),
        ["metrics"] => Ok(Place::Metrics { node: None }),
        ["api", "v1", "nodes", node, "proxy", "metrics"] => Ok(Place::Metrics { node: Some((*node).to_owned()) }),
        ["api", "v1", "nodes", node, "proxy", "logs", "access.log"] => Ok(Place::Requests { node: (*node).to_owned() }),
        ["version"] => Ok(Place::Version),
        ["openapi", "v2"] => Ok(Place::SchemasV2),
        ["api", "v1", "replicationcontrollers"] | ["api", "v1", "namespaces", _, "replicationcontrollers"] => Ok(Place::Controllers),
        ["openapi", "v3"] => Ok(Place::Schemas),
        ["openapi", "v3", place @ ..] => Ok(Place::Schema(place.join("/"))),
        ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => Ok(Place::Review(Review::Who)),
        ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => Ok(Place::Review(Review::Access)),
        ["apis", "authorization.k8s.io", "v1", "selfsubjectrulesreviews"] => Ok(Place::Review(Review::Rules)),
        ["apis", "metrics.k8s.io", "v1beta1", rest @ ..] if !rest.is_empty() => usage(rest),
        ["api"] => Ok(Place::Core),
        ["apis"] => Ok(Place::Groups),
        ["api", version, rest @ ..] => resources("", version, rest),
        ["apis", "wctl.dev", "v1", "nodes", node, "asks"] => Ok(Place::Asks { node: (*node).to_owned() }),
        ["apis", "wctl.dev", "v1", "nodes", node, "answers", id] => Ok(Place::Answer { node: (*node).to_owned(), id: (*id).to_owned() }),
        ["apis", group] => discovery::known_group(group).map(Place::Group).ok_or_else(Refusal::no_such_path),
        ["apis", group, version, rest @ ..] => resources(group, version, rest),
        _ => Err(Refusal::no_such_path()),
    }
}

fn usage(rest: &[&str]) -> Result<Place> {
    let owned = |s: &str| Some(s.to_owned());
    Ok(Place::Usage(match rest {
        ["nodes"] => Usage::Nodes { name: None },
        ["nodes", name] => Usage::Nodes { name: owned(name) },
        ["pods"] => Usage::Pods { namespace: None, name: None },
        ["namespaces", namespace, "pods"] => Usage::Pods { namespace: owned(namespace), name: None },
        ["namespaces", namespace, "pods", name] => Usage::Pods { namespace: owned(namespace), name: owned(name) },
        _ => return Err(Refusal::no_such_path()),
    }))
}

fn resources(group: &str, version: &str, rest: &[&str]) -> Result<Place> {
    let any = discovery::known_version(group, version).ok_or_else(Refusal::no_such_path)?;
    let at = |plural: &str| Kind::at(group, version, plural).ok_or_else(Refusal::no_such_path);
    let target = |kind, namespace: Option<&str>, name: Option<&str>, part: &str| {
        let owned = |s: Option<&str>| s.map(str::to_owned);
        Ok(Place::Resource(Target { kind, namespace: owned(namespace), name: owned(name), part: part.to_owned() }))
    };
    match rest {
        [] => Ok(Place::Resources(any.0, any.1)),
        ["namespaces", name, part @ ("status" | "finalize")] => target(at("namespaces")?, None, Some(name), part),
        ["namespaces", namespace, plural, more @ ..] => {
            let kind = at(plural).ok().filter(|k| k.namespaced).ok_or_else(Refusal::no_such_path)?;
            match more {
                [] => target(kind, Some(namespace), None, ""),
                [name] => target(kind, Some(namespace), Some(name), ""),
                [name, part] => target(kind, Some(namespace), Some(name), part),
                _ => Err(Refusal::no_such_path()),
            }
        }
        [plural] => target(at(plural)?, None, None, ""),
        [plural, name, part @ ..] => {
            let kind = at(plural).ok().filter(|k| !k.namespaced).ok_or_else(Refusal::no_such_path)?;
            match part {
                [] => target(kind, None, Some(name), ""),
                [part] => target(kind, None, Some(name), part),
                _ => Err(Refusal::no_such_path()),
            }
        }
    }
}

/// Decodes `%2F` and the like; a name that would leave its place in the store is refused here, once for all.
fn decode(segment: &str) -> Result<String> {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let hex = segment.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
            out.push(hex.ok_or_else(|| Refusal::bad_request(format!("the path holds a broken escape: {segment}")))?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    let text = String::from_utf8(out).map_err(|_| Refusal::bad_request("the path is not UTF-8"))?;
    if text == "." || text == ".." || text.len() > 512 || text.contains(['/', '\0']) {
        return Err(Refusal::bad_request(format!("{text:?} cannot be part of a path")));
    }
    Ok(text)
}

/// The parameters after the `?`.
#[derive(Debug, Default, Clone)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a URL's parameters; the last of a name wins.
    pub fn of(uri: &Uri) -> Result<Query> {
        let pairs = Parameters::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|e| Refusal::bad_request(format!("the URL's parameters cannot be read: {e}")))?;
        Ok(Query(pairs.0.into_iter().collect()))
    }

    /// A parameter that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// A yes or no; `?follow` alone means yes.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|v| matches!(v.as_str(), "" | "1" | "true" | "True" | "t"))
    }

    /// A time of RFC 3339.
    pub fn time(&self, name: &str) -> Result<Option<jiff::Timestamp>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::bad_request(format!("{name} must be a time like 2026-01-02T03:04:05Z, not {text:?}")))
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::bad_request(format!("{name} must be a whole number, not {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        match parse(path) {
            Ok(Place::Resource(target)) => target,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn paths_name_kinds_namespaces_names_and_parts() {
        let pod = target("/api/v1/namespaces/shop/pods/web-1/log");
        assert_eq!((pod.kind.kind, pod.namespace(), pod.name.as_deref(), pod.part.as_str()), ("Pod", "shop", Some("web-1"), "log"));
        let all = target("/apis/apps/v1/deployments");
        assert_eq!((all.kind.kind, all.namespace, all.name), ("Deployment", None, None));
        let namespace = target("/api/v1/namespaces/shop");
        assert_eq!((namespace.kind.kind, namespace.name.as_deref()), ("Namespace", Some("shop")));
        assert_eq!(target("/api/v1/namespaces/shop/status").part, "status");
        assert_eq!(target("/apis/wctl.dev/v1/namespaces/a/apps/b").kind.kind, "App");
        assert_eq!(parse("/apis/wctl.dev/v1/nodes/n/asks"), Ok(Place::Asks { node: "n".into() }));
    }

    #[test]
    fn paths_that_lead_nowhere_are_refused() {
        for path in ["/", "/api/v2/pods", "/apis/nope", "/api/v1/pods/web", "/api/v1/namespaces/a/nodes", "/api/v1/nope", "/apis//v1"] {
            assert_eq!(parse(path).map_err(|e| e.code), Err(404), "{path}");
        }
        for path in ["/api/v1/namespaces/..%2f..%2fx/pods", "/api/v1/nodes/%2e%2e", "/api/v1/nodes/%zz", "/api/v1/nodes/a%00b"] {
            assert_eq!(parse(path).map_err(|e| e.code), Err(400), "{path}");
        }
    }
}
