//! What a component is and can possibly do, read from its bytes without running or compiling them.

mod offered;
mod preamble;
mod words;

use std::collections::BTreeSet;

use serde::Serialize;
use wasmparser::{
    Chunk, ComponentAlias, ComponentExternalKind, ComponentImport, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    InstanceTypeDeclaration, Parser, Payload, TypeBounds,
};

pub use offered::{OFFERED, PACKAGES, Unsupported, compatible, refusal, unsupported};
pub use preamble::check as check_preamble;

/// Types of a component's own level beyond this many are no sensible component's.
const MOST_TYPES: usize = 1_000_000;

/// Names beyond this many are no sensible component's, and a message would be too long.
const MOST_NAMES: usize = 10_000;

/// How a component is run, by what it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum World {
    /// Exports `wasi:http/incoming-handler@0.2.x`: a server. It may export `wasi:cli/run` too.
    Http02,
    /// Exports `wasi:http/handler@0.3.x`: a server.
    Http03,
    /// Exports `wasi:cli/run` and no handler: a worker or a job.
    Command,
    /// Exports nothing that a node could call.
    Library,
}

/// What a component says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// How it is run.
    pub world: World,
    /// What it needs from the host, such as `wasi:http/types@0.2.4`; sorted. Types that it only names are left out.
    pub imports: Vec<String>,
    /// What it offers, such as `wasi:cli/run@0.2.0`; sorted.
    pub exports: Vec<String>,
    /// How many bytes it has.
    pub size: u64,
    /// Imports that hold nothing but types, which nobody has to provide.
    #[serde(skip)]
    types_only: BTreeSet<String>,
}

/// Why some bytes are no component that can be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing at all.
    #[error("the file is empty, not a WebAssembly component: build it again")]
    Empty,
    /// The preamble's 8 bytes are not all there.
    #[error("the file is too short for a WebAssembly component ({0} B): build it again")]
    Short(usize),
    /// WebAssembly's text format.
    #[error("this is WebAssembly text, not a binary: translate it with `wasm-tools parse FILE.wat -o FILE.wasm`")]
    Text,
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component: build it with `--target wasm32-wasip2`, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// A preamble from another time.
    #[error("the WebAssembly version {version} (layer {layer}) is unknown here: build the component with current tools")]
    Version {
        /// The preamble's version field.
        version: u16,
        /// The preamble's layer field: 0 for modules, 1 for components.
        layer: u16,
    },
    /// Something else that is easily told.
    #[error("this is {0}, not a WebAssembly component")]
    Foreign(&'static str),
    /// Something else.
    #[error("this is not a WebAssembly component: it starts with the bytes {0:02x?}")]
    Unknown(Vec<u8>),
    /// A component's preamble, and then something broken or cut off.
    #[error("the component is damaged at byte {offset}: {message}")]
    Damaged {
        /// Where in the file.
        offset: usize,
        /// What the parser found there.
        message: String,
    },
    /// More imports and exports than anybody needs.
    #[error("the component has more than {MOST_NAMES} imports and exports")]
    TooMany,
}

impl From<wasmparser::BinaryReaderError> for Error {
    fn from(error: wasmparser::BinaryReaderError) -> Error {
        Error::Damaged { offset: error.offset(), message: error.message().to_string() }
    }
}

/// Reads the imports, exports and the world of a component. Costs little even for a big one: nested modules are skipped, not validated.
pub fn inspect(wasm: &[u8]) -> Result<Inspection, Error> {
    preamble::check(wasm)?;
    let Names { imports, exports, types_only } = names(wasm)?;
    let exports = Vec::from_iter(exports);
    Ok(Inspection { world: world(&exports), imports: Vec::from_iter(imports), exports, size: wasm.len() as u64, types_only })
}

/// Checks every instruction and type of a component, as compiling it would. Takes about 10 ms for each MiB of code.
pub fn validate(wasm: &[u8]) -> Result<(), Error> {
    preamble::check(wasm)?;
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(wasm)?;
    Ok(())
}

struct Names {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    types_only: BTreeSet<String>,
}

fn names(wasm: &[u8]) -> Result<Names, Error> {
    let (mut imports, mut exports, mut types_only) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    // Of each type by its index: whether it is that of an instance which holds only types.
    let mut types: Vec<bool> = Vec::new();
    let mut parser = Parser::new(0);
    let mut rest = wasm;
    loop {
        let (consumed, payload) = match parser.parse(rest, true)? {
            Chunk::Parsed { consumed, payload } => (consumed, payload),
            Chunk::NeedMoreData(_) => return Err(cut_off(wasm.len())),
        };
        rest = rest.get(consumed..).ok_or_else(|| cut_off(wasm.len()))?;
        match payload {
            Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } => {
                rest = rest.get(unchecked_range.len()..).ok_or_else(|| cut_off(wasm.len()))?;
            }
            Payload::ComponentTypeSection(section) => {
                for ty in section {
                    types.push(holds_only_types(&ty?));
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    types.extend(names_type(&alias?).then_some(false));
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    match import.ty {
                        ComponentTypeRef::Type(_) => types.push(false),
                        ComponentTypeRef::Instance(index) if types.get(index as usize).copied().unwrap_or(false) => {
                            types_only.insert(import.name.name.to_string());
                        }
                        _ => {}
                    }
                    if needs_host(&import) {
                        imports.insert(import.name.name.to_string());
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Type {
                        types.push(false);
                    } else {
                        exports.insert(export.name.name.to_string());
                    }
                }
            }
            Payload::End(_) => return Ok(Names { imports, exports, types_only }),
            _ => {}
        }
        if imports.len() + exports.len() > MOST_NAMES || types.len() > MOST_TYPES {
            return Err(Error::TooMany);
        }
    }
}

fn holds_only_types(ty: &ComponentType<'_>) -> bool {
    let ComponentType::Instance(declarations) = ty else { return false };
    !declarations.iter().any(|declaration| match declaration {
        InstanceTypeDeclaration::Export { ty, .. } => !matches!(ty, ComponentTypeRef::Type(TypeBounds::Eq(_))),
        _ => false,
    })
}

fn names_type(alias: &ComponentAlias<'_>) -> bool {
    matches!(
        alias,
        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
            | ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. }
    )
}

fn cut_off(length: usize) -> Error {
    Error::Damaged { offset: length, message: "the file ends too early".to_string() }
}

// A type that equals another needs nobody to provide it.
fn needs_host(import: &ComponentImport<'_>) -> bool {
    !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_)))
}

/// How a component with these exports is run.
pub fn world(exports: &[String]) -> World {
    let exported = |interface: &str| exports.iter().any(|name| compatible(interface, name));
    // A handler comes first: Rust's servers export `run` as well.
    if exported("wasi:http/handler@0.3.0") {
        World::Http03
    } else if exported("wasi:http/incoming-handler@0.2.0") {
        World::Http02
    } else if exported("wasi:cli/run@0.2.0") || exported("wasi:cli/run@0.3.0") {
        World::Command
    } else {
        World::Library
    }
}

impl Inspection {
    /// The full name under which `interface` (without a version) is exported, such as `wasi:cli/run@0.2.3` for `wasi:cli/run`.
    pub fn export(&self, interface: &str) -> Option<&str> {
        self.exports.iter().map(String::as_str).find(|name| offered::without_version(name) == interface)
    }

    /// The full name under which `interface` (without a version) is imported.
    pub fn import(&self, interface: &str) -> Option<&str> {
        self.imports.iter().map(String::as_str).find(|name| offered::without_version(name) == interface)
    }

    /// The imports that none of `offered` (full names, such as `wasi:http/types@0.2.6`) can serve, each with what comes nearest.
    pub fn unsupported(&self, offered: &[&str]) -> Vec<Unsupported> {
        let needed: Vec<String> = self.imports.iter().filter(|import| !self.types_only.contains(*import)).cloned().collect();
        offered::unsupported(&needed, offered)
    }

    /// What the component can possibly do, one sentence for each ability, most important first; the last ones say what it cannot.
    pub fn in_plain_words(&self) -> Vec<String> {
        words::plain(self)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A component that imports and exports empty interfaces of these names.
    pub(crate) fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
        let mut text = String::from("(component\n(component $c)\n(instance $i (instantiate $c))\n");
        imports.iter().for_each(|name| text.push_str(&format!("(import \"{name}\" (instance))\n")));
        exports.iter().for_each(|name| text.push_str(&format!("(export \"{name}\" (instance $i))\n")));
        text.push(')');
        wat::parse_str(&text).unwrap()
    }

    fn world_of(exports: &[&str]) -> World {
        inspect(&component(&[], exports)).unwrap().world
    }

    #[test]
    fn the_world_is_told_by_the_exports() {
        assert_eq!(world_of(&["wasi:http/incoming-handler@0.2.4"]), World::Http02);
        assert_eq!(world_of(&["wasi:http/handler@0.3.0"]), World::Http03);
        assert_eq!(world_of(&["wasi:cli/run@0.2.0"]), World::Command);
        assert_eq!(world_of(&["wasi:cli/run@0.3.1"]), World::Command);
        assert_eq!(world_of(&["acme:math/add@1.0.0"]), World::Library);
        assert_eq!(world_of(&[]), World::Library);
    }

    #[test]
    fn a_component_that_exports_run_and_a_handler_is_a_server() {
        assert_eq!(world_of(&["wasi:cli/run@0.2.6", "wasi:http/incoming-handler@0.2.6"]), World::Http02);
        assert_eq!(world_of(&["wasi:cli/run@0.3.0", "wasi:http/handler@0.3.0"]), World::Http03);
    }

    #[test]
    fn h40_a_handler_of_another_version_is_not_taken_for_ours() {
        assert_eq!(world_of(&["wasi:http/incoming-handler@0.1.0"]), World::Library);
        assert_eq!(world_of(&["wasi:http/handler@0.4.0"]), World::Library);
        assert_eq!(world_of(&["wasi:http/handler@0.3.0-rc-2025-09-16"]), World::Library);
    }

    #[test]
    fn imports_and_exports_are_listed_without_mere_types() {
        let text = r#"(component
            (import "wasi:io/poll@0.2.0" (instance $p (export "pollable" (type (sub resource)))))
            (alias export $p "pollable" (type $t))
            (import "pollable" (type (eq $t)))
            (import "go" (func))
            (component $c) (instance $i (instantiate $c))
            (export "wasi:cli/run@0.2.0" (instance $i)))"#;
        let inspection = inspect(&wat::parse_str(text).unwrap()).unwrap();
        assert_eq!(inspection.imports, ["go", "wasi:io/poll@0.2.0"]);
        assert_eq!(inspection.exports, ["wasi:cli/run@0.2.0"]);
        assert_eq!(inspection.export("wasi:cli/run"), Some("wasi:cli/run@0.2.0"));
        assert_eq!(inspection.import("wasi:io/poll"), Some("wasi:io/poll@0.2.0"));
        assert_eq!(inspection.import("wasi:io"), None);
    }

    #[test]
    fn h40_an_import_that_holds_only_types_is_served_by_nobody_and_needs_nobody() {
        let text = r#"(component
            (import "acme:shop/types@1.0.0" (instance (type (record (field "id" u32))) (export "order" (type (eq 0)))))
            (import "acme:shop/stock@1.0.0" (instance (export "count" (func (result u32))))))"#;
        let inspection = inspect(&wat::parse_str(text).unwrap()).unwrap();
        assert_eq!(inspection.imports.len(), 2);
        let missing: Vec<String> = inspection.unsupported(OFFERED).into_iter().map(|missing| missing.import).collect();
        assert_eq!(missing, ["acme:shop/stock@1.0.0"]);
    }

    #[test]
    fn h37_every_truncation_is_an_error_and_never_a_panic() {
        let module =
            wat::parse_str(r#"(component (core module (func (export "f") nop)) (import "wasi:io/poll@0.2.0" (instance)))"#).unwrap();
        assert!(inspect(&module).is_ok() && validate(&module).is_ok());
        // A cut between two sections leaves a shorter component, and that is all right.
        let refused = (0..module.len()).filter(|&end| inspect(&module[..end]).is_err()).count();
        assert!(refused > module.len() * 9 / 10, "only {refused} of {} truncations were refused", module.len());
        (0..module.len()).for_each(|end| drop(validate(&module[..end])));
    }

    #[test]
    fn h37_no_bit_flip_panics() {
        let good = component(&["wasi:io/poll@0.2.0", "wasi:http/types@0.2.0"], &["wasi:cli/run@0.2.0"]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            drop(inspect(&bad));
            drop(validate(&bad));
        }
    }

    #[test]
    fn h36_many_names_are_refused() {
        let names: Vec<String> = (0..=MOST_NAMES).map(|number| format!("a{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(matches!(inspect(&component(&names, &[])), Err(Error::TooMany)));
    }
}
