//! Which kubectl is run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The version that clients are tested with.
const VERSION: &str = "1.32";

/// `KUBECTL`, or the one in `PATH`. Google's SDK has one there that asks the server for its version and then runs another kubectl,
/// `kubectl.1.32` beside it for instance: that one is run directly, so that the version is the one that is meant.
pub fn program() -> OsString {
    if let Some(named) = std::env::var_os("KUBECTL") {
        return named;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file());
    let exact = found.and_then(|file| beside(&file));
    exact.map_or_else(|| "kubectl".into(), PathBuf::into_os_string)
}

fn beside(kubectl: &Path) -> Option<PathBuf> {
    let exact = kubectl.canonicalize().ok()?.with_file_name(format!("kubectl.{VERSION}"));
    exact.is_file().then_some(exact)
}
