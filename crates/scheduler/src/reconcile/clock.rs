//! The leader's own time: monotonic, and standing still while the leader does.

use std::time::{Duration, Instant};

/// The loop looks at the clock at least so often.
pub const TICK: Duration = Duration::from_secs(1);
/// More than this between two looks means that the process or the store stood still: nobody could have reported meanwhile.
const LONGEST: Duration = Duration::from_millis(1500);
/// Far enough from zero that every age fits before it.
const START: Duration = Duration::from_secs(1 << 30);

/// Counts what the leader was awake for.
pub struct Clock {
    last: Instant,
    now: Duration,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { last: Instant::now(), now: START }
    }

    pub fn now(&mut self) -> Duration {
        let instant = Instant::now();
        self.now += instant.saturating_duration_since(self.last).min(LONGEST);
        self.last = instant;
        self.now
    }
}
