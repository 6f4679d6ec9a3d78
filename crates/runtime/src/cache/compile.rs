//! Compiles components, in this process or in a child that may not take more than its share.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use artifact::Digest;
use bytes::Bytes;

use super::folder::Folder;
use super::{Error, blocking};
use crate::engine::{self, Kind};

/// The hidden first argument that makes the binary a compiler: `compile-child KIND INPUT OUTPUT`.
pub const COMPILE_CHILD: &str = "compile-child";

/// How long a compilation may take. Large interpreters need about 15 CPU seconds.
const TIME: Duration = Duration::from_secs(300);

/// Address space of a child: the largest interpreters need about 550 MiB.
#[cfg(unix)]
const MEMORY: u64 = 3 << 30;

/// Bytes of a child's last words that are kept.
const WORDS: usize = 2_000;

/// Where compilation happens.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// In this process: for tests and tools.
    InProcess,
    /// In a child process, `EXECUTABLE compile-child …`, bounded in memory and time.
    Child {
        /// The binary, normally this one.
        executable: PathBuf,
    },
}

/// Whether somebody waits for the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// A pod cannot start without it.
    Now,
    /// It only makes better what runs.
    Leisure,
}

impl Compiler {
    /// A child of the binary that is running.
    ///
    /// # Errors
    /// When the system does not say where the binary lies.
    pub fn child() -> std::io::Result<Self> {
        Ok(Self::Child { executable: std::env::current_exe()? })
    }

    /// Machine code of a component.
    pub(super) async fn compile(&self, folder: &Folder, layer: Digest, kind: Kind, wasm: Bytes, haste: Haste) -> Result<Vec<u8>, Error> {
        let failed = |message| Error::Compile { layer, message };
        match self {
            Self::InProcess => {
                let done = blocking(move || Ok(compile(kind, &wasm))).await?;
                done.map_err(failed)
            }
            Self::Child { executable } => {
                let input = folder.scratch("input", &wasm)?;
                let output = folder.scratch("output", &[])?;
                drop(wasm);
                in_child(executable, kind, &input.0, &output.0, haste).await.map_err(failed)?;
                std::fs::read(&output.0).map_err(|source| Error::Io { act: "reading", path: output.0.clone(), source })
            }
        }
    }
}

fn compile(kind: Kind, wasm: &[u8]) -> Result<Vec<u8>, String> {
    let engine = engine::compiler(kind).map_err(|error| error.to_string())?;
    engine.precompile_component(wasm).map_err(|error| format!("{error:#}"))
}

async fn in_child(executable: &Path, kind: Kind, input: &Path, output: &Path, haste: Haste) -> Result<(), String> {
    let mut command = tokio::process::Command::new(executable);
    command.arg(COMPILE_CHILD).arg(kind.to_string()).arg(input).arg(output);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("starting the compiler {}: {error}", executable.display()))?;
    if haste == Haste::Leisure {
        give_way(&child);
    }
    let done = tokio::time::timeout(TIME, child.wait_with_output()).await;
    let done = done.map_err(|_| format!("it took longer than {} s", TIME.as_secs()))?;
    let done = done.map_err(|error| format!("waiting for the compiler: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    let words: String = words.trim().chars().take(WORDS).collect();
    Err(if done.status.code() == Some(1) && !words.is_empty() {
        words
    } else {
        format!("the compiler ended with {}, perhaps at its limit of memory or time: {words}", done.status)
    })
}

/// Lets those who serve go first. Before the child has made its threads, which inherit this.
#[cfg(target_os = "linux")]
fn give_way(child: &tokio::process::Child) {
    let process = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    if let Err(error) = rustix::process::setpriority_process(process, 10) {
        tracing::debug!(%error, "the compiler runs with the priority of all others");
    }
}

/// Elsewhere a system's own fairness has to do.
#[cfg(not(target_os = "linux"))]
fn give_way(_: &tokio::process::Child) {}

/// What the binary does when its first argument is [`COMPILE_CHILD`]; `args` are those after it.
pub fn compile_child(args: &[std::ffi::OsString]) -> ExitCode {
    match child(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(1)
        }
    }
}

fn child(args: &[std::ffi::OsString]) -> Result<(), String> {
    let [kind, input, output] = args else { return Err(format!("usage: {COMPILE_CHILD} KIND INPUT OUTPUT")) };
    let kind = parse(&kind.to_string_lossy())?;
    limit();
    let wasm = std::fs::read(input).map_err(|error| format!("reading the component: {error}"))?;
    let code = compile(kind, &wasm)?;
    std::fs::write(output, code).map_err(|error| format!("writing the code: {error}"))
}

fn parse(text: &str) -> Result<Kind, String> {
    Kind::all().find(|kind| kind.to_string() == text).ok_or_else(|| format!("there is no engine {text}"))
}

/// Bounds this process. Where the platform cannot, the parent's clock still does.
fn limit() {
    #[cfg(unix)]
    {
        use rlimit::Resource;
        for (resource, most) in [(Resource::AS, MEMORY), (Resource::CPU, TIME.as_secs()), (Resource::CORE, 0)] {
            let _ = resource.set(most, most);
        }
    }
}
