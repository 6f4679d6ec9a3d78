//! Whether what a component imports is offered: interface names and their versions.

use std::fmt;

/// An import that nobody here offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The import's full name.
    pub import: String,
    /// Versions of the same interface that are offered, in the order given.
    pub offered: Vec<String>,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offered.as_slice() {
            [] => write!(f, "the component imports {}, which is not offered here", self.import),
            versions => {
                let versions: Vec<&str> = versions.iter().filter_map(|name| version(name)).collect();
                write!(f, "the component imports {}, and only version {} of it is offered here", self.import, versions.join(" or "))
            }
        }
    }
}

pub(super) fn unsupported(imports: &[String], offered: &[&str]) -> Vec<Unsupported> {
    let served = |import: &str| offered.iter().any(|offer| compatible(offer, import));
    imports
        .iter()
        .filter(|import| !served(import))
        .map(|import| {
            let same = offered.iter().filter(|offer| without_version(offer) == without_version(import) && version(offer).is_some());
            Unsupported { import: import.clone(), offered: same.map(|offer| offer.to_string()).collect() }
        })
        .collect()
}

/// Whether the interface `offer` can stand where `import` is asked for: the same name, and versions that promise compatibility
/// (equal up to the first number that is not zero; versions like 0.0.x and pre-releases must be equal).
pub fn compatible(offer: &str, import: &str) -> bool {
    offer == import
        || without_version(offer) == without_version(import)
            && matches!((version(offer).and_then(track), version(import).and_then(track)), (Some(one), Some(other)) if one == other)
}

pub(super) fn without_version(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

fn version(name: &str) -> Option<&str> {
    name.split_once('@').map(|(_, version)| version)
}

/// The part of a version within which all are compatible; none for versions that are compatible with nothing else.
fn track(version: &str) -> Option<(u64, u64)> {
    let version = version.split_once('+').map_or(version, |(version, _)| version);
    let mut numbers = version.splitn(3, '.').map(str::parse::<u64>);
    match (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?) {
        (0, 0, _) => None,
        (0, minor, _) => Some((0, minor)),
        (major, ..) => Some((major, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h40_versions_are_compatible_up_to_the_first_number_that_is_not_zero() {
        for (offer, import, want) in [
            ("a:b/c@0.2.6", "a:b/c@0.2.0", true),
            ("a:b/c@0.2.6", "a:b/c@0.2.12", true),
            ("a:b/c@0.2.6+build", "a:b/c@0.2.1", true),
            ("a:b/c@0.2.6", "a:b/c@0.3.0", false),
            ("a:b/c@1.2.3", "a:b/c@1.9.0", true),
            ("a:b/c@1.2.3", "a:b/c@2.0.0", false),
            ("a:b/c@0.0.1", "a:b/c@0.0.2", false),
            ("a:b/c@0.0.1", "a:b/c@0.0.1", true),
            ("a:b/c@0.2.0-draft", "a:b/c@0.2.0-draft2", false),
            ("a:b/c@0.2.0-draft2", "a:b/c@0.2.0-draft2", true),
            ("a:b/c@0.2.0-draft2", "a:b/c@0.2.0", false),
            ("a:b/c@0.2.0", "a:b/d@0.2.0", false),
            ("a:b/c@0.2.0", "a:b/c", false),
            ("go", "go", true),
            ("a:b/c@x.y.z", "a:b/c@x.y.z", true),
            ("a:b/c@0.2", "a:b/c@0.2.0", false),
        ] {
            assert_eq!(compatible(offer, import), want, "{offer} for {import}");
        }
    }

    #[test]
    fn h40_an_unknown_import_or_a_newer_version_is_named() {
        let imports = ["acme:db/sql@1.0.0", "wasi:http/types@0.2.1", "wasi:http/types@0.4.0"].map(String::from);
        let missing = unsupported(&imports, &["wasi:http/types@0.2.6", "wasi:http/types@0.3.0"]);
        let messages: Vec<String> = missing.iter().map(Unsupported::to_string).collect();
        assert_eq!(
            messages,
            [
                "the component imports acme:db/sql@1.0.0, which is not offered here",
                "the component imports wasi:http/types@0.4.0, and only version 0.2.6 or 0.3.0 of it is offered here",
            ]
        );
    }
}
