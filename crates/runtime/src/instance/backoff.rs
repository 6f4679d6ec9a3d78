//! How long a crashed instance waits before it lives again.

use std::time::Duration;

/// The range of waits and what ends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The wait before the second restart in a row; the first is immediate.
    pub first: Duration,
    /// No wait is longer.
    pub most: Duration,
    /// An instance that was well for so long has no past.
    pub reset: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { first: Duration::from_millis(100), most: Duration::from_secs(30), reset: Duration::from_secs(60) }
    }
}

impl Limits {
    /// From the annotations `names::BACKOFF` (`100ms..30s`) and `names::BACKOFF_RESET` (`60s`); what is absent or unreadable keeps its default.
    pub fn read(range: Option<&str>, reset: Option<&str>) -> Limits {
        let mut limits = Limits::default();
        if let Some((first, most)) = range.and_then(|range| range.split_once("..")) {
            limits.first = duration(first).unwrap_or(limits.first);
            limits.most = duration(most).unwrap_or(limits.most).max(limits.first);
        }
        limits.reset = reset.and_then(duration).unwrap_or(limits.reset);
        limits
    }
}

/// How often an instance failed lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Of an instance that ended `restarts` times before this process, the last time `ago`: a node that starts again must not
    /// give a guest that crashes its quick restarts anew.
    pub fn resumed(restarts: u32, ago: Option<Duration>, limits: &Limits) -> Backoff {
        let lately = ago.is_some_and(|ago| ago < limits.reset);
        Backoff { failures: if lately { restarts } else { 0 } }
    }

    /// What is left of the wait after a last end that was `ago`.
    pub fn left(&self, ago: Duration, limits: &Limits, draw: f64) -> Duration {
        self.wait(limits, draw).saturating_sub(ago)
    }

    /// The wait after a life that was well for `well`. `draw` in 0..1 spreads restarts of many instances: a wait is 75–100% of its nominal.
    pub fn after(&mut self, well: Duration, limits: &Limits, draw: f64) -> Duration {
        if well >= limits.reset {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.wait(limits, draw)
    }

    fn wait(&self, limits: &Limits, draw: f64) -> Duration {
        let Some(doublings) = self.failures.checked_sub(2).map(|doublings| doublings.min(31)) else { return Duration::ZERO };
        let nominal = limits.first.saturating_mul(1 << doublings).min(limits.most);
        nominal.mul_f64(0.75 + 0.25 * draw.clamp(0.0, 1.0))
    }
}

/// `100ms`, `5s`, `2m`, `1h`; no sign, no fraction.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..unit].parse().ok()?;
    let millis = match &text[unit..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(lives: &[u64], draw: f64) -> String {
        let mut backoff = Backoff::default();
        let limits = Limits::default();
        let waits = lives.iter().map(|well| backoff.after(Duration::from_secs(*well), &limits, draw).as_millis().to_string());
        waits.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_restart_is_immediate_then_waits_double_up_to_the_most() {
        assert_eq!(waits(&[0; 12], 1.0), "0 100 200 400 800 1600 3200 6400 12800 25600 30000 30000");
    }

    #[test]
    fn a_well_minute_forgets_the_past() {
        assert_eq!(waits(&[0, 0, 0, 60, 0], 1.0), "0 100 200 0 100");
        assert_eq!(waits(&[0, 0, 0, 59, 0], 1.0), "0 100 200 400 800");
    }

    #[test]
    fn chance_only_shortens_and_by_a_quarter_at_most() {
        assert_eq!(waits(&[0, 0, 0], 0.0), "0 75 150");
    }

    #[test]
    fn a_restart_of_the_node_takes_up_the_wait_where_it_was() {
        let limits = Limits::default();
        let wait = |restarts: u32, ago: Option<u64>| {
            Backoff::resumed(restarts, ago.map(Duration::from_secs), &limits).after(Duration::ZERO, &limits, 1.0).as_millis()
        };
        assert_eq!(wait(7, Some(3)), 6400);
        assert_eq!(wait(7, Some(60)), 0, "that was long ago");
        assert_eq!(wait(7, None), 0);
        assert_eq!(wait(0, None), 0);
        let left = |restarts: u32, ago: u64| {
            let ago = Duration::from_secs(ago);
            Backoff::resumed(restarts, Some(ago), &limits).left(ago, &limits, 1.0).as_millis()
        };
        assert_eq!([left(8, 0), left(8, 3), left(8, 7)], [6400, 3400, 0]);
        assert_eq!([left(1, 0), left(0, 0)], [0, 0], "the first restart is immediate");
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::default();
        let last = (0..1000).map(|_| backoff.after(Duration::ZERO, &Limits::default(), 1.0)).last();
        assert_eq!(last, Some(Duration::from_secs(30)));
    }

    #[test]
    fn annotations_set_the_range_and_nonsense_keeps_the_default() {
        let read = Limits::read(Some("250ms..5s"), Some("5m"));
        assert_eq!((read.first.as_millis(), read.most.as_secs(), read.reset.as_secs()), (250, 5, 300));
        assert_eq!(Limits::read(Some("fast"), Some("-1s")), Limits::default());
        assert_eq!(duration("5"), None);
        assert_eq!(duration("1.5s"), None);
    }
}
