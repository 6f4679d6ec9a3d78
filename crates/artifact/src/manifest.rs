//! OCI documents read strictly: a manifest or an index, never something that could be taken for both.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::digest::{self, Digest, shown};
use crate::pack;

/// An image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An index: several manifests under one name.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's image manifest, equal in shape to OCI's.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The config of a WebAssembly artifact.
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The layer of a WebAssembly artifact.
pub const LAYER: &str = "application/wasm";

/// The config of a folder of files, which has one layer: [`ARCHIVE`].
pub const FILES: &str = "application/vnd.wctl.files.config.v1+json";
/// A layer that is an archive of files.
pub const ARCHIVE: &str = "application/vnd.oci.image.layer.v1.tar";

/// No manifest or index may have more bytes than this (4 MiB, as in the specification).
pub const LARGEST: usize = 4 << 20;

/// Why some bytes are no document that can be trusted to mean one thing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Over 4 MiB.
    #[error("the manifest has {0} bytes, more than the {LARGEST} that are allowed")]
    TooLarge(usize),
    /// Not JSON, or fields missing, doubled or of the wrong type.
    #[error("the manifest is malformed")]
    Json(#[from] serde_json::Error),
    /// Neither the document nor the answer's header names a media type.
    #[error("nothing says what kind of manifest this is: neither `mediaType` nor Content-Type names a known one")]
    NoMediaType,
    /// A media type from outside the four.
    #[error("the media type {0} is none of an OCI or Docker manifest or index")]
    MediaType(String),
    /// The document and the header disagree.
    #[error("the manifest says that it is {document}, its Content-Type says {header}")]
    Disagreement {
        /// From the document's `mediaType`.
        document: String,
        /// From the answer's Content-Type.
        header: String,
    },
    /// A manifest with `manifests`, or an index with `layers` or `config`.
    #[error("the manifest has the fields of both a manifest and an index")]
    Ambiguous,
    /// Docker's first schema, or one not yet invented.
    #[error("the manifest has schema version {0}, only 2 is known: push the image again with a current tool")]
    Schema(u32),
    /// A digest of another algorithm.
    #[error("the manifest refers to something by a digest that cannot be used")]
    Digest(#[from] digest::ParseError),
}

/// A document and what it said it was.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// One of the four media types.
    pub media_type: String,
    /// The document.
    pub document: Document,
}

/// The two kinds of documents.
#[derive(Debug, Clone)]
pub enum Document {
    /// Config and layers.
    Manifest(Box<ImageManifest>),
    /// Other documents.
    Index(Box<ImageIndex>),
}

/// A blob or document as its parent describes it: all three are checked when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// Reads a document. `content_type` is the header that came with it; it must agree with the document, and one of the two must be there.
pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Parsed, Error> {
    if bytes.len() > LARGEST {
        return Err(Error::TooLarge(bytes.len()));
    }
    let shape: Shape = serde_json::from_slice(bytes)?;
    if shape.schema_version != 2 || shape.fs_layers.is_some() {
        return Err(Error::Schema(shape.schema_version));
    }
    let media_type = agreed(shape.media_type.as_deref(), content_type)?;
    let index = shape.manifests.is_some();
    if index && (shape.layers.is_some() || shape.config.is_some()) || index != is_index(&media_type) {
        return Err(Error::Ambiguous);
    }
    let document = match index {
        true => Document::Index(serde_json::from_slice(bytes)?),
        false => Document::Manifest(serde_json::from_slice(bytes)?),
    };
    Ok(Parsed { media_type, document })
}

fn agreed(document: Option<&str>, header: Option<&str>) -> Result<String, Error> {
    let header = header.map(|header| header.split(';').next().unwrap_or_default().trim());
    let media_type = match (document, header) {
        (None, None) => return Err(Error::NoMediaType),
        (Some(document), Some(header)) if !document.eq_ignore_ascii_case(header) => {
            return Err(Error::Disagreement { document: shown(document), header: shown(header) });
        }
        (Some(one), _) | (None, Some(one)) => one.to_ascii_lowercase(),
    };
    match media_type.as_str() {
        MANIFEST | INDEX | DOCKER_MANIFEST | DOCKER_INDEX => Ok(media_type),
        _ => Err(Error::MediaType(shown(&media_type))),
    }
}

fn is_index(media_type: &str) -> bool {
    matches!(media_type, INDEX | DOCKER_INDEX)
}

impl TryFrom<&Descriptor> for Described {
    type Error = digest::ParseError;

    fn try_from(descriptor: &Descriptor) -> Result<Described, digest::ParseError> {
        let digest = descriptor.digest().as_ref().parse()?;
        Ok(Described { media_type: descriptor.media_type().to_string(), digest, size: descriptor.size() })
    }
}

impl Parsed {
    /// The blobs without which the document is useless: config and layers, but not layers that lie at other addresses.
    pub fn blobs(&self) -> Result<Vec<Described>, Error> {
        let Document::Manifest(manifest) = &self.document else { return Ok(Vec::new()) };
        let elsewhere = |layer: &&Descriptor| layer.urls().as_ref().is_some_and(|urls| !urls.is_empty());
        let here = std::iter::once(manifest.config()).chain(manifest.layers().iter().filter(|layer| !elsewhere(layer)));
        here.map(|descriptor| Described::try_from(descriptor).map_err(Error::from)).collect()
    }

    /// The documents that an index lists.
    pub fn children(&self) -> Result<Vec<Described>, Error> {
        let Document::Index(index) = &self.document else { return Ok(Vec::new()) };
        index.manifests().iter().map(|descriptor| Described::try_from(descriptor).map_err(Error::from)).collect()
    }

    /// The document that this one is about, such as what a signature signs.
    pub fn subject(&self) -> Result<Option<Digest>, Error> {
        let subject = match &self.document {
            Document::Manifest(manifest) => manifest.subject(),
            Document::Index(index) => index.subject(),
        };
        Ok(subject.as_ref().map(|subject| subject.digest().as_ref().parse()).transpose()?)
    }
}

/// A descriptor of `size` bytes with `digest`.
pub(crate) fn descriptor(media_type: &str, digest: &Digest, size: usize) -> Result<Descriptor, pack::Error> {
    let digest = oci_spec::image::Digest::try_from(digest.to_string()).map_err(|error| pack::Error::Manifest(error.to_string()))?;
    Ok(Descriptor::new(MediaType::from(media_type), size as u64, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(fields: &str) -> String {
        let digest = Digest::of(b"");
        let blob = format!(r#"{{"mediaType":"{LAYER}","digest":"{digest}","size":0}}"#);
        format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[{blob}]{fields}}}"#)
    }

    fn index(fields: &str) -> String {
        let digest = Digest::of(b"");
        format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{digest}","size":0}}]{fields}}}"#)
    }

    fn check(document: &str, header: Option<&str>, want: &str) {
        let got = match parse(document.as_bytes(), header) {
            Ok(parsed) => format!("{} blobs, {} children", parsed.blobs().unwrap().len(), parsed.children().unwrap().len()),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(want), "{document}\n{header:?}: {got}");
    }

    #[test]
    fn both_kinds_are_read() {
        check(&manifest(""), Some(MANIFEST), "2 blobs, 0 children");
        check(&manifest(&format!(r#","mediaType":"{DOCKER_MANIFEST}""#)), None, "2 blobs, 0 children");
        check(&index(""), Some(INDEX), "0 blobs, 1 children");
        check(&index(""), Some("application/vnd.oci.image.index.v1+json; charset=utf-8"), "0 blobs, 1 children");
    }

    #[test]
    fn r7_media_types_that_are_absent_wrong_or_disagree_are_refused() {
        check(&manifest(""), None, "neither");
        check(&manifest(""), Some("text/plain"), "none of");
        check(&manifest(""), Some("application/json"), "none of");
        check(&manifest(&format!(r#","mediaType":"{MANIFEST}""#)), Some(INDEX), "its Content-Type says");
        check(&manifest(&format!(r#","mediaType":"{MANIFEST}""#)), Some("text/html"), "its Content-Type says");
        check(&manifest(r#","mediaType":"application/vnd.acme""#), None, "none of");
    }

    #[test]
    fn r7_a_document_with_both_manifests_and_layers_is_refused() {
        check(&manifest(r#","manifests":[]"#), Some(MANIFEST), "both");
        check(&manifest(r#","manifests":[]"#), Some(INDEX), "both");
        check(&index(r#","layers":[]"#), Some(INDEX), "both");
        check(&index(r#","config":{}"#), Some(INDEX), "both");
        check(&manifest(""), Some(INDEX), "both");
        check(&index(""), Some(MANIFEST), "both");
        check(&manifest(r#","layers":[]"#), Some(MANIFEST), "malformed");
    }

    #[test]
    fn r8_documents_over_4_mib_and_absurdly_deep_ones_are_refused() {
        check(&manifest(&format!(r#","annotations":{{"a":"{}"}}"#, "x".repeat(LARGEST))), Some(MANIFEST), "more than");
        check(&format!("{}{}", r#"{"schemaVersion":2,"a":"#, "[".repeat(100_000)), Some(MANIFEST), "malformed");
    }

    #[test]
    fn old_schemas_and_other_digests_are_refused() {
        check(r#"{"schemaVersion":1,"name":"a","fsLayers":[]}"#, Some(MANIFEST), "schema version 1");
        let sha512 = manifest("").replace("sha256:", "sha512:");
        assert!(parse(sha512.as_bytes(), Some(MANIFEST)).and_then(|parsed| parsed.blobs()).is_err());
        check(&manifest("").replace("\"size\":0", "\"size\":-1"), Some(MANIFEST), "malformed");
    }
}
