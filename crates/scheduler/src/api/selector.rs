//! Label and field selectors: which objects a list or a watch is about.

use serde_json::Value;

use crate::kinds::Kind;

use super::path::Query;
use super::status::{Refusal, Result};
use super::validate::{is_label_value, is_qualified};

/// Labels and fields that an object must have; the default matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
    Greater(i64),
    Less(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    path: Vec<&'static str>,
    value: String,
    equal: bool,
}

/// The fields that each kind can be selected by, besides `metadata.name` and `metadata.namespace`.
fn fields_of(kind: &Kind) -> &'static [&'static str] {
    match kind.kind {
        "Pod" => &["spec.nodeName", "status.phase", "spec.restartPolicy", "spec.serviceAccountName", "status.podIP"],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "type",
            "source",
            "reportingComponent",
        ],
        "Node" => &["spec.unschedulable"],
        "Namespace" => &["status.phase"],
        "ReplicaSet" => &["status.replicas"],
        "Secret" => &["type"],
        "Job" => &["status.successful"],
        _ => &[],
    }
}

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`.
    pub fn of(kind: &Kind, query: &Query) -> Result<Selector> {
        let labels = query.get("labelSelector").map(parse_labels).transpose()?.unwrap_or_default();
        let fields = query.get("fieldSelector").map(|text| parse_fields(kind, text)).transpose()?.unwrap_or_default();
        Ok(Selector { labels, fields })
    }

    /// The same, and only this name.
    pub fn and_name(mut self, name: &str) -> Selector {
        self.fields.push(FieldRequirement { path: vec!["metadata", "name"], value: name.to_owned(), equal: true });
        self
    }

    /// Whether the object is one of those meant.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|r| r.holds(labels.get(&r.key).and_then(Value::as_str))) && self.fields.iter().all(|f| f.holds(object))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = |v: &str| v.parse::<i64>().ok();
        match &self.rule {
            Rule::In(any) => value.is_some_and(|v| any.iter().any(|a| a == v)),
            Rule::NotIn(none) => !value.is_some_and(|v| none.iter().any(|n| n == v)),
            Rule::Exists => value.is_some(),
            Rule::Missing => value.is_none(),
            Rule::Greater(than) => value.and_then(number).is_some_and(|v| v > *than),
            Rule::Less(than) => value.and_then(number).is_some_and(|v| v < *than),
        }
    }
}

impl FieldRequirement {
    fn holds(&self, object: &Value) -> bool {
        let found = self.path.iter().try_fold(object, |at, key| at.get(key));
        let text = match found {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        (text == self.value) == self.equal
    }
}

fn bad(text: &str, why: &str) -> Refusal {
    Refusal::bad_request(format!("unable to parse the selector {text:?}: {why}"))
}

/// Splits at the commas that are not inside parentheses.
fn terms(text: &str) -> Vec<&str> {
    let (mut out, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>> {
    terms(text).into_iter().map(|term| parse_label(term.trim()).ok_or_else(|| bad(text, &format!("{term:?} is not understood")))).collect()
}

fn parse_label(term: &str) -> Option<Requirement> {
    let (key, rule) = if let Some(key) = term.strip_prefix('!') {
        (key, Rule::Missing)
    } else if let Some((key, value)) = term.split_once("!=") {
        (key, Rule::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (key, Rule::In(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = term.split_once('>') {
        (key, Rule::Greater(value.trim().parse().ok()?))
    } else if let Some((key, value)) = term.split_once('<') {
        (key, Rule::Less(value.trim().parse().ok()?))
    } else if let Some(inside) = term.strip_suffix(')') {
        let (head, values) = inside.split_once('(')?;
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        match head.trim().split_once(char::is_whitespace)? {
            (key, word) if word.trim() == "in" => (key, Rule::In(values)),
            (key, word) if word.trim() == "notin" => (key, Rule::NotIn(values)),
            _ => return None,
        }
    } else {
        (term, Rule::Exists)
    };
    let key = key.trim();
    let values = match &rule {
        Rule::In(values) | Rule::NotIn(values) => values.as_slice(),
        _ => &[],
    };
    let possible = is_qualified(key) && values.iter().all(|value| value.is_empty() || is_label_value(value));
    possible.then(|| Requirement { key: key.to_owned(), rule })
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<FieldRequirement>> {
    text.split(',').filter(|t| !t.is_empty()).map(|term| parse_field(kind, term)).collect()
}

fn parse_field(kind: &Kind, term: &str) -> Result<FieldRequirement> {
    let split = |by| term.split_once(by);
    let (name, value, equal) = split("!=")
        .map(|(n, v)| (n, v, false))
        .or_else(|| split("==").or_else(|| split("=")).map(|(n, v)| (n, v, true)))
        .ok_or_else(|| bad(term, "write NAME=VALUE or NAME!=VALUE"))?;
    let known = ["metadata.name", "metadata.namespace"].iter().chain(fields_of(kind)).find(|known| **known == name.trim());
    let known = known.ok_or_else(|| {
        let all: Vec<&str> = ["metadata.name", "metadata.namespace"].iter().chain(fields_of(kind)).copied().collect();
        bad(term, &format!("{} can be selected by {}", kind.plural, all.join(", ")))
    })?;
    Ok(FieldRequirement { path: known.split('.').collect(), value: value.trim().to_owned(), equal })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::{POD, SERVICE};

    fn labels(text: &str, object: Value) -> bool {
        let object = json!({ "metadata": { "labels": object } });
        Selector { labels: parse_labels(text).unwrap(), fields: Vec::new() }.matches(&object)
    }

    #[test]
    fn label_selectors_have_all_forms() {
        let web = || json!({ "app": "web", "tier": "front", "weight": "5" });
        for yes in [
            "app=web",
            "app==web,tier!=back",
            "app in (api, web),tier",
            "!zone",
            "zone notin (a,b)",
            "weight>4,weight<6",
            "app , tier=front",
        ] {
            assert!(labels(yes, web()), "{yes}");
        }
        for no in ["app=api", "app!=web", "zone", "!app", "app notin (web)", "weight>5", "app in (api)", "weight<5"] {
            assert!(!labels(no, web()), "{no}");
        }
        for broken in ["app=web,,", "a b", "app in web", "=x", "x>y", "café=1", "a===", "a=b c", "a in (b,c=d)"] {
            assert!(parse_labels(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn field_selectors_know_what_each_kind_offers() {
        let pod = json!({ "metadata": { "name": "web-1" }, "spec": { "nodeName": "n1" } });
        let check = |text: &str| Selector { labels: Vec::new(), fields: parse_fields(&POD, text).unwrap() }.matches(&pod);
        assert!(check("spec.nodeName=n1,metadata.name!=other,status.phase="));
        assert!(!check("spec.nodeName!=n1"));
        let error = parse_fields(&SERVICE, "spec.nodeName=n1").unwrap_err();
        assert!(error.message.contains("metadata.name, metadata.namespace"), "{}", error.message);
    }
}
