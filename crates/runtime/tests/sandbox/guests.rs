//! Builds the guests of `tests/guests` once, whoever asks first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const TARGET: &str = "wasm32-wasip2";

/// The bytes of a guest.
pub fn wasm(name: &str) -> bytes::Bytes {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let path = BUILT.get_or_init(build).join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display())).into()
}

fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("guests");
    std::fs::create_dir_all(&target).expect("making the target folder");
    // Several test binaries may come here at once.
    let lock = std::fs::File::create(target.join("lock")).expect("making the lock");
    lock.lock().expect("locking");
    add_target();
    // Tests of other crates use this file too.
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/guests");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--target", TARGET]).current_dir(guests);
    cargo.env("CARGO_TARGET_DIR", &target);
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(variable);
    }
    assert!(cargo.status().expect("running cargo").success(), "the guests do not build");
    target.join(TARGET).join("release")
}

/// Adds the target through rustup where it is missing.
fn add_target() {
    let asked = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output().expect("running rustc");
    if !Path::new(String::from_utf8_lossy(&asked.stdout).trim()).exists() {
        assert!(Command::new("rustup").args(["target", "add", TARGET]).status().expect("running rustup").success());
    }
}
