//! Rust: `cargo build --release --target wasm32-wasip2`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::Value;

use super::command::{output, run, tool};
use crate::print;

/// The target that makes components.
const TARGET: &str = "wasm32-wasip2";
/// What to do without cargo.
const MISSING: &str = "install Rust from https://rustup.rs";

/// Builds the package in `folder`, adding the target first where it is missing.
pub async fn build(folder: &Path) -> Result<PathBuf> {
    add_target(folder).await?;
    let mut cargo = tool("cargo", folder);
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let messages = output(cargo, MISSING).await?;
    let mut made = components(&messages, &folder.join("Cargo.toml"));
    match made.len() {
        1 => Ok(made.remove(0)),
        0 => bail!("{} makes no component; it needs a `main.rs`, or a library with `crate-type = [\"cdylib\"]`", folder.display()),
        _ => {
            let names = made.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect::<Vec<_>>();
            bail!(
                "{} makes several components ({}); choose one with `build: {{path, command, output}}`",
                folder.display(),
                names.join(", ")
            )
        }
    }
}

/// `rust-toolchain.toml` alone does not add the target where rustup's auto-install is off.
async fn add_target(folder: &Path) -> Result<()> {
    let mut rustc = tool("rustc", folder);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let libraries = output(rustc, MISSING).await?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    print::note(format_args!("adding the Rust target {TARGET}"));
    let mut rustup = tool("rustup", folder);
    rustup.args(["target", "add", TARGET]);
    run(rustup, &format!("the Rust target {TARGET} is missing: install it as you installed Rust, or install Rust from https://rustup.rs"))
        .await
}

/// The .wasm files of this very package among all that cargo says it made.
fn components(messages: &str, manifest: &Path) -> Vec<PathBuf> {
    let manifest = std::fs::canonicalize(manifest).ok();
    let ours = |message: &Value| message["manifest_path"].as_str().is_some_and(|path| std::fs::canonicalize(path).ok() == manifest);
    let mut found: Vec<PathBuf> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && ours(message))
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|name| name.as_str().map(PathBuf::from))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_packages_own_components_count() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join("Cargo.toml"), folder.path().join("Other.toml"));
        std::fs::write(&ours, "").unwrap();
        std::fs::write(&other, "").unwrap();
        let message = |manifest: &Path, name: &str| {
            serde_json::json!({"reason": "compiler-artifact", "manifest_path": manifest, "filenames": [name]}).to_string()
        };
        let lines = [message(&other, "/t/dep.wasm"), message(&ours, "/t/user.wasm"), message(&ours, "/t/libuser.rlib"), "not json".into()];
        assert_eq!(components(&lines.join("\n"), &ours), [PathBuf::from("/t/user.wasm")]);
    }
}
