//! Answers that refuse: `Status` bodies in Kubernetes' shape.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::kinds::Kind;

/// Why a request was not done; becomes a `Status` of `v1` with its HTTP code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The HTTP code.
    pub code: u16,
    /// The word that programs look at: `NotFound`, `Conflict` …
    pub reason: &'static str,
    /// The sentence that people read.
    pub message: String,
    /// The object that it is about: group, plural (or kind) and name.
    pub about: Option<Box<(String, String, String)>>,
    /// One for each field that is wrong.
    pub causes: Vec<Cause>,
    /// Seconds after which it is worth to try again.
    pub retry_after: Option<u32>,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueRequired`, `FieldValueInvalid`, `FieldValueForbidden`, `FieldValueNotSupported`, `FieldValueDuplicate`.
    pub reason: &'static str,
    /// `spec.template.spec.containers[0].image`.
    pub field: String,
    /// What is wrong with it, and what to do.
    pub message: String,
}

impl Cause {
    /// A field that has to be there.
    pub fn required(field: impl Into<String>, message: impl Into<String>) -> Cause {
        Cause { reason: "FieldValueRequired", field: field.into(), message: message.into() }
    }

    /// A value that the field cannot have.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Cause {
        Cause { reason: "FieldValueInvalid", field: field.into(), message: message.into() }
    }

    /// A field or value that is not allowed here.
    pub fn forbidden(field: impl Into<String>, message: impl Into<String>) -> Cause {
        Cause { reason: "FieldValueForbidden", field: field.into(), message: message.into() }
    }
}

/// A `Result` of the API.
pub type Result<T> = std::result::Result<T, Refusal>;

/// `deployments.apps`, `pods`: how messages name a kind of object.
pub fn resource_name(kind: &Kind) -> String {
    if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) }
}

impl Refusal {
    /// A refusal that is about no object in particular.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, reason, message: message.into(), about: None, causes: Vec::new(), retry_after: None }
    }

    /// Whether it is about this object, and not about another that the same change concerns.
    pub(super) fn is_about(&self, target: &super::Target) -> bool {
        let named = (target.kind.group, target.kind.plural, target.name.as_deref().unwrap_or_default());
        self.about.as_deref().is_some_and(|(group, kind, name)| (group.as_str(), kind.as_str(), name.as_str()) == named)
    }

    fn of(kind: &Kind, name: &str, code: u16, reason: &'static str, message: String) -> Refusal {
        let about = Some(Box::new((kind.group.to_owned(), kind.plural.to_owned(), name.to_owned())));
        Refusal { about, ..Refusal::new(code, reason, message) }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Refusal {
        Refusal::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403, about an object or, with an empty name, about all of a kind.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Refusal {
        let quoted = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        Refusal::of(kind, name, 403, "Forbidden", format!("{}{quoted} is forbidden: {why}", resource_name(kind)))
    }

    /// 404 of an object.
    pub fn not_found(kind: &Kind, name: &str) -> Refusal {
        Refusal::of(kind, name, 404, "NotFound", format!("{} \"{name}\" not found", resource_name(kind)))
    }

    /// 404 of a URL.
    pub fn no_such_path() -> Refusal {
        Refusal::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 405.
    pub fn method(kind: &Kind, verb: &str) -> Refusal {
        Refusal::of(kind, "", 405, "MethodNotAllowed", format!("{verb} is not supported on {}", resource_name(kind)))
    }

    /// 405 of a kind that nobody writes, with what to write instead.
    pub fn read_only(kind: &Kind, verb: &str) -> Refusal {
        let instead = match kind.kind {
            "DaemonSet" => "; a pod on every node is not offered: deploy a Deployment with a replica for each node",
            "StatefulSet" => "; deploy a Deployment, and keep data in wasi:keyvalue or in a database",
            _ => "",
        };
        let refusal = Refusal::method(kind, verb);
        Refusal { message: format!("{}{instead}", refusal.message), ..refusal }
    }

    /// 409 of a name that is taken.
    pub fn exists(kind: &Kind, name: &str) -> Refusal {
        Refusal::of(kind, name, 409, "AlreadyExists", format!("{} \"{name}\" already exists", resource_name(kind)))
    }

    /// 409 of a write that is not based on the newest state.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Refusal {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource_name(kind));
        Refusal::of(kind, name, 409, "Conflict", message)
    }

    /// 409 of a write that came second.
    pub fn stale(kind: &Kind, name: &str) -> Refusal {
        Refusal::conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again")
    }

    /// 410 of a watch or a list that history no longer reaches.
    pub fn expired(message: impl Into<String>) -> Refusal {
        Refusal::new(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Refusal {
        Refusal::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit} bytes"))
    }

    /// 415.
    pub fn media_type(message: impl Into<String>) -> Refusal {
        Refusal::new(415, "UnsupportedMediaType", message)
    }

    /// 422: every field that is wrong, at once.
    pub fn invalid(kind: &Kind, name: &str, causes: Vec<Cause>) -> Refusal {
        let sentences: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let what = if sentences.len() == 1 { sentences.join("") } else { format!("[{}]", sentences.join(", ")) };
        let title = if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        let message = format!("{title} \"{name}\" is invalid: {what}");
        let about = Some(Box::new((kind.group.to_owned(), kind.kind.to_owned(), name.to_owned())));
        Refusal { about, causes, ..Refusal::new(422, "Invalid", message) }
    }

    /// 500.
    pub fn internal(message: impl Into<String>) -> Refusal {
        Refusal::new(500, "InternalError", message)
    }

    /// 503, worth to try again after a second.
    pub fn unavailable(message: impl Into<String>) -> Refusal {
        Refusal { retry_after: Some(1), ..Refusal::new(503, "ServiceUnavailable", message) }
    }

    /// 504.
    pub fn timeout(message: impl Into<String>) -> Refusal {
        Refusal { retry_after: Some(1), ..Refusal::new(504, "Timeout", message) }
    }

    /// The `Status` object.
    pub fn body(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        let mut details = serde_json::Map::new();
        if let Some((group, kind, name)) = self.about.as_deref() {
            for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
                if !value.is_empty() {
                    details.insert(key.to_owned(), json!(value));
                }
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(|c| json!({ "reason": c.reason, "message": c.message, "field": c.field }));
            details.insert("causes".to_owned(), causes.collect());
        }
        if let Some(seconds) = self.retry_after {
            details.insert("retryAfterSeconds".to_owned(), json!(seconds));
        }
        if !details.is_empty() {
            status["details"] = Value::Object(details);
        }
        status
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (code, [(header::CONTENT_TYPE, "application/json")], self.body().to_string()).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"wctl\""));
        }
        response
    }
}

/// The `Status` of something done that leaves no object to answer with, a deletion for one.
pub fn success(kind: &Kind, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": { "name": name, "group": kind.group, "kind": kind.plural, "uid": uid },
    })
}
