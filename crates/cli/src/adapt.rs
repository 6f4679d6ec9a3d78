//! Wraps a core module of WASI 0.1 into a component.

use std::borrow::Cow;

use anyhow::{Context, Result};
use wasi_preview1_component_adapter_provider::{WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{ImportSection, Module};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What 0.1 calls exit, and where its exit code goes: the adapter's own way knows success and failure only.
const EXIT: (&str, &str) = ("wasi:cli/exit@0.2.12", "exit-with-code");
const EXIT_WIT: &str = "package wctl:exit;
world exiting { import wasi:cli/exit@0.2.12; }
package wasi:cli@0.2.12 {
    interface exit { exit: func(status: result); exit-with-code: func(status-code: u8); }
}";

/// The component around a core module; what is none comes back as it is.
///
/// # Errors
/// When the module is broken or imports what is not of WASI 0.1.
pub fn component(wasm: &[u8]) -> Result<Cow<'_, [u8]>> {
    if !wasmparser::Parser::is_core_wasm(wasm) {
        return Ok(Cow::Borrowed(wasm));
    }
    let module = exiting(wasm).context("reading the module")?;
    let mut encoder = ComponentEncoder::default().validate(true).module(&module)?;
    encoder = encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)?;
    let component = encoder.encode().context("wrapping the core module into a component: only commands of WASI 0.1 can be")?;
    Ok(Cow::Owned(component))
}

/// The module with its exit codes sent to [`EXIT`].
fn exiting(wasm: &[u8]) -> Result<Vec<u8>> {
    let (mut module, mut rename) = (Module::new(), Rename { exits: false });
    rename.parse_core_module(&mut module, wasmparser::Parser::new(0), wasm)?;
    let mut bytes = module.finish();
    if !rename.exits {
        return Ok(bytes);
    }
    let mut resolve = Resolve::default();
    let package = resolve.push_str("exit.wit", EXIT_WIT)?;
    let world = resolve.select_world(&[package], Some("exiting"))?;
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)?;
    Ok(bytes)
}

struct Rename {
    exits: bool,
}

impl Reencode for Rename {
    type Error = std::convert::Infallible;

    fn parse_imports(&mut self, section: &mut ImportSection, imports: wasmparser::Imports<'_>) -> Result<(), Error<Self::Error>> {
        if let wasmparser::Imports::Single(at, mut import) = imports
            && (import.module, import.name) == (WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, "proc_exit")
        {
            self.exits = true;
            (import.module, import.name) = EXIT;
            return utils::parse_imports(self, section, wasmparser::Imports::Single(at, import));
        }
        utils::parse_imports(self, section, imports)
    }
}
