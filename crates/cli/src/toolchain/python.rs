//! Python: `componentize-py` on the module `app`, with the world in the folder `wit`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::command::{run, tool};

/// Builds `app.py` in `folder`.
pub async fn build(folder: &Path) -> Result<PathBuf> {
    if !folder.join("app.py").is_file() || !folder.join("wit").is_dir() {
        bail!(
            "{} needs an `app.py` and a folder `wit` with one world; for another layout say how with `build: {{path, command, output}}`",
            folder.display()
        );
    }
    let component = folder.join("component.wasm");
    let mut command = tool("componentize-py", folder);
    command.args(["--wit-path", "wit", "componentize", "app", "--output"]).arg(&component);
    run(command, "install it with `pip install componentize-py`").await?;
    Ok(component)
}
