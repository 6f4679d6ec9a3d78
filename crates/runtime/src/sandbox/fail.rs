//! What wasmtime's errors mean to the one who asked.

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use super::Failure;
use super::budget::{Meter, bytes};
use super::state::FIELDS;

/// Longest message and backtrace that are kept: a guest chooses the names of its functions.
const LONGEST: usize = 8 << 10;

/// Says what an error of a guest that was running, or starting, means.
pub(super) fn classify(error: &wasmtime::Error, meter: &Meter, starting: bool) -> Failure {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Failure::Exit(exit.0);
    }
    if let Some(limit) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Failure::NoMemory(format!("the node has no room for another sandbox: {limit}"));
    }
    // WASI 0.2 has no word for it, so wasmtime traps; but it is the response that is wrong.
    if let Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) = error.downcast_ref() {
        return Failure::Refused(format!("the guest's header fields take more than the {} that are allowed", bytes(FIELDS as u64)));
    }
    let trap = error.downcast_ref::<Trap>();
    if let (None, true, Some(refused)) = (trap, starting, meter.refused()) {
        return Failure::NoMemory(refused.to_owned());
    }
    let what = trap.map_or_else(|| error.root_cause().to_string(), |trap| trap.to_string());
    let mut message = format!("the guest trapped: {}", what.trim_start_matches("wasm trap: "));
    if let Some(refused) = meter.refused() {
        message = format!("{message} (before that, {refused})");
    }
    Failure::Trap { message: cut(message), backtrace: error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default() }
}

/// One frame a line, names demangled, without the headline.
fn frames(backtrace: &WasmBacktrace) -> String {
    let text = backtrace.to_string();
    let frames: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    cut(frames.join("\n"))
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}
