//! What objects, labels and annotations may be called.

use serde_json::Value;

use crate::api::status::Cause;
use crate::kinds::Kind;

/// Longest name of a part of DNS.
const LABEL: usize = 63;
/// Longest name of most objects.
pub(super) const SUBDOMAIN: usize = 253;
/// Most bytes of all annotations together, as in Kubernetes.
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// Lower-case letters, digits and `-`, starting and ending with a letter or digit, at most 63 long.
pub fn is_label_name(name: &str) -> bool {
    let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = name.as_bytes();
    bytes.len() <= LABEL && bytes.iter().all(|c| inside(*c)) && edge(bytes.first()) && edge(bytes.last())
}

/// Such parts, joined with dots, at most 253 long altogether.
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= SUBDOMAIN && name.split('.').all(|part| !part.is_empty() && is_label_name_of_any_length(part))
}

fn is_label_name_of_any_length(part: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && edge(part.chars().next())
        && edge(part.chars().next_back())
}

pub(super) fn metadata(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    // Names that become parts of host names are held to the shorter form.
    let short = matches!(kind.kind, "Service" | "Namespace" | "App");
    let (fine, form) = if short {
        (is_label_name(name), "1 to 63 lower-case letters, digits or '-', with a letter or digit at both ends")
    } else {
        (is_subdomain(name), "lower-case letters, digits, '-' or '.', with a letter or digit at both ends, at most 253")
    };
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if !fine {
        causes.push(Cause::invalid("metadata.name", format!("{name:?} cannot be a name: it takes {form}")));
    }
    labels(&meta["labels"], "metadata.labels", causes);
    let annotations = meta["annotations"].as_object();
    for key in annotations.into_iter().flat_map(|a| a.keys()) {
        if !is_qualified(key) {
            causes.push(Cause::invalid("metadata.annotations", format!("{key:?} cannot be an annotation's key")));
        }
    }
    let size: usize = annotations.into_iter().flatten().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    if size > MOST_ANNOTATIONS {
        causes.push(Cause::invalid("metadata.annotations", format!("must have at most {MOST_ANNOTATIONS} bytes, not {size}")));
    }
}

pub(super) fn labels(labels: &Value, at: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if !is_qualified(key) {
            causes.push(Cause::invalid(at, format!("{key:?} cannot be a label's key")));
        }
        let value = value.as_str().unwrap_or_default();
        if !value.is_empty() && !is_label_value(value) {
            causes.push(Cause::invalid(
                format!("{at}[{key}]"),
                format!("{value:?} cannot be a label's value: it takes up to 63 letters, digits, '-', '_' or '.'"),
            ));
        }
    }
}

/// Up to 63 letters, digits, '-', '_' or '.', the first and the last a letter or digit.
pub fn is_label_value(value: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    value.len() <= LABEL
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && edge(value.chars().next())
        && edge(value.chars().next_back())
}

/// `name` or `example.com/name`.
pub fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(&prefix.to_ascii_lowercase()) && is_label_value(name),
        None => is_label_value(key),
    }
}
