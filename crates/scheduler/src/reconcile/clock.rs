//! The leader's own time: monotonic, and standing still while the leader does.

use jiff::{SignedDuration, Timestamp};
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
    /// The time of day, and this clock's own time, when it was last asked for.
    wall: (Timestamp, Duration),
}

/// More than this between the two clocks means that the time of day was set, or that the process stood still.
const JUMP: Duration = Duration::from_millis(500);

impl Clock {
    pub fn start() -> Clock {
        Clock { last: Instant::now(), now: START, wall: (Timestamp::now(), START) }
    }

    /// The time of day, and whether it moved otherwise than this clock since it was last asked for.
    pub fn wall(&mut self) -> (Timestamp, bool) {
        let (wall, now) = (Timestamp::now(), self.now());
        let (before, then) = std::mem::replace(&mut self.wall, (wall, now));
        let passed = wall.duration_since(before);
        let differs = passed - SignedDuration::try_from(now.saturating_sub(then)).unwrap_or_default();
        (wall, differs.unsigned_abs() > JUMP)
    }

    pub fn now(&mut self) -> Duration {
        let instant = Instant::now();
        self.now += instant.saturating_duration_since(self.last).min(LONGEST);
        self.last = instant;
        self.now
    }
}
