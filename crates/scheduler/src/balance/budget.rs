//! How many requests may be sent a second time: a share of those that are sent at all, so that retries cannot become the load.

/// What each request earns for retries, in thousandths.
const EARNS: u64 = 200;
/// What a retry costs.
const COSTS: u64 = 1000;
/// The most that is saved; it is there at the start, so that a quiet service can retry too.
const MOST: u64 = 500 * COSTS;

/// Retries that may still be made: one for each five requests, and 500 at once at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Budget {
        Budget(MOST)
    }
}

impl Budget {
    /// A request is sent for the first time.
    pub fn earn(&mut self) {
        self.0 = (self.0 + EARNS).min(MOST);
    }

    /// Whether one may be sent again; then it is paid for.
    pub fn spend(&mut self) -> bool {
        let can = self.0 >= COSTS;
        if can {
            self.0 -= COSTS;
        }
        can
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_the_requests_in_the_long_run() {
        let mut budget = Budget::default();
        let burst = (0..10_000).filter(|_| budget.spend()).count();
        assert_eq!(burst, 500);
        let retried = (0..10_000)
            .filter(|_| {
                budget.earn();
                budget.spend()
            })
            .count();
        assert_eq!(retried, 2000);
    }
}
