//! What a pod template asks for beyond a Pod's own fields: the capabilities and limits in its `wctl.dev` annotations.

use std::net::IpAddr;

use serde_json::Value;

use crate::app::quantity::Memory;
use crate::app::word::{self, is_mount};
use crate::kinds::Kind;
use crate::names;

use super::status::Cause;
use super::validate::{is_label_name, is_subdomain};

/// One target of `wctl.dev/connect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// A host name in lower case, or an address without brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
}

/// The pod template, or the Pod itself, of an object, and where it stands in it.
pub(super) fn template<'a>(kind: &Kind, object: &'a Value) -> Option<(&'a Value, &'static str)> {
    match kind.kind {
        "CronJob" => Some((&object["spec"]["jobTemplate"]["spec"]["template"], "spec.jobTemplate.spec.template.")),
        "Deployment" | "ReplicaSet" | "Job" => Some((&object["spec"]["template"], "spec.template.")),
        "Pod" => Some((object, "")),
        _ => None,
    }
}

/// An annotation of a template.
pub(super) fn annotation<'a>(template: &'a Value, name: &str) -> Option<&'a str> {
    template["metadata"]["annotations"].get(name).and_then(Value::as_str)
}

/// The parts of an annotation that lists things.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// The targets of a template that can be read.
pub(super) fn targets(template: &Value) -> Vec<Target> {
    list(annotation(template, names::CONNECT).unwrap_or_default()).filter_map(target).collect()
}

/// The ports of a template that can be read.
pub(super) fn ports(template: &Value) -> Vec<u16> {
    list(annotation(template, names::LISTEN).unwrap_or_default()).filter_map(port).collect()
}

/// `5000/tcp`.
fn port(text: &str) -> Option<u16> {
    text.strip_suffix("/tcp")?.parse().ok().filter(|port| *port != 0)
}

/// `https://api.mail.example:443`, `tcp://[::1]:5432`.
pub(super) fn target(text: &str) -> Option<Target> {
    let (scheme, rest) = text.split_once("://")?;
    let default = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "tcp" => None,
        _ => return None,
    };
    let (host, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(default), |p| p.parse().map(Some)).ok().flatten().filter(|p| *p != 0)?;
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    is_host(&host).then_some(Target { host, port })
}

/// A name or an address in its usual form; `0x7f.1` and `2130706433`, which some resolvers take for addresses, are neither.
fn is_host(host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    is_subdomain(host.strip_prefix("*.").unwrap_or(host)) && !numeric
}

/// What app.yaml calls a bucket.
fn is_bucket(text: &str) -> bool {
    (word::BUCKET.read)(text).is_ok()
}

/// `user`, `orders.billing`.
fn is_callee(text: &str) -> bool {
    text.split_once('.').map_or_else(|| is_label_name(text), |(name, namespace)| is_label_name(name) && is_label_name(namespace))
}

/// What a Service's annotations say that cannot be read.
pub(super) fn of_service(kind: &Kind, object: &Value) -> Vec<Cause> {
    let callers = annotation(object, names::CALLERS).filter(|_| kind.kind == "Service");
    let wrong = callers.filter(|text| !list(text).all(|namespace| namespace == "*" || is_label_name(namespace)));
    let what = |text: &str| format!("{text:?} is not a list of namespaces such as shop,billing, or * for all");
    wrong.map(|text| Cause::invalid(format!("metadata.annotations[{}]", names::CALLERS), what(text))).into_iter().collect()
}

/// `/data=100Mi`.
fn is_volume(text: &str) -> bool {
    text.split_once('=').is_some_and(|(path, size)| is_mount(path) && size.parse::<Memory>().is_ok())
}

/// `5s`, `500ms`, `2m`, in milliseconds.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
    let factor = match unit {
        "ms" => 1.0,
        "s" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    let value = number * factor;
    (value <= 1e15).then_some(value as u64)
}

/// Annotations that cannot be read, by name: one that is not understood must not be taken for one that is not there.
pub(super) fn malformed(kind: &Kind, object: &Value) -> Vec<Cause> {
    let Some((template, at)) = template(kind, object) else { return Vec::new() };
    let mut causes = Vec::new();
    let mut check = |name: &str, fine: &dyn Fn(&str) -> bool, expected: &str| {
        if let Some(text) = annotation(template, name).filter(|text| !fine(text)) {
            causes.push(Cause::invalid(format!("{at}metadata.annotations[{name}]"), format!("{text:?} is not {expected}")));
        }
    };
    let all = |fine: fn(&str) -> bool| move |text: &str| list(text).all(fine);
    let whole = |text: &str| text.parse::<u32>().is_ok_and(|n| n > 0);
    check(names::CONNECT, &all(|t| target(t).is_some()), "a list of targets such as https://api.mail.example:443 or tcp://db.example:5432");
    check(names::LISTEN, &all(|t| port(t).is_some()), "a list of ports such as 5000/tcp");
    check(names::KEYVALUE, &all(is_bucket), "a list of bucket names: lower-case letters, digits, '-' or '_'");
    check(names::BLOBS, &all(is_bucket), "a list of container names: lower-case letters, digits, '-' or '_'");
    check(names::VOLUMES, &all(is_volume), "a list of volumes such as /data=100Mi,/cache=1Gi");
    let what = "a list of services of the same app, or of Services with their namespaces such as orders.billing";
    check(names::CALL, &all(is_callee), what);
    check(names::TIME, &|text| milliseconds(text).is_some_and(|ms| ms > 0), "a time such as 5s or 500ms");
    check(names::CONCURRENCY, &whole, "a whole number from 1");
    check(names::REUSE, &whole, "a whole number from 1");
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::DEPLOYMENT;
    use serde_json::json;

    #[test]
    fn targets_have_a_scheme_a_host_and_a_port() {
        let is = |text: &str, host: &str, port: u16| assert_eq!(target(text), Some(Target { host: host.into(), port }), "{text}");
        is("https://API.mail.example", "api.mail.example", 443);
        is("tcp://[::1]:5432", "::1", 5432);
        is("http://10.0.0.1:8080", "10.0.0.1", 8080);
        for bad in [
            "tcp://db",
            "ftp://a:1",
            "https://",
            "https://a:0",
            "https://a:99999",
            "https://2130706433",
            "http://0x7f.1",
            "http://127.1",
            "https://a/b",
            "https://u@a",
        ] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_an_app_file_may_name_a_template_may_name_too() {
        let annotations = json!({ "wctl.dev/keyvalue": "a_b,c-d", "wctl.dev/blobs": "a_b" });
        let object = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
        assert!(malformed(&DEPLOYMENT, &object).is_empty());
    }

    #[test]
    fn a_volume_has_a_place_and_a_size() {
        assert!(is_volume("/data=100Mi") && is_volume("/var/lib/x_1.y=1Gi"));
        for bad in
            ["/data", "data=1Mi", "/=1Mi", "/a//b=1Mi", "/../x=1Mi", "/a/.=1Mi", "/a:b=1Mi", "/ü=1Mi", "/data=", "/data=1", "/data=many"]
        {
            assert!(!is_volume(bad), "{bad}");
        }
        assert!(!is_volume(&format!("/{}=1Mi", "x".repeat(60))));
    }

    #[test]
    fn an_annotation_that_is_not_understood_is_refused_by_name() {
        let annotations = json!({ "wctl.dev/connect": "https://a, b", "wctl.dev/listen": "5000/tcp,0/tcp", "wctl.dev/time": "5", "wctl.dev/concurrency": "0", "wctl.dev/keyvalue": "../x",
                    "wctl.dev/volumes": "/../x=1Mi", "wctl.dev/blobs": "../x" });
        let object = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
        let fields: Vec<String> = malformed(&DEPLOYMENT, &object).into_iter().map(|c| c.field).collect();
        let at = |name: &str| format!("spec.template.metadata.annotations[wctl.dev/{name}]");
        assert_eq!(fields, ["connect", "listen", "keyvalue", "blobs", "volumes", "time", "concurrency"].map(at));
    }
}
