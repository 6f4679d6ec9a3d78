//! Refusals in the form that the specification gives them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{ALLOW, HeaderName};

use super::content::set;
use crate::blobs;
use crate::manifest;
use crate::registry::sentence;

/// The specification's error codes, and `UNAVAILABLE` and `UNKNOWN` for what it has none for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    TooManyRequests,
    Unavailable,
    Unknown,
    Unsupported,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Code::BlobUnknown => "BLOB_UNKNOWN",
            Code::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Code::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Code::Denied => "DENIED",
            Code::DigestInvalid => "DIGEST_INVALID",
            Code::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Code::ManifestInvalid => "MANIFEST_INVALID",
            Code::ManifestUnknown => "MANIFEST_UNKNOWN",
            Code::NameInvalid => "NAME_INVALID",
            Code::NameUnknown => "NAME_UNKNOWN",
            Code::SizeInvalid => "SIZE_INVALID",
            Code::TooManyRequests => "TOOMANYREQUESTS",
            Code::Unavailable => "UNAVAILABLE",
            Code::Unknown => "UNKNOWN",
            Code::Unsupported => "UNSUPPORTED",
        }
    }
}

/// A request that was not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: Code,
    message: String,
    headers: Vec<(HeaderName, String)>,
}

impl Refusal {
    pub fn new(status: u16, code: Code, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), headers: Vec::new() }
    }

    pub fn method(allowed: &'static str) -> Refusal {
        Refusal::new(405, Code::Unsupported, "this method does nothing here").with(ALLOW, allowed)
    }

    pub fn with(mut self, name: HeaderName, value: &str) -> Refusal {
        self.headers.push((name, value.to_string()));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "errors": [{ "code": self.code.text(), "message": self.message }] });
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        self.headers.into_iter().for_each(|(name, value)| set(&mut response, name, &value));
        response
    }
}

impl From<blobs::Error> for Refusal {
    fn from(error: blobs::Error) -> Refusal {
        use blobs::Error as E;
        let (status, code) = match &error {
            E::NoBlob(_) | E::Damaged { .. } => (404, Code::BlobUnknown),
            E::NoManifest { .. } => (404, Code::ManifestUnknown),
            E::NoRepository(_) => (404, Code::NameUnknown),
            E::Name(_) => (400, Code::NameInvalid),
            E::Digest { .. } => (400, Code::DigestInvalid),
            E::MissingBlob { .. } => (404, Code::ManifestBlobUnknown),
            E::TooLarge { .. } => (413, Code::SizeInvalid),
            E::Manifest(manifest::Error::TooLarge(_)) => (413, Code::ManifestInvalid),
            E::Manifest(_) => (400, Code::ManifestInvalid),
            E::Interrupted { .. } => (400, Code::BlobUploadInvalid),
            E::InUse { .. } => (403, Code::Denied),
            E::Store | E::Sweeping => (503, Code::Unavailable),
            E::Io { .. } | E::Newer { .. } | E::Repository { .. } => return internal(&error),
        };
        Refusal::new(status, code, sentence(&error))
    }
}

// What names paths of this machine goes to the log; the client learns only what it can act on.
fn internal(error: &blobs::Error) -> Refusal {
    tracing::error!(error = sentence(error), "the registry failed");
    match error {
        blobs::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Refusal::new(507, Code::Unknown, "the registry's disk is full: free some space there or run `wctl prune`")
        }
        _ => Refusal::new(500, Code::Unknown, "the registry cannot use its disk: its log says more"),
    }
}
