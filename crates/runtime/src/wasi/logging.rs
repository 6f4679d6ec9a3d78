//! `wasi:logging`: entries with a level, for the pod's log. Every guest has it, as every guest has its standard streams.

use std::io::Write as _;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker};

use crate::sandbox::state::State;
use crate::sandbox::{self, Entry, Stdio};

/// The draft's name, and the one under which tools that leave versions out know it.
const NAMES: [&str; 2] = ["wasi:logging/logging@0.1.0-draft", "wasi:logging/logging"];

/// As the interface has it.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "its values are made by lifting those of guests")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

impl From<Level> for sandbox::Level {
    fn from(level: Level) -> sandbox::Level {
        match level {
            Level::Trace => sandbox::Level::Trace,
            Level::Debug => sandbox::Level::Debug,
            Level::Info => sandbox::Level::Info,
            Level::Warn => sandbox::Level::Warn,
            Level::Error => sandbox::Level::Error,
            Level::Critical => sandbox::Level::Critical,
        }
    }
}

/// Adds the interface under both names: one type serves both, where generated code would have two.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for name in NAMES {
        linker.instance(name)?.func_wrap("log", |store: StoreContextMut<'_, State>, entry: (Level, String, String)| {
            log(store.data(), &entry);
            Ok(())
        })?;
    }
    Ok(())
}

fn log(state: &State, (level, context, message): &(Level, String, String)) {
    let entry = Entry { level: (*level).into(), context, message };
    match state.grants.spec.stdio {
        Stdio::Output => state.grants.host.output.log(&entry),
        Stdio::Inherit => {
            // Where nobody reads this process's errors, there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "{entry}");
        }
    }
}
