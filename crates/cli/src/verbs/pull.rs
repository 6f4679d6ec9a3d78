//! `wctl pull`: a component from a registry to a file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use artifact::Reference;
use serde_json::json;

use crate::args::{Globals, Pull};
use crate::exit::Usage;
use crate::{print, registry};

/// Pulls, checks every digest, and writes the file whole or not at all.
pub async fn run(globals: &Globals, pull: Pull) -> Result<()> {
    let reference: Reference = pull.reference.parse().map_err(|error| Usage(format!("{error}")))?;
    let client = registry::connected(globals, &reference).await?;
    let pulled = client.pull(&reference).await?;
    if pull.file.as_deref() == Some(Path::new("-")) {
        return print::raw(&pulled.wasm);
    }
    let file = pull.file.unwrap_or_else(|| named(&reference));
    if !pull.force {
        refuse_others(&file, &pulled.wasm)?;
    }
    write(&file, &pulled.wasm).with_context(|| format!("writing {}", file.display()))?;
    let pinned = reference.pinned(pulled.digest).to_string();
    let value = json!({"pinned": pinned, "file": file, "size": pulled.wasm.len()});
    print::outcome(pull.output.output, format_args!("pulled {pinned} to {}", file.display()), file.display(), &value)
}

/// What was pulled before may be pulled again; anything else is somebody's.
fn refuse_others(file: &Path, wasm: &[u8]) -> Result<()> {
    match std::fs::read(file) {
        Ok(there) if there != wasm => {
            bail!("{} is there already and holds something else; write over it with --force, or name another file", file.display())
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("looking at {}", file.display())),
    }
}

fn named(reference: &Reference) -> PathBuf {
    let last = reference.repository().rsplit('/').next().unwrap_or("component");
    PathBuf::from(format!("{last}.wasm"))
}

fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = file.with_extension(format!("part{}", std::process::id()));
    let done = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, file));
    done.inspect_err(|_| drop(std::fs::remove_file(&beside)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        assert!(refuse_others(&file, b"new").is_ok());
        std::fs::write(&file, "new").unwrap();
        assert!(refuse_others(&file, b"new").is_ok(), "the same again is no loss");
        let told = refuse_others(&file, b"newer").unwrap_err().to_string();
        assert!(told.contains("--force"), "{told}");
        assert!(refuse_others(folder.path(), b"new").is_err());
    }
}
