//! What a pod may use at a time: requests and linear memory, both taken before work and given back by dropping. What it has used of the CPU
//! is counted beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::engine::TABLE_ELEMENTS;

/// The bounds of one pod, shared by all its sandboxes.
pub(crate) struct Budget {
    requests: u32,
    under_way: AtomicU32,
    memory: u64,
    held: AtomicU64,
    /// Bytes of tables, which are bounded for each sandbox and counted here only to be told.
    tables: AtomicU64,
    /// Nanoseconds of the CPU.
    spent: AtomicU64,
}

impl Budget {
    pub fn new(requests: u32, memory: u64) -> Arc<Self> {
        let (requests, none) = (requests.max(1), || AtomicU64::new(0));
        Arc::new(Self { requests, under_way: AtomicU32::new(0), memory, held: none(), tables: none(), spent: none() })
    }

    /// A permit for one request, if there is one. Nobody waits for it.
    pub fn permit(self: &Arc<Self>) -> Option<Permit> {
        let taken = self.under_way.fetch_add(1, Ordering::Relaxed);
        // Made before the check, so that dropping it undoes the addition.
        let permit = Permit(self.clone());
        (taken < self.requests).then_some(permit)
    }

    /// Requests at a time.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed).min(self.requests)
    }

    pub fn memory_held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Linear memory and tables.
    pub fn everything_held(&self) -> u64 {
        self.memory_held() + self.tables.load(Ordering::Relaxed)
    }

    /// CPU time that was used so far, where no share of it is kept.
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// Counts CPU time.
    pub fn spend(&self, time: Duration) {
        self.spent.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn memory_limit(&self) -> u64 {
        self.memory
    }

    fn take(&self, bytes: u64) -> bool {
        let grown = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= self.memory);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Something under way.
pub(crate) struct Permit(Arc<Budget>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes for people: `64Mi`, `1.5Mi`, `640Ki`.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1024 => n.to_string(),
        1024..1_048_576 => format!("{}Ki", n >> 10),
        _ if n.is_multiple_of(1 << 20) => format!("{}Mi", n >> 20),
        _ => format!("{:.1}Mi", n as f64 / f64::from(1 << 20)),
    }
}

/// Tables, modules and memories that one component may have: far more than any compiler makes, far less than hurts.
const TABLES: usize = 64;
pub(crate) const MODULES: u32 = 200;
const MEMORIES: usize = 32;

/// Counts what one sandbox holds of its pod's memory.
pub(crate) struct Meter {
    budget: Arc<Budget>,
    held: u64,
    last: u64,
    elements: usize,
    /// The last growth that was refused, in words.
    refused: Option<String>,
}

impl Meter {
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget, held: 0, last: 0, elements: 0, refused: None }
    }

    /// Why the sandbox could not grow, if it could not.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        if !self.budget.take(more) {
            let (limit, held) = (bytes(self.budget.memory), bytes(self.budget.memory_held()));
            self.refused =
                Some(format!("the pod's memory limit of {limit} is reached: {held} are in use, {} more were asked for", bytes(more)));
            return Ok(false);
        }
        self.held += more;
        self.last = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        let last = std::mem::take(&mut self.last);
        // After a refusal of ours nothing was taken; after one of the pool it was.
        if self.refused.is_none() {
            self.held -= last;
            self.budget.give_back(last);
            self.refused = Some(format!("{error:#}"));
        }
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.elements + desired.saturating_sub(current);
        if sum > TABLE_ELEMENTS {
            self.refused = Some(format!("its tables may have {TABLE_ELEMENTS} entries together"));
            return Ok(false);
        }
        let more = bytes_of_elements(sum) - bytes_of_elements(self.elements.min(sum));
        self.budget.tables.fetch_add(more, Ordering::Relaxed);
        self.elements = sum;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MODULES as usize
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// An entry of a table is a pointer.
fn bytes_of_elements(elements: usize) -> u64 {
    elements as u64 * size_of::<usize>() as u64
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.budget.give_back(self.held);
        self.budget.tables.fetch_sub(bytes_of_elements(self.elements), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_never_waited_for_and_comes_back() {
        let budget = Budget::new(2, 0);
        let first = budget.permit();
        let second = budget.permit();
        assert!(first.is_some() && second.is_some() && budget.permit().is_none());
        drop(first);
        assert!(budget.permit().is_some());
    }

    #[test]
    fn memory_is_shared_by_the_sandboxes_of_a_pod() {
        let budget = Budget::new(1, 100);
        let (mut one, mut two) = (Meter::new(budget.clone()), Meter::new(budget.clone()));
        assert!(one.memory_growing(0, 60, None).unwrap());
        assert!(!two.memory_growing(0, 60, None).unwrap());
        assert!(two.refused().unwrap().contains("100"));
        drop(one);
        assert!(two.memory_growing(0, 60, None).unwrap());
        assert_eq!(budget.memory_held(), 60);
    }

    #[test]
    fn what_a_sandbox_holds_is_told_with_its_tables_until_it_goes() {
        let budget = Budget::new(1, 100);
        let mut sandbox = Meter::new(budget.clone());
        assert!(sandbox.memory_growing(0, 60, None).unwrap() && sandbox.table_growing(0, 5, None).unwrap());
        assert!(sandbox.table_growing(5, 7, None).unwrap() && !sandbox.table_growing(7, TABLE_ELEMENTS + 1, None).unwrap());
        assert_eq!(budget.everything_held(), 60 + 7 * size_of::<usize>() as u64);
        drop(sandbox);
        assert_eq!(budget.everything_held(), 0);
    }
}
