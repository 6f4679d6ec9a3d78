//! Which fields of an object wctl honours, which do no harm, and which it refuses: one table for the check and the docs.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::kinds::{KINDS, Kind};

use super::status::Cause;

mod kinds;
mod pod;

/// What becomes of a field that a client sends.
#[derive(Debug, Clone, Copy)]
pub enum Class {
    /// wctl does what it says.
    Honoured,
    /// Accepted and kept, with a warning that says why nothing comes of it; in silence for these values (JSON, comma-separated).
    Harmless(&'static str, &'static str),
    /// Refused with what to do instead; accepted in silence for these values, which ask for nothing.
    Refused(&'static str, &'static str),
}

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Anything.
    Any,
    /// A string.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number from .0 to .1.
    Whole(i64, i64),
    /// `true` or `false`.
    Flag,
    /// `64Mi`, `200m`, `2`.
    Quantity,
    /// A whole number or a string: a port's number or name, a count or a percentage.
    WholeOrText,
    /// From string to string.
    Words,
    /// A list of strings.
    Texts,
    /// An object with these fields.
    Object(&'static [Field]),
    /// A list of objects with these fields.
    List(&'static [Field]),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// As in the manifest.
    pub name: &'static str,
    /// What it may hold.
    pub shape: Shape,
    /// What becomes of it.
    pub class: Class,
}

/// A field that is honoured.
const fn yes(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, class: Class::Honoured }
}

/// A field that is accepted with a warning, in silence for the values `silent`.
const fn warn(name: &'static str, shape: Shape, silent: &'static str, why: &'static str) -> Field {
    Field { name, shape, class: Class::Harmless(silent, why) }
}

/// A field that is refused, but for the values `allowed`.
const fn no(name: &'static str, allowed: &'static str, instead: &'static str) -> Field {
    Field { name, shape: Shape::Any, class: Class::Refused(allowed, instead) }
}

/// What a check of an object found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Fields that are refused or hold something impossible.
    pub refused: Vec<Cause>,
    /// One sentence for each field that comes to nothing.
    pub warnings: Vec<String>,
    /// Paths of fields that nobody knows.
    pub unknown: Vec<String>,
}

/// Looks at every field of an object but its status; kinds without rows here are checked elsewhere (`App`) or not at all.
pub fn check(kind: &Kind, object: &Value) -> Findings {
    let mut findings = Findings::default();
    if let (Some(fields), Some(object)) = (kinds::of(kind), object.as_object()) {
        check_object(fields, object, "", &mut findings);
    }
    findings
}

fn check_object(fields: &[Field], object: &Map<String, Value>, at: &str, findings: &mut Findings) {
    for (key, value) in object {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match fields.iter().find(|f| f.name == key) {
            Some(field) => check_field(field, value, path, findings),
            None => findings.unknown.push(path),
        }
    }
}

fn check_field(field: &Field, value: &Value, path: String, findings: &mut Findings) {
    match field.class {
        Class::Refused(allowed, instead) if !is_one_of(value, allowed) => {
            return findings.refused.push(Cause::forbidden(path, format!("{} is not supported: {instead}", shown(value))));
        }
        Class::Refused(..) => return,
        Class::Harmless(silent, why) if !is_one_of(value, silent) => findings.warnings.push(format!("{path}: {why}")),
        Class::Harmless(..) | Class::Honoured => {}
    }
    check_shape(field.shape, value, path, findings);
}

fn check_shape(shape: Shape, value: &Value, path: String, findings: &mut Findings) {
    match (shape, value) {
        (Shape::Object(fields), Value::Object(object)) => check_object(fields, object, &path, findings),
        (Shape::List(fields), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                check_shape(Shape::Object(fields), item, format!("{path}[{index}]"), findings);
            }
        }
        (shape, value) => {
            if let Some(expected) = mismatch(shape, value) {
                findings.refused.push(Cause::invalid(path, format!("{} is not {expected}", shown(value))));
            }
        }
    }
}

/// What should stand there instead of the value, if the value is wrong.
fn mismatch(shape: Shape, value: &Value) -> Option<String> {
    let strings = |mut values: Box<dyn Iterator<Item = &Value> + '_>| values.all(Value::is_string);
    let (fits, expected) = match shape {
        Shape::Any => (true, "anything".to_owned()),
        Shape::Text => (value.is_string(), "a string".to_owned()),
        Shape::Word(words) => (value.as_str().is_some_and(|v| words.contains(&v)), format!("one of {}", words.join(", "))),
        Shape::Whole(least, most) => {
            (value.as_i64().is_some_and(|v| (least..=most).contains(&v)), format!("a whole number from {least} to {most}"))
        }
        Shape::Flag => (value.is_boolean(), "true or false".to_owned()),
        Shape::Quantity => (super::quantity::of(value).is_some(), "a quantity such as 64Mi or 200m".to_owned()),
        Shape::WholeOrText => (value.is_string() || value.as_i64().is_some_and(|v| v >= 0), "a whole number or a string".to_owned()),
        Shape::Words => (value.as_object().is_some_and(|o| strings(Box::new(o.values()))), "a map of strings".to_owned()),
        Shape::Texts => (value.as_array().is_some_and(|a| strings(Box::new(a.iter()))), "a list of strings".to_owned()),
        Shape::Object(_) => (false, "an object".to_owned()),
        Shape::List(_) => (false, "a list of objects".to_owned()),
    };
    (!fits).then_some(expected)
}

fn is_one_of(value: &Value, values: &str) -> bool {
    let text = value.to_string();
    !values.is_empty() && values.split(',').any(|v| v == text)
}

/// A value for a message, cut where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { format!("{}…", text.chars().take(60).collect::<String>()) }
}

/// The page `docs/fields.md`, made from the table.
pub fn page() -> String {
    let mut page = String::from(
        "# Fields\n\nWhat becomes of each field of the Kubernetes kinds that wctl serves. *Honoured*: wctl does what it says. *Harmless*: kept, and the\n\
         answer carries a `Warning:` that says why nothing comes of it. *Refused*: the request fails with 422, names the field and says what to\n\
         do. A field that is not listed is kept with a warning, or refused with `fieldValidation=Strict`. `status` is the server's.\n\
         This page is written by a test from the table in `crates/scheduler/src/api/fields`.\n",
    );
    for kind in KINDS {
        if let Some(fields) = kinds::of(kind) {
            let _ = write!(page, "\n## {} ({})\n\n| field | | |\n|---|---|---|\n", kind.kind, kind.api_version());
            rows(fields, "", &mut page);
        }
    }
    page
}

fn rows(fields: &[Field], at: &str, page: &mut String) {
    for field in fields.iter().filter(|f| !matches!(f.name, "apiVersion" | "kind" | "metadata" | "status")) {
        let path = if at.is_empty() { field.name.to_owned() } else { format!("{at}.{}", field.name) };
        let but = |values: &str| if values.is_empty() { String::new() } else { format!(" (silent: {})", values.replace(',', ", ")) };
        let unless = |values: &str| if values.is_empty() { String::new() } else { format!(" (but for {})", values.replace(',', ", ")) };
        let (class, why) = match field.class {
            Class::Honoured => ("honoured".to_owned(), ""),
            Class::Harmless(silent, why) => (format!("harmless{}", but(silent)), why),
            Class::Refused(allowed, instead) => (format!("refused{}", unless(allowed)), instead),
        };
        match (field.shape, field.class) {
            // The template is a Pod's own table, printed once there.
            (Shape::Object(fields), Class::Honoured) if !std::ptr::eq(fields, kinds::TEMPLATE) => rows(fields, &path, page),
            (Shape::List(fields), Class::Honoured) => rows(fields, &format!("{path}[]"), page),
            _ => {
                let _ = writeln!(page, "| `{path}` | {class} | {why} |");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::kinds::{DEPLOYMENT, INGRESS, POD, SERVICE};

    fn deployment(pod: Value) -> Findings {
        check(&DEPLOYMENT, &json!({ "spec": { "template": { "spec": pod } } }))
    }

    #[test]
    fn what_a_component_cannot_have_is_refused_by_name() {
        let pod = json!({
            "hostNetwork": true, "hostPID": true, "initContainers": [{ "name": "a" }],
            "volumes": [{ "name": "v", "hostPath": { "path": "/" } }],
            "containers": [{
                "name": "a", "command": ["/bin/sh"], "securityContext": { "privileged": true, "capabilities": { "add": ["NET_ADMIN"] } },
                "livenessProbe": { "exec": { "command": ["true"] } }, "ports": [{ "containerPort": 80, "hostPort": 80 }],
            }],
        });
        let fields: Vec<String> = deployment(pod).refused.into_iter().map(|c| c.field).collect();
        let spec = "spec.template.spec";
        for wrong in [
            "hostNetwork",
            "hostPID",
            "initContainers",
            "volumes[0].hostPath",
            "containers[0].command",
            "containers[0].securityContext.privileged",
            "containers[0].securityContext.capabilities.add",
            "containers[0].livenessProbe.exec",
            "containers[0].ports[0].hostPort",
        ] {
            assert!(fields.contains(&format!("{spec}.{wrong}")), "{wrong} is not among {fields:?}");
        }
        assert_eq!(fields.len(), 9, "{fields:?}");
    }

    #[test]
    fn kubernetes_defaults_pass_in_silence() {
        let pod = json!({
            "hostNetwork": false, "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {},
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "serviceAccountName": "default", "volumes": [],
            "containers": [{ "name": "a", "image": "x", "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File", "resources": {}, "securityContext": {} }],
        });
        assert_eq!(deployment(pod), Findings::default());
    }

    #[test]
    fn harmless_fields_warn() {
        let found = deployment(json!({ "serviceAccountName": "web", "tolerations": [{ "key": "a" }], "containers": [] }));
        assert_eq!((found.refused.len(), found.warnings.len()), (0, 2), "{found:?}");
        assert!(found.warnings.iter().any(|w| w.starts_with("spec.template.spec.serviceAccountName: ")));
    }

    #[test]
    fn m9_impossible_values_name_what_is_expected() {
        for (replicas, fine) in [
            (json!(3), true),
            (json!(0), true),
            (json!(-1), false),
            (json!(1.5), false),
            (json!("3"), false),
            (json!(1_000_000_000), false),
        ] {
            let found = check(&DEPLOYMENT, &json!({ "spec": { "replicas": replicas } }));
            assert_eq!(found.refused.is_empty(), fine, "{replicas}");
        }
        let found = check(&SERVICE, &json!({ "spec": { "ports": [{ "port": 70000, "protocol": "UDP" }], "type": "ExternalName" } }));
        let fields: Vec<_> = found.refused.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(fields, ["spec.ports[0].port", "spec.ports[0].protocol", "spec.type"]);
    }

    #[test]
    fn unknown_fields_are_told_by_path() {
        let found = check(&POD, &json!({ "spec": { "containers": [{ "imag": "x" }] }, "extra": 1 }));
        assert_eq!(found.unknown, ["extra", "spec.containers[0].imag"]);
        assert!(check(&INGRESS, &json!({ "status": { "anything": 1 }, "metadata": { "name": "x" } })).unknown.is_empty());
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        fn walk(fields: &[Field]) {
            for field in fields {
                if let Class::Refused(_, what) | Class::Harmless(_, what) = field.class {
                    assert!(what.len() > 10 && !what.ends_with('.'), "{}: {what:?}", field.name);
                }
                if let Shape::Object(inner) | Shape::List(inner) = field.shape {
                    walk(inner);
                }
            }
        }
        KINDS.iter().filter_map(|kind| kinds::of(kind)).for_each(walk);
    }

    #[test]
    fn the_docs_page_is_in_step() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fields.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        if kept.replace("\r\n", "\n") != page() {
            std::fs::write(path, page()).unwrap();
            panic!("docs/fields.md was not in step with the table; it has been written anew");
        }
    }
}
