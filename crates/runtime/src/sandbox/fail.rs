//! Why a guest did not answer, and what wasmtime's errors mean to the one who asked.

use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use super::budget::{Meter, bytes};
use super::state::FIELDS;

/// Longest message and backtrace that are kept: a guest chooses the names of its functions.
const LONGEST: usize = 8 << 10;

/// Why a guest did not answer, or broke off.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Failure {
    /// All permits are taken (503).
    #[error("all {0} requests that the pod serves at a time are under way")]
    Busy(u32),
    /// There is no memory left in the pod's limit, or on the node, for one more sandbox (503).
    #[error("{0}")]
    NoMemory(String),
    /// The guest trapped (500).
    #[error("{message}")]
    Trap {
        /// One line: what happened.
        message: String,
        /// The wasm backtrace, one frame a line; may be empty.
        backtrace: String,
    },
    /// The guest called `exit` (502 in an HTTP guest).
    #[error("the guest exited with code {0}")]
    Exit(i32),
    /// The guest returned without a response (502).
    #[error("the guest returned without a response")]
    NoResponse,
    /// The guest ran out of time (504).
    #[error("the guest took longer than its limit of {0:?}")]
    Deadline(Duration),
    /// The guest ran out of time because its pod's share of CPU was used up (504).
    #[error("the guest took longer than its limit of {limit:?}: for {held:.1?} its CPU limit of {cpu}m held it back")]
    Starved {
        /// How long it might take.
        limit: Duration,
        /// The pod's share, in thousandths of a core.
        cpu: u32,
        /// How long it waited for its share.
        held: Duration,
    },
    /// The guest answered with something that must not be passed on (502).
    #[error("{0}")]
    Refused(String),
    /// The one who asked went away, so the guest was stopped.
    #[error("the client went away")]
    Gone,
}

impl Failure {
    /// Whether the guest itself failed, so that it counts towards its crash.
    pub fn is_crash(&self) -> bool {
        matches!(self, Self::Trap { .. })
    }

    /// What happened, and below it where, if that is known: one frame a line.
    pub fn whole(&self) -> String {
        match self {
            Self::Trap { message, backtrace } if !backtrace.is_empty() => format!("{message}\n{backtrace}"),
            other => other.to_string(),
        }
    }
}

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
