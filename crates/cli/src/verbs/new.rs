//! `wctl new`: a folder with a small service that builds and deploys at once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::args::New;
use crate::exit::Usage;
use crate::print;

/// The files of a service in Rust, by their paths in the folder.
const RUST: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml.in")),
    ("src/main.rs", include_str!("../../templates/rust/main.rs.in")),
    ("app.yaml", include_str!("../../templates/rust/app.yaml.in")),
    (".gitignore", "/target\n"),
];

/// Writes the folder, whole or not at all.
pub fn run(new: &New) -> Result<()> {
    let New { name, lang, output } = new;
    check(name)?;
    if lang != "rust" {
        bail!(Usage(format!(
            "there is no template for `{lang}` yet, only for rust; `build:` in app.yaml builds JavaScript, Python and Makefile projects too"
        )));
    }
    let folder = Path::new(name);
    if folder.exists() {
        bail!("{name} is there already; choose another name or remove it");
    }
    let write = || -> Result<()> {
        for (path, template) in RUST {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
            fs::write(&path, template.replace("{{name}}", name)).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    };
    // Half a folder would only be in the way of the next try.
    write().inspect_err(|_| drop(fs::remove_dir_all(folder)))?;
    let file = folder.join("app.yaml");
    let files: Vec<_> = RUST.iter().map(|(path, _)| folder.join(path)).collect();
    let sentence = format!("made {name}; run it with `wctl up {}`", file.display());
    print::outcome(output.output, sentence, file.display(), &json!({"app": name, "folder": folder, "files": files}))
}

/// The name becomes that of an app, a package and a host.
fn check(name: &str) -> Result<()> {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let framed = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-');
    if plain && framed && name.len() <= 40 {
        return Ok(());
    }
    bail!(Usage(format!(
        "`{name}` cannot be the name of an app: names are made of a-z, 0-9 and `-`, start with a letter, end with none of `-`, and have at most 40 characters"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_apps() {
        for good in ["hello", "a", "shop-2"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "1a", "A", "a/b", "../x", "a b", "é", &"a".repeat(41)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
