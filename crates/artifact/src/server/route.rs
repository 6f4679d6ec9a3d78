//! What a path under `/v2/` asks for. Names hold slashes, so paths are read from their end.

use super::answer::{Code, Refusal};
use crate::blobs::Name;
use crate::digest::{Digest, shown};
use crate::reference;

/// A repository and a part of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Empty for the catalog.
    pub repository: String,
    pub target: Target,
}

/// The part that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Catalog,
    Tags,
    Referrers(Digest),
    Blob(Digest),
    Manifest(Name),
    Uploads,
    Upload(String),
}

impl Target {
    /// What may be done to it, for the Allow header.
    pub fn methods(&self) -> &'static str {
        match self {
            Target::Catalog | Target::Tags | Target::Referrers(_) => "GET",
            Target::Blob(_) => "GET, HEAD, DELETE",
            Target::Manifest(_) => "GET, HEAD, PUT, DELETE",
            Target::Uploads => "POST",
            Target::Upload(_) => "GET, PATCH, PUT, DELETE",
        }
    }
}

/// Reads the path behind `/v2/`.
pub(super) fn parse(rest: &str) -> Result<Route, Refusal> {
    if rest == "_catalog" {
        return Ok(Route { repository: String::new(), target: Target::Catalog });
    }
    let elements: Vec<&str> = rest.split('/').collect();
    let (name, target) = match elements.as_slice() {
        [name @ .., "tags", "list"] => (name, Target::Tags),
        [name @ .., "blobs", "uploads", ""] | [name @ .., "blobs", "uploads"] => (name, Target::Uploads),
        [name @ .., "blobs", "uploads", id] => (name, Target::Upload(id.to_string())),
        [name @ .., "blobs", digest] => (name, Target::Blob(read_digest(digest)?)),
        [name @ .., "referrers", digest] => (name, Target::Referrers(read_digest(digest)?)),
        [name @ .., "manifests", name_or_digest] => (name, Target::Manifest(read_name(name_or_digest)?)),
        _ => return Err(Refusal::new(404, Code::Unsupported, "there is nothing at this path")),
    };
    let repository = name.join("/");
    match reference::is_repository(&repository) {
        true => Ok(Route { repository, target }),
        false => Err(Refusal::new(400, Code::NameInvalid, format!("the repository name {} is not allowed", shown(&repository)))),
    }
}

pub(super) fn read_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|error: crate::digest::ParseError| Refusal::new(400, Code::DigestInvalid, error.to_string()))
}

fn read_name(text: &str) -> Result<Name, Refusal> {
    let code = if text.contains(':') { Code::DigestInvalid } else { Code::ManifestInvalid };
    text.parse().map_err(|error: crate::blobs::Error| Refusal::new(400, code, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, repository: &str, target: Target) {
        assert_eq!(parse(path).unwrap(), Route { repository: repository.into(), target }, "{path}");
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::of(b"");
        check("a/tags/list", "a", Target::Tags);
        check("a/b/c/tags/list", "a/b/c", Target::Tags);
        check("a/blobs/uploads/", "a", Target::Uploads);
        check("a/blobs/uploads/x-1", "a", Target::Upload("x-1".into()));
        check(&format!("a/blobs/{digest}"), "a", Target::Blob(digest));
        check("blobs/uploads/manifests/latest", "blobs/uploads", Target::Manifest(Name::Tag("latest".into())));
        check(&format!("tags/list/manifests/{digest}"), "tags/list", Target::Manifest(Name::Digest(digest)));
        check("_catalog", "", Target::Catalog);
    }

    #[test]
    fn r16_no_bad_name_gets_through() {
        for path in [
            "",
            "/",
            "a",
            "tags/list",
            "../tags/list",
            "a/../b/tags/list",
            "A/tags/list",
            "a//b/tags/list",
            "a/blobs/sha256:..%2f",
            "a/blobs/../../x",
            "a/blobs/md5:00",
            "a/manifests/..",
            "a/manifests/",
            "a/manifests/sha256:00",
            "é/tags/list",
            "a\\b/tags/list",
            "a/manifests/a\0b",
            &format!("{}/tags/list", "a".repeat(300)),
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }
}
