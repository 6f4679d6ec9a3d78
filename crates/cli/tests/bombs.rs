//! H36: components that are small to send and costly to compile. Each ends in a child of its own, within its bounds.

mod common;

use std::borrow::Cow;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::wctl;
use wasm_encoder::{
    BlockType, CodeSection, Component, ComponentTypeSection, DataCountSection, DataSection, Function, FunctionSection, Instruction,
    MemorySection, MemoryType, Module, ModuleSection, NestedComponentSection, PrimitiveValType, TypeSection, ValType,
};

/// What became of a compilation.
struct Compiled {
    /// Its exit code; none when a signal ended it.
    code: Option<i32>,
    said: String,
    took: Duration,
    /// The most memory that it held.
    peak: u64,
}

fn compile(wasm: &[u8]) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("input"), folder.path().join("output"));
    std::fs::write(&input, wasm).unwrap();
    let start = Instant::now();
    let mut command = wctl();
    command.args(["compile-child", "p2-128m"]).args([&input, &output]).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(held(child.id()));
        std::thread::sleep(Duration::from_millis(2));
    }
    let done = child.wait_with_output().unwrap();
    Compiled { code: done.status.code(), said: common::stderr(&done), took: start.elapsed(), peak }
}

/// Bytes that a process holds in memory.
fn held(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

/// It became code, or one sentence says why not; and it took no more than `most`.
fn check(what: &str, wasm: &[u8], most: Duration) {
    let Compiled { code, said, took, peak } = compile(wasm);
    println!("{what}: {} bytes, {code:?} after {took:?} with {} MiB: {}", wasm.len(), peak >> 20, said.lines().next().unwrap_or_default());
    let refused = matches!(code, Some(1)) && !said.trim().is_empty();
    assert!(code == Some(0) || refused, "{what}: {code:?}\n{said}");
    assert!(!said.contains("panicked"), "{what}\n{said}");
    assert!(took < most, "{what} took {took:?}");
    // The limit is on address space, of which memory is a part.
    assert!(peak < 3 << 30, "{what} held {} MiB", peak >> 20);
}

/// A component of one module with these functions, all of the same type.
fn of_functions(functions: impl Iterator<Item = Function>) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    for function in functions {
        declared.function(0);
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    of_module(&module)
}

fn of_module(module: &Module) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&ModuleSection(module));
    component.finish()
}

/// A function of so many additions.
fn long(additions: usize) -> Function {
    let mut function = Function::new([]);
    for n in 0..additions {
        function.instruction(&Instruction::LocalGet(0));
        function.instruction(&Instruction::I32Const(n as i32));
        function.instruction(&Instruction::I32Add);
        function.instruction(&Instruction::LocalSet(0));
    }
    ended(function)
}

fn ended(mut function: Function) -> Function {
    function.instruction(&Instruction::LocalGet(0));
    function.instruction(&Instruction::End);
    function
}

fn locals(count: u32) -> Function {
    let mut function = Function::new([(count, ValType::I64)]);
    // Each is used, so that none is dropped unseen.
    for local in 1..=count {
        function.instruction(&Instruction::I64Const(i64::from(local)));
        function.instruction(&Instruction::LocalSet(local));
    }
    ended(function)
}

fn table(targets: usize) -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::Block(BlockType::Empty));
    function.instruction(&Instruction::LocalGet(0));
    function.instruction(&Instruction::BrTable(Cow::Owned(vec![0; targets]), 0));
    function.instruction(&Instruction::End);
    ended(function)
}

fn blocks(depth: usize) -> Function {
    let mut function = Function::new([]);
    for _ in 0..depth {
        function.instruction(&Instruction::Block(BlockType::Empty));
    }
    for _ in 0..depth {
        function.instruction(&Instruction::End);
    }
    ended(function)
}

/// Components in components.
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = Component::new();
    for _ in 0..depth {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&inner));
        inner = outer;
    }
    inner.finish()
}

/// Tuples of two of the tuple before: each line doubles what a value of it holds.
fn types(doublings: u32) -> Vec<u8> {
    let mut types = ComponentTypeSection::new();
    types.defined_type().primitive(PrimitiveValType::U64);
    for before in 0..doublings {
        let value = wasm_encoder::ComponentValType::Type(before);
        types.defined_type().tuple([value, value]);
    }
    let mut component = Component::new();
    component.section(&types);
    component.finish()
}

fn large(bytes: usize) -> Vec<u8> {
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut data = DataSection::new();
    data.passive(vec![b'x'; bytes]);
    let mut module = Module::new();
    module.section(&memories).section(&DataCountSection { count: 1 }).section(&data);
    of_module(&module)
}

#[test]
fn h36_bombs_that_are_refused_or_harmless_are_so_at_once() {
    let soon = Duration::from_secs(20);
    check("50,000 locals", &of_functions([locals(50_000)].into_iter()), soon);
    check("50,001 locals", &of_functions([locals(50_001)].into_iter()), soon);
    check("a branch table of 100,000", &of_functions([table(100_000)].into_iter()), soon);
    check("blocks 10,000 deep", &of_functions([blocks(10_000)].into_iter()), soon);
    check("1,000 nested components", &nested(1_000), soon);
    check("2^40 fields in a type", &types(40), soon);
    check("1,000 functions", &of_functions((0..1_000).map(|_| long(1))), soon);
}

#[test]
#[ignore = "nightly: takes minutes"]
fn h36_the_largest_bombs_end_within_the_bounds_of_their_child() {
    // The child's own limit is 300 s of CPU time.
    let late = Duration::from_secs(900);
    check("a module of 100 MB", &large(100 << 20), late);
    check("a function of 7 MB", &of_functions([long(800_000)].into_iter()), late);
    check("100,000 functions", &of_functions((0..100_000).map(|_| long(1))), late);
    check("a branch table of 1,000,000", &of_functions([table(1_000_000)].into_iter()), late);
    check("blocks 1,000,000 deep", &of_functions([blocks(1_000_000)].into_iter()), late);
    check("1,000 functions of 1,000 locals", &of_functions((0..1_000).map(|_| locals(1_000))), late);
    check("2,000 nested components", &nested(2_000), late);
}
