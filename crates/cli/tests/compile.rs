//! The compiler's child: what nodes start for each component that they have not compiled yet.

mod common;

use std::process::Output;

use common::{component, ended, stderr, wctl};

fn compile(kind: &str, wasm: &[u8]) -> (Output, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("input"), folder.path().join("output"));
    std::fs::write(&input, wasm).unwrap();
    let done = wctl().args(["compile-child", kind]).args([&input, &output]).output().unwrap();
    (done, std::fs::read(output).unwrap_or_default())
}

#[test]
fn a_component_becomes_machine_code() {
    let wasm = std::fs::read(component("hello")).unwrap();
    let (done, code) = compile("p2-128m", &wasm);
    ended(&done, 0);
    assert!(code.starts_with(b"\x7fELF"), "{} bytes", code.len());
}

#[test]
fn what_cannot_be_compiled_is_one_sentence() {
    let wasm = std::fs::read(component("hello")).unwrap();
    for (kind, wasm, says) in [("p2-128m", &wasm[..wasm.len() / 2], "out of bounds"), ("p9", b"", "no engine p9")] {
        let (done, code) = compile(kind, wasm);
        ended(&done, 1);
        assert!(stderr(&done).contains(says) && !stderr(&done).contains("panicked"), "{}", stderr(&done));
        assert!(code.is_empty());
    }
}
