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

/// Every interface that nodes offer to components; each serves all compatible versions of itself.
pub const OFFERED: &[&str] = &[
    "wasi:blobstore/blobstore@0.2.0-draft",
    "wasi:blobstore/container@0.2.0-draft",
    "wasi:blobstore/types@0.2.0-draft",
    "wasi:cli/environment@0.2.12",
    "wasi:cli/environment@0.3.0",
    "wasi:cli/exit@0.2.12",
    "wasi:cli/exit@0.3.0",
    "wasi:cli/stderr@0.2.12",
    "wasi:cli/stderr@0.3.0",
    "wasi:cli/stdin@0.2.12",
    "wasi:cli/stdin@0.3.0",
    "wasi:cli/stdout@0.2.12",
    "wasi:cli/stdout@0.3.0",
    "wasi:cli/terminal-input@0.2.12",
    "wasi:cli/terminal-input@0.3.0",
    "wasi:cli/terminal-output@0.2.12",
    "wasi:cli/terminal-output@0.3.0",
    "wasi:cli/terminal-stderr@0.2.12",
    "wasi:cli/terminal-stderr@0.3.0",
    "wasi:cli/terminal-stdin@0.2.12",
    "wasi:cli/terminal-stdin@0.3.0",
    "wasi:cli/terminal-stdout@0.2.12",
    "wasi:cli/terminal-stdout@0.3.0",
    "wasi:cli/types@0.3.0",
    "wasi:clocks/monotonic-clock@0.2.12",
    "wasi:clocks/monotonic-clock@0.3.0",
    "wasi:clocks/system-clock@0.3.0",
    "wasi:clocks/types@0.3.0",
    "wasi:clocks/wall-clock@0.2.12",
    "wasi:config/runtime@0.2.0-draft",
    "wasi:config/store@0.2.0-draft",
    "wasi:filesystem/preopens@0.2.12",
    "wasi:filesystem/preopens@0.3.0",
    "wasi:filesystem/types@0.2.12",
    "wasi:filesystem/types@0.3.0",
    "wasi:http/client@0.3.0",
    "wasi:http/outgoing-handler@0.2.12",
    "wasi:http/types@0.2.12",
    "wasi:http/types@0.3.0",
    "wasi:io/error@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
    "wasi:keyvalue/atomics@0.2.0-draft",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft",
    "wasi:keyvalue/batch@0.2.0-draft2",
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:logging/logging",
    "wasi:logging/logging@0.1.0-draft",
    "wasi:random/insecure-seed@0.2.12",
    "wasi:random/insecure-seed@0.3.0",
    "wasi:random/insecure@0.2.12",
    "wasi:random/insecure@0.3.0",
    "wasi:random/random@0.2.12",
    "wasi:random/random@0.3.0",
    "wasi:sockets/instance-network@0.2.12",
    "wasi:sockets/ip-name-lookup@0.2.12",
    "wasi:sockets/ip-name-lookup@0.3.0",
    "wasi:sockets/network@0.2.12",
    "wasi:sockets/tcp-create-socket@0.2.12",
    "wasi:sockets/tcp@0.2.12",
    "wasi:sockets/types@0.3.0",
    "wasi:sockets/udp-create-socket@0.2.12",
    "wasi:sockets/udp@0.2.12",
];

/// [`OFFERED`] in short, for people.
pub const PACKAGES: [&str; 11] = [
    "wasi:blobstore (0.2.0-draft)",
    "wasi:cli",
    "wasi:clocks",
    "wasi:config",
    "wasi:filesystem",
    "wasi:http",
    "wasi:io",
    "wasi:keyvalue (0.2.0-draft, 0.2.0-draft2)",
    "wasi:logging (0.1.0-draft)",
    "wasi:random",
    "wasi:sockets",
];

/// One sentence for what nodes do not offer of what a component needs; none where they offer all.
pub fn refusal(missing: &[Unsupported]) -> Option<String> {
    let named: Vec<String> = missing.iter().map(Unsupported::to_string).collect();
    (!named.is_empty()).then(|| format!("{}; offered are {}", named.join("; "), PACKAGES.join(", ")))
}

/// Those of `imports` that none of `offered` can serve.
pub fn unsupported(imports: &[String], offered: &[&str]) -> Vec<Unsupported> {
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
    fn h40_a_refusal_names_the_import_and_what_is_offered() {
        assert_eq!(refusal(&[]), None);
        let imports = ["wasi:http/types@0.2.4", "wasi:io/poll@0.9.12"].map(String::from);
        let said = refusal(&unsupported(&imports, OFFERED)).expect("a refusal");
        assert!(said.contains("wasi:io/poll@0.9.12, and only version 0.2.12") && said.contains("offered are wasi:blobstore"), "{said}");
        let package = |name: &str| name.split_once('/').map(|(package, _)| package.to_owned());
        for name in OFFERED {
            assert!(PACKAGES.iter().any(|said| package(name).is_some_and(|package| said.starts_with(&package))), "{name}");
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
