//! An image reference as a person types it: `registry/repository:tag@digest`, each part checked before it is used for anything.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{self, Digest, shown};

/// The most characters that registry and repository have together.
const LONGEST: usize = 255;

/// Where an artifact is: a registry (none means the one that is embedded in the server), a repository in it, and a tag, a digest or both.
///
/// The first element of a path is a registry when it holds a `.` or a `:` or is `localhost`, as in Docker. Unlike there, a reference
/// without a registry is not on Docker Hub: write `docker.io/library/hello`. With tag and digest the digest alone decides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading the image reference {text}: {why}")]
pub struct ParseError {
    text: String,
    why: Why,
}

/// The rule that a text breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("it is empty")]
    Empty,
    #[error("it starts with {0}: write only registry/name:tag")]
    Scheme(String),
    #[error("it is longer than {LONGEST} characters")]
    Long,
    #[error("the registry {0} is not a host name with an optional port")]
    Registry(String),
    #[error("upper-case letters are not allowed in a name: write {0}")]
    UpperCase(String),
    #[error("the name {0} may hold only a-z, 0-9 and single separators (. _ __ -) between them, in elements split by /")]
    Repository(String),
    #[error("the tag {0} may hold only letters, digits, _ . and -, at most 128, and starts with none of the last two")]
    Tag(String),
    #[error("{0}")]
    Digest(digest::ParseError),
}

impl Reference {
    /// The registry's host and port, or nothing for the embedded one.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// The repository's path within the registry, such as `acme/inventory`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag as typed.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest, when the reference is pinned.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same place pinned to `digest`, its tag dropped: what a revision holds.
    pub fn pinned(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository under `tag`.
    pub fn tagged(&self, tag: &str) -> Result<Reference, ParseError> {
        let fail = |why| ParseError { text: shown(tag), why };
        Ok(Reference { tag: Some(checked_tag(tag).map_err(fail)?), digest: None, ..self.clone() })
    }

    /// What is asked for when neither tag nor digest is given is `latest`, as everywhere.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }
}

impl FromStr for Reference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Reference, ParseError> {
        parse(text).map_err(|why| ParseError { text: shown(text), why })
    }
}

fn parse(text: &str) -> Result<Reference, Why> {
    if text.is_empty() {
        return Err(Why::Empty);
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(Why::Scheme(shown(&format!("{scheme}://"))));
    }
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => (rest, Some(digest.parse().map_err(Why::Digest)?)),
    };
    let (registry, rest) = match rest.split_once('/') {
        Some((first, rest)) if is_registry(first) => (Some(checked_registry(first)?), rest),
        _ => (None, rest),
    };
    let (repository, tag) = match rest.split_once(':') {
        None => (rest, None),
        Some((repository, tag)) => (repository, Some(checked_tag(tag)?)),
    };
    check_repository(repository)?;
    if registry.as_ref().map_or(0, String::len) + repository.len() > LONGEST {
        return Err(Why::Long);
    }
    Ok(Reference { registry, repository: repository.to_string(), tag, digest })
}

fn is_registry(element: &str) -> bool {
    element.contains(['.', ':']) || element == "localhost"
}

fn checked_registry(text: &str) -> Result<String, Why> {
    let wrong = || Why::Registry(shown(text));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<Ipv6Addr>().map_err(|_| wrong())?;
            (None, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
        }
        None => match text.split_once(':') {
            None => (Some(text), None),
            Some((host, port)) => (Some(host), Some(port)),
        },
    };
    if !host.is_none_or(is_host) || !port.is_none_or(is_port) {
        return Err(wrong());
    }
    Ok(text.to_ascii_lowercase())
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label)
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn checked_tag(tag: &str) -> Result<String, Why> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    let good = tag.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-');
    if good { Ok(tag.to_string()) } else { Err(Why::Tag(shown(tag))) }
}

/// Whether `name` is a repository's name by the distribution specification: no such name can be a path out of a folder.
pub(crate) fn is_repository(name: &str) -> bool {
    name.len() <= LONGEST && name.split('/').all(is_element)
}

/// Whether `tag` is a tag by the distribution specification.
pub(crate) fn is_tag(tag: &str) -> bool {
    checked_tag(tag).is_ok()
}

// Words of a-z and 0-9 with one separator between two of them: a dot, one or two underscores, or any number of hyphens.
fn is_element(element: &str) -> bool {
    let separator = |byte: u8| matches!(byte, b'.' | b'_' | b'-');
    if !element.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || separator(byte)) {
        return false;
    }
    let word = |character: char| character.is_ascii_alphanumeric();
    let (first, last) = (element.chars().next(), element.chars().last());
    first.is_some_and(word)
        && last.is_some_and(word)
        && element
            .split(word)
            .filter(|gap| !gap.is_empty())
            .all(|gap| matches!(gap, "." | "_" | "__") || gap.bytes().all(|byte| byte == b'-'))
}

fn check_repository(name: &str) -> Result<(), Why> {
    if is_repository(name) {
        return Ok(());
    }
    let lower = name.to_ascii_lowercase();
    Err(match name.len() > LONGEST {
        true => Why::Long,
        false if lower != name && is_repository(&lower) => Why::UpperCase(lower),
        false => Why::Repository(shown(name)),
    })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Reference, ParseError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// registry | repository | tag | digest's first digits
    fn check(text: &str, want: &str) {
        let got = match text.parse::<Reference>() {
            Err(error) => error.to_string(),
            Ok(parsed) => {
                assert_eq!(parsed.to_string().to_lowercase(), text.to_lowercase());
                let digest = parsed.digest().map(|digest| digest.hex()[..6].to_string());
                let none = "-".to_string();
                format!(
                    "{} | {} | {} | {}",
                    parsed.registry().unwrap_or("-"),
                    parsed.repository(),
                    parsed.tag().unwrap_or("-"),
                    digest.unwrap_or(none)
                )
            }
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn each_part_is_found() {
        let digest = Digest::of(b"");
        check("hello", "- | hello | - | -");
        check("acme/hello:1.0", "- | acme/hello | 1.0 | -");
        check("ghcr.io/acme/hello:1.0", "ghcr.io | acme/hello | 1.0 | -");
        check("localhost/hello", "localhost | hello | - | -");
        check("localhost:5000/hello:v1", "localhost:5000 | hello | v1 | -");
        check("[::1]:5000/a/b", "[::1]:5000 | a/b | - | -");
        check("127.0.0.1:5000/a__b/c---d.e:Tag_9", "127.0.0.1:5000 | a__b/c---d.e | Tag_9 | -");
        check(&format!("hello@{digest}"), "- | hello | - | e3b0c4");
        check(&format!("ghcr.io/acme/hello:1@{digest}"), "ghcr.io | acme/hello | 1 | e3b0c4");
        check("GHCR.io/acme/hello", "ghcr.io | acme/hello | - | -");
    }

    #[test]
    fn r16_bad_names_are_parse_errors_and_never_paths() {
        let long = "a".repeat(300);
        for text in [
            "",
            "/",
            "..",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "/a",
            "a/",
            "a/b/",
            "a:",
            "a:b:c",
            "a:../x",
            "a:b/c",
            ":tag",
            "a@",
            "a@sha256:..%2f",
            "a@md5:d41d8cd98f00b204e9800998ecf8427e",
            "a@sha256:e3b0c4",
            "a@@sha256:",
            "Upper",
            "ghcr.io/Acme/x",
            "é",
            "ghcr.io/ünï/x",
            "a b",
            "a\0b",
            "a\nb",
            "a%2fb",
            "a\\b",
            "-a",
            "a-",
            "a._b",
            "a___b",
            "a..b",
            "_a",
            "https://ghcr.io/a",
            "oci://a",
            "ghcr.io:0/a",
            "ghcr.io:99999/a",
            "ghcr.io:+1/a",
            "ghcr.io:/a",
            "[::1/a",
            "[zz]:1/a",
            "[::1]x/a",
            "-bad.io/a",
            "a..io/b",
            "user@ghcr.io/a",
            "ghcr.io/a:-x",
            "ghcr.io/a:.x",
            "xn--..io/a",
            &long,
            &format!("a:{}", "t".repeat(129)),
            &format!("{long}.io/a"),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was taken for a reference");
        }
    }

    #[test]
    fn r16_errors_say_what_to_write() {
        check(
            "ghcr.io/Acme/Hello:1",
            r#"reading the image reference "ghcr.io/Acme/Hello:1": upper-case letters are not allowed in a name: write acme/hello"#,
        );
        check(
            "https://ghcr.io/a",
            r#"reading the image reference "https://ghcr.io/a": it starts with "https://": write only registry/name:tag"#,
        );
    }

    #[test]
    fn a_pin_drops_the_tag_and_keeps_the_place() {
        let typed: Reference = "ghcr.io/acme/hello:1".parse().unwrap();
        let pinned = typed.pinned(Digest::of(b""));
        assert_eq!(pinned.to_string(), format!("ghcr.io/acme/hello@{}", Digest::of(b"")));
        assert_eq!(pinned.tagged("2").unwrap().to_string(), "ghcr.io/acme/hello:2");
        assert!(pinned.tagged("../2").is_err());
    }

    proptest::proptest! {
        #[test]
        fn r16_what_parses_prints_and_parses_again(text in "[a-zA-Z0-9.:/@_%-]{0,40}") {
            if let Ok(parsed) = text.parse::<Reference>() {
                proptest::prop_assert_eq!(parsed.to_string().parse::<Reference>().unwrap(), parsed.clone());
                proptest::prop_assert!(!parsed.repository().split('/').any(|element| element.is_empty() || element.starts_with('.')));
            }
        }
    }
}
