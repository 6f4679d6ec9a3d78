//! What a node runs for one pod: prepared component, phase, crash and restart.

pub mod backoff;
pub mod phase;

mod life;
mod order;
mod quiet;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::sandbox::{Failure, Guest, Watch};
pub use life::{Life, chain};
pub use order::{Host, News, Note, Order, Source, Stop, Teller};
use phase::{End, Reason};

/// Traps in a row that end an instance.
pub const TRAPS: u32 = 5;

/// A prepared component that answers requests for one pod, until it crashes or is told to go.
pub struct Instance {
    /// What answers.
    pub guest: Guest,
    /// Requests it may work on at once.
    pub concurrency: u32,
    /// Bytes of linear memory that its sandboxes may take together.
    pub memory: u64,
    /// Whether it may send requests, to other services or elsewhere.
    pub calls: bool,
    /// How it fares.
    pub health: Arc<Health>,
}

impl Instance {
    /// Whether it is so near one of its limits that it may refuse the next request.
    pub fn is_tight(&self) -> bool {
        self.guest.in_flight().saturating_mul(4) >= self.concurrency.saturating_mul(3)
            || self.guest.memory_used().saturating_mul(4) >= self.memory.saturating_mul(3)
    }
}

/// Counts an instance's traps, and ends it after [`TRAPS`] in a row.
pub struct Health {
    traps: AtomicU32,
    killed: AtomicBool,
    end: Mutex<Option<oneshot::Sender<End>>>,
    metrics: Arc<Metrics>,
}

impl Health {
    /// A new life's health, and where its end will be told.
    pub fn new(metrics: Arc<Metrics>) -> (Arc<Health>, oneshot::Receiver<End>) {
        let (end, told) = oneshot::channel();
        let health = Health { traps: AtomicU32::new(0), killed: AtomicBool::new(false), end: Mutex::new(Some(end)), metrics };
        (Arc::new(health), told)
    }

    /// A request was answered to its end.
    pub fn succeeded(&self) {
        // A load is shared between cores where a store is not; nearly every request finds 0.
        if self.traps.load(Ordering::Relaxed) != 0 {
            self.traps.store(0, Ordering::Relaxed);
        }
    }

    /// How long a request took, answered to its end or not.
    pub fn took(&self, time: std::time::Duration) {
        self.metrics.took(time);
    }

    /// A request was not answered, or not to its end.
    pub fn failed(&self, failure: &Failure) {
        self.metrics.failure(failure);
        if !failure.is_crash() {
            return;
        }
        let traps = self.traps.fetch_add(1, Ordering::Relaxed) + 1;
        if traps >= TRAPS {
            self.over(End { reason: Reason::Trap, message: told(traps, failure) });
        }
    }

    /// Ends the instance; only the first end counts.
    pub fn over(&self, end: End) {
        if let Some(sender) = self.end.lock().take() {
            // Nobody listens when the pod was stopped meanwhile.
            let _ = sender.send(end);
        }
    }

    /// Breaks off answers that are still on their way.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
    }

    /// Whether answers that are still on their way must break off.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }
}

impl Watch for Health {
    fn body_failed(&self, failure: &Failure) {
        self.failed(failure);
    }
}

fn told(traps: u32, failure: &Failure) -> String {
    format!("{traps} traps in a row, the last: {}", failure.whole())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Failure {
        Failure::Trap { message: "wasm trap: unreachable".into(), backtrace: "0: crash".into() }
    }

    #[test]
    fn five_traps_in_a_row_end_an_instance_and_a_success_between_saves_it() {
        let (health, mut told) = Health::new(Arc::default());
        (0..4).for_each(|_| health.failed(&trap()));
        health.succeeded();
        (0..4).for_each(|_| health.failed(&trap()));
        assert!(told.try_recv().is_err(), "four in a row do not");
        health.failed(&trap());
        let end = told.try_recv().expect("the fifth does");
        assert_eq!(end.reason, Reason::Trap);
        assert!(end.message.contains("wasm trap: unreachable\n0: crash"), "{}", end.message);
    }

    #[test]
    fn a_full_or_slow_pod_is_not_a_crashed_one() {
        let (health, mut told) = Health::new(Arc::default());
        (0..9).for_each(|_| health.failed(&Failure::Busy(1)));
        (0..9).for_each(|_| health.failed(&Failure::Deadline(std::time::Duration::from_secs(1))));
        assert!(told.try_recv().is_err());
    }
}
