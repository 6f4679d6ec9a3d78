//! JavaScript: `npm ci`, then the package's own build script, or jco where it has none.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::command::{run, script};

/// What to do without npm.
const MISSING: &str = "install Node.js from https://nodejs.org";

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

/// `npm ci` where a lock file says exactly what; `npm install` where none does.
async fn install(folder: &Path) -> Result<()> {
    let locked = folder.join("package-lock.json").is_file() || folder.join("npm-shrinkwrap.json").is_file();
    let mut npm = script("npm", folder);
    npm.args([if locked { "ci" } else { "install" }, "--no-fund", "--no-audit"]);
    run(npm, MISSING).await
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
