//! JavaScript: `npm ci`, then the package's own build script, or jco where it has none.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::command::{run, script};

/// What to do without npm.
const MISSING: &str = "install Node.js with npm from https://nodejs.org";
/// Files that say exactly which packages are needed.
const LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];

/// Builds the package in `folder`; `None` if its own script decides where the component goes.
pub async fn build(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join("package.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let package: Value = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    install(folder).await?;
    if package["scripts"]["build"].is_string() {
        let mut npm = script("npm", folder);
        npm.args(["run", "build"]);
        run(npm, MISSING).await?;
        return Ok(None);
    }
    componentize(folder, &package).await.map(Some)
}

/// `npm ci` where a lock file says exactly what; `npm install` where none does; nothing where the packages are newer than what asks for them.
async fn install(folder: &Path) -> Result<()> {
    if is_installed(folder) {
        return Ok(());
    }
    let locked = LOCKS.iter().any(|name| folder.join(name).is_file());
    let mut npm = script("npm", folder);
    npm.args([if locked { "ci" } else { "install" }, "--no-fund", "--no-audit"]);
    run(npm, MISSING).await
}

/// Whether npm put the packages there after the last change of what it reads; it writes a list of them when it is done.
fn is_installed(folder: &Path) -> bool {
    let changed = |name: &str| std::fs::metadata(folder.join(name)).and_then(|file| file.modified()).ok();
    let Some(done) = changed("node_modules/.package-lock.json") else { return false };
    ["package.json", ".npmrc"].iter().chain(&LOCKS).filter_map(|name| changed(name)).all(|asked| asked <= done)
}

async fn componentize(folder: &Path, package: &Value) -> Result<PathBuf> {
    let jco = folder.join("node_modules").join(".bin").join("jco");
    let (Some(main), true, true) = (package["main"].as_str(), folder.join("wit").is_dir(), jco.exists()) else {
        bail!(
            "{} has no `build` script; give it one, or a `main`, a folder `wit` and @bytecodealliance/jco among its dependencies",
            folder.join("package.json").display()
        );
    };
    let component = folder.join("component.wasm");
    let mut command = script(&jco.to_string_lossy(), folder);
    command.args(["componentize", main, "--wit", "wit", "--out"]).arg(&component);
    run(command, MISSING).await?;
    Ok(component)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    #[test]
    fn packages_are_installed_when_what_asks_for_them_is_newer() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, seconds: u64| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        std::fs::create_dir(folder.path().join("node_modules")).unwrap();
        at("package.json", 10);
        assert!(!is_installed(folder.path()), "never installed");
        at("node_modules/.package-lock.json", 20);
        assert!(is_installed(folder.path()));
        at("package-lock.json", 30);
        assert!(!is_installed(folder.path()), "the lock file has changed since");
    }
}
