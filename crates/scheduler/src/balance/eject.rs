//! When an endpoint that fails gets no requests for a while, and when it is tried again.

use std::time::Duration;

/// Failures in a row after which an endpoint is left alone.
const FAILURES: u32 = 5;
/// For how long the first time; twice as long each time after.
const FIRST: Duration = Duration::from_secs(1);
/// For how long at most.
const LONGEST: Duration = Duration::from_secs(30);

/// How one endpoint fared. Times are of one clock of the caller's, which only goes forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    failures: u32,
    times: u32,
    until: Duration,
}

impl Standing {
    /// It answered.
    pub fn succeeded(&mut self) {
        *self = Standing::default();
    }

    /// It did not answer, or not in time. Once it was left alone a single failure is enough for the next, longer time.
    pub fn failed(&mut self, now: Duration) {
        if self.is_out(now) {
            return;
        }
        self.failures += 1;
        if self.failures >= FAILURES || self.times > 0 {
            self.until = now + LONGEST.min(FIRST * 2u32.pow(self.times.min(5)));
            self.times += 1;
            self.failures = 0;
        }
    }

    /// Whether it gets no requests now.
    pub fn is_out(&self, now: Duration) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn five_failures_in_a_row_put_an_endpoint_out_for_a_second() {
        let mut standing = Standing::default();
        (0..4).for_each(|_| standing.failed(s(10)));
        standing.succeeded();
        (0..4).for_each(|_| standing.failed(s(10)));
        assert!(!standing.is_out(s(10)), "four in a row do not");
        standing.failed(s(10));
        assert!(standing.is_out(s(10)) && !standing.is_out(s(11)));
    }

    #[test]
    fn what_fails_again_stays_out_longer_and_what_answers_is_forgiven() {
        let mut standing = Standing::default();
        (0..5).for_each(|_| standing.failed(s(0)));
        let mut now = s(0);
        for length in [1, 2, 4, 8, 16, 30, 30] {
            assert!(standing.is_out(now) && !standing.is_out(now + s(length)), "{length} s at {now:?}: {standing:?}");
            now += s(length);
            standing.failed(now);
        }
        standing.succeeded();
        standing.failed(now + s(60));
        assert!(!standing.is_out(now + s(60)));
    }
}
