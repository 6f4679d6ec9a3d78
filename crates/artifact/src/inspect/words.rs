//! The imports and exports of a component in words for people who have never read a WIT file.

use super::{Inspection, World, offered::without_version};

/// An ability: the interfaces that give it, what it is when a component has it, what to say when it lacks it (if that is worth a line).
struct Ability {
    interfaces: &'static [&'static str],
    has: &'static str,
    lacks: &'static str,
}

/// In the order of how much they matter to somebody who decides whether to run a stranger's component.
const ABILITIES: [Ability; 11] = [
    Ability {
        interfaces: &["wasi:http/outgoing-handler", "wasi:http/client"],
        has: "may ask to send HTTP requests; reaches only what `uses.connect` and `uses.call` name",
        lacks: "cannot send HTTP requests",
    },
    Ability {
        interfaces: &["wasi:sockets/*"],
        has: "may ask to open network connections; reaches only what `uses.connect` names",
        lacks: "cannot open network connections",
    },
    Ability {
        interfaces: &["wasi:filesystem/*"],
        has: "may ask for files; sees only the folders that `uses.volumes` names",
        lacks: "cannot touch files",
    },
    Ability {
        interfaces: &["wasi:keyvalue/*"],
        has: "may keep data under keys, in the buckets that `uses.keyvalue` names",
        lacks: "cannot keep data under keys",
    },
    Ability { interfaces: &["wasi:blobstore/*"], has: "may keep large objects, in the containers that `uses.blobs` names", lacks: "" },
    Ability { interfaces: &["wasi:config/*"], has: "reads its configuration", lacks: "" },
    Ability { interfaces: &["wasi:cli/environment"], has: "reads its arguments and the environment variables that it is given", lacks: "" },
    Ability { interfaces: &["wasi:cli/stdin"], has: "may read its standard input", lacks: "" },
    Ability { interfaces: &["wasi:cli/stdout", "wasi:cli/stderr", "wasi:logging/*"], has: "writes to its log", lacks: "" },
    Ability { interfaces: &["wasi:clocks/*"], has: "tells the time and waits", lacks: "" },
    Ability { interfaces: &["wasi:random/*"], has: "draws random numbers", lacks: "" },
];

/// Interfaces that only carry the others.
const PLUMBING: [&str; 6] = ["wasi:io/*", "wasi:cli/exit", "wasi:cli/terminal*", "wasi:cli/types", "wasi:http/types", "wasi:tls/types"];

pub(super) fn plain(inspection: &Inspection) -> Vec<String> {
    let imports: Vec<&str> = inspection.imports.iter().map(|name| without_version(name)).collect();
    let asks = |ability: &&Ability| imports.iter().any(|import| matches_any(ability.interfaces, import));
    let has = ABILITIES.iter().filter(asks).map(|ability| ability.has.to_string());
    let unknown = inspection.imports.iter().filter(|name| !is_known(without_version(name)));
    let lacks = ABILITIES.iter().filter(|ability| !asks(ability) && !ability.lacks.is_empty()).map(|ability| ability.lacks.to_string());
    let mut lines = vec![what_it_is(inspection)];
    lines.extend(has);
    lines.extend(unknown.map(|name| format!("asks for {name}, which is none of the interfaces known here")));
    lines.extend(lacks);
    lines
}

fn what_it_is(inspection: &Inspection) -> String {
    match inspection.world {
        World::Http02 => "answers HTTP requests (WASI 0.2)".to_string(),
        World::Http03 => "answers HTTP requests (WASI 0.3)".to_string(),
        World::Command => "runs as a command, as a worker or a job".to_string(),
        World::Library if inspection.exports.is_empty() => "exports nothing, so there is nothing to run".to_string(),
        World::Library => format!("cannot be run by itself: it exports only {}", inspection.exports.join(", ")),
    }
}

fn is_known(import: &str) -> bool {
    matches_any(&PLUMBING, import) || ABILITIES.iter().any(|ability| matches_any(ability.interfaces, import))
}

fn matches_any(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use crate::inspect::{inspect, tests::component};

    fn words(imports: &[&str], exports: &[&str]) -> Vec<String> {
        inspect(&component(imports, exports)).unwrap().in_plain_words()
    }

    #[test]
    fn a_quiet_server_cannot_do_much() {
        assert_eq!(
            words(&["wasi:http/types@0.2.4", "wasi:io/streams@0.2.4"], &["wasi:http/incoming-handler@0.2.4"]),
            [
                "answers HTTP requests (WASI 0.2)",
                "cannot send HTTP requests",
                "cannot open network connections",
                "cannot touch files",
                "cannot keep data under keys",
            ]
        );
    }

    #[test]
    fn abilities_and_unknown_imports_are_named() {
        let imports = ["acme:db/sql@1.0.0", "wasi:filesystem/types@0.2.0", "wasi:keyvalue/store@0.2.0-draft2", "wasi:sockets/tcp@0.2.0"];
        let words = words(&[&imports[..], &["wasi:http/client@0.3.0", "wasi:cli/stderr@0.2.0"]].concat(), &["wasi:cli/run@0.2.0"]);
        assert_eq!(words[0], "runs as a command, as a worker or a job");
        assert!(words[1].starts_with("may ask to send HTTP requests"));
        assert!(words.iter().any(|line| line == "asks for acme:db/sql@1.0.0, which is none of the interfaces known here"));
        assert!(!words.iter().any(|line| line.starts_with("cannot")), "{words:?}");
    }

    #[test]
    fn drafts_are_described_like_the_rest() {
        let imports = [
            "wasi:blobstore/types@0.2.0-draft",
            "wasi:blobstore/container@0.2.0-draft",
            "wasi:blobstore/blobstore@0.2.0-draft",
            "wasi:logging/logging@0.1.0-draft",
            "wasi:filesystem/preopens@0.3.0",
        ];
        let words = words(&imports, &["wasi:cli/run@0.2.0"]);
        for line in [
            "may ask for files; sees only the folders that `uses.volumes` names",
            "may keep large objects, in the containers that `uses.blobs` names",
            "writes to its log",
        ] {
            assert_eq!(words.iter().filter(|word| *word == line).count(), 1, "{words:?}");
        }
        assert!(!words.iter().any(|line| line.starts_with("asks for")), "{words:?}");
    }

    #[test]
    fn a_library_is_said_to_be_one() {
        assert_eq!(words(&[], &["acme:math/add@1.0.0"])[0], "cannot be run by itself: it exports only acme:math/add@1.0.0");
        assert_eq!(words(&[], &[])[0], "exports nothing, so there is nothing to run");
    }
}
