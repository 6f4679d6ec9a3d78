//! Answers that carry objects, in the form that the client accepts: whole, as a table, or metadata alone.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::kinds::{Kind, POD};
use crate::objects::{self, Part};

use super::columns;
use super::path::Query;
use super::status::Refusal;

/// How many objects kubectl asks for at a time where nobody says `--chunk-size`.
const CHUNK: usize = 500;
/// Rows of a table that are given in one answer to those who ask for so many or more: about a megabyte.
const ROWS: usize = 2_500;

/// How a client wants to see objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Whole,
    /// Rows of a `meta.k8s.io/v1` Table, with what they hold of each object.
    Table(Include),
    /// `meta.k8s.io/v1` PartialObjectMetadata.
    Metadata,
}

/// What the rows of a table hold of their object, besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    None,
    Metadata,
    Object,
}

impl Form {
    /// The first form in `Accept` that is known; whole objects where nothing else is said.
    pub(super) fn of(headers: &HeaderMap, query: &Query) -> Form {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        for choice in accept.split(',') {
            let mut parts = choice.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json" | "*/*" | "application/*")) {
                continue;
            }
            match parts.find_map(|p| p.strip_prefix("as=")) {
                Some("Table") => return Form::Table(Include::of(query)),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Form::Metadata,
                Some(_) => continue,
                None => return Form::Whole,
            }
        }
        Form::Whole
    }

    /// One object.
    pub(super) fn one(self, kind: &Kind, object: Value, now: jiff::Timestamp) -> Value {
        match self {
            Form::Table(_) => {
                let meta = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
                columns::table(kind, vec![self.item(kind, object, now)], meta)
            }
            form => form.item(kind, object, now),
        }
    }

    /// One object as it stands in a list.
    pub(super) fn item(self, kind: &Kind, object: Value, now: jiff::Timestamp) -> Value {
        match self {
            Form::Whole => object,
            Form::Metadata => metadata_of(object),
            Form::Table(include) => columns::shown_row(kind, object, include, now),
        }
    }

    /// What [`Form::item`] and selectors look at, where that is much less than all.
    pub(super) fn parts(self, kind: &Kind) -> &'static [Part] {
        match self {
            Form::Table(Include::None | Include::Metadata) if kind == &POD => columns::PARTS_OF_POD,
            _ => &[],
        }
    }

    /// A list of what [`Form::item`] made; `meta` holds its resourceVersion and, where there is more, `continue`.
    pub(super) fn list(self, kind: &Kind, items: Vec<Value>, meta: Value) -> Value {
        let mut list = match self {
            Form::Whole => json!({ "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": meta }),
            Form::Metadata => json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta }),
            Form::Table(_) => return columns::table(kind, items, meta),
        };
        // `json!` would copy what it is given.
        list["items"] = Value::Array(items);
        list
    }

    /// How many items an answer may hold to a client that wants so many at most. kubectl asks for 500, ten times at once and then five
    /// times a second, so that 10,000 rows would take it two seconds whatever the server does; the API lets a server give more.
    pub(super) fn page(self, limit: usize) -> usize {
        match self {
            Form::Table(Include::None | Include::Metadata) if limit >= CHUNK => limit.max(ROWS),
            _ => limit,
        }
    }
}

impl Include {
    fn of(query: &Query) -> Include {
        match query.get("includeObject") {
            Some("None") => Include::None,
            Some("Object") => Include::Object,
            _ => Include::Metadata,
        }
    }

    pub(super) fn show(self, object: Value) -> Option<Value> {
        match self {
            Include::None => None,
            Include::Metadata => {
                let mut partial = metadata_of(object);
                // Often longer than all the rest, and no cell is made of it.
                if let Some(metadata) = partial["metadata"].as_object_mut() {
                    metadata.remove("managedFields");
                }
                Some(partial)
            }
            Include::Object => Some(object),
        }
    }
}

fn metadata_of(mut object: Value) -> Value {
    let mut partial = json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1" });
    partial["metadata"] = object["metadata"].take();
    partial
}

/// An answer with a JSON body, and a `Warning:` header for each sentence.
pub(super) fn json(code: StatusCode, body: &Value, warnings: &[String]) -> Response {
    let mut response = (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    for warning in warnings {
        let quoted: String = warning.chars().filter(|c| !c.is_control()).flat_map(escape).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(HeaderName::from_static("warning"), value);
        }
    }
    response
}

fn escape(c: char) -> Vec<char> {
    match c {
        '"' | '\\' => vec!['\\', c],
        c if c.is_ascii() => vec![c],
        _ => vec!['?'],
    }
}

/// What a failure of the objects means for a client that asked about `name` of `kind`.
pub(super) fn refusal(kind: &Kind, name: &str, error: objects::Error) -> Refusal {
    use objects::Error;
    let about = |kind_name: &str, full: &str| {
        let kind = crate::kinds::KINDS.iter().find(|k| k.kind == kind_name).copied();
        (kind, full.rsplit('/').next().unwrap_or_default().to_owned())
    };
    match &error {
        Error::NotFound { kind: k, name: n } => match about(k, n) {
            (Some(k), n) => Refusal::not_found(k, &n),
            (None, _) => Refusal::not_found(kind, name),
        },
        Error::AlreadyExists { kind: k, name: n } => match about(k, n) {
            (Some(k), n) => Refusal::exists(k, &n),
            (None, _) => Refusal::exists(kind, name),
        },
        Error::Conflict { kind: k, name: n } => match about(k, n) {
            (Some(k), n) => Refusal::stale(k, &n),
            (None, _) => Refusal::stale(kind, name),
        },
        Error::GuardFailed { .. } => Refusal::stale(kind, name),
        Error::TooLarge(why) => Refusal::new(413, "RequestEntityTooLarge", why.clone()),
        Error::Gone { .. } => Refusal::expired(error.to_string()),
        Error::Invalid(why) => Refusal::bad_request(why.clone()),
        Error::Unreadable { .. } => {
            tracing::error!(%error, "an object cannot be read");
            Refusal::internal(error.to_string())
        }
        Error::Store(_) => Refusal::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_is_known_is_taken() {
        let form =
            |accept: &'static str| Form::of(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]), &Query::default());
        assert_eq!(form("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Form::Table(Include::Metadata));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json"), Form::Whole);
        assert_eq!(form("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), Form::Metadata);
        assert_eq!(form("application/json;as=Other, application/json;as=Table"), Form::Table(Include::Metadata));
        assert_eq!(form("text/html"), Form::Whole);
    }

    #[test]
    fn a_table_has_more_rows_than_kubectl_asks_for_but_not_than_a_person_does() {
        assert_eq!([1, 499, 500, 2_500, 9_000].map(|limit| Form::Table(Include::Metadata).page(limit)), [1, 499, 2_500, 2_500, 9_000]);
        assert_eq!([Form::Whole, Form::Metadata, Form::Table(Include::Object)].map(|form| form.page(500)), [500; 3]);
    }

    #[test]
    fn warnings_cannot_break_out_of_their_header() {
        let response = json(StatusCode::OK, &Value::Null, &["a \"b\"\r\nX: y é".to_owned()]);
        assert_eq!(response.headers()["warning"], "299 - \"a \\\"b\\\"X: y ?\"");
    }
}
