//! When each lease ends. Only the seconds are on disk: a restarted process gives each its whole time again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::LeaseId;

#[derive(Default)]
pub(super) struct Leases {
    held: Mutex<HashMap<LeaseId, Held>>,
}

struct Held {
    ttl: Duration,
    ends: Instant,
}

impl Leases {
    pub(super) fn begin(&self, lease: LeaseId, ttl: u64) {
        let ttl = Duration::from_secs(ttl);
        self.held.lock().insert(lease, Held { ttl, ends: Instant::now() + ttl });
    }

    /// Whether it lived, and now lives on.
    pub(super) fn keep(&self, lease: LeaseId) -> bool {
        let now = Instant::now();
        let mut held = self.held.lock();
        // One whose time is over stays dead, though its keys may still wait for their deletion.
        let living = held.get_mut(&lease).filter(|held| held.ends > now);
        living.map(|held| held.ends = now + held.ttl).is_some()
    }

    pub(super) fn lives(&self, lease: LeaseId) -> bool {
        self.held.lock().get(&lease).is_some_and(|held| held.ends > Instant::now())
    }

    pub(super) fn forget(&self, lease: LeaseId) {
        self.held.lock().remove(&lease);
    }

    /// Those whose time is over.
    pub(super) fn ended(&self) -> Vec<LeaseId> {
        let now = Instant::now();
        self.held.lock().iter().filter(|(_, held)| held.ends <= now).map(|(lease, _)| *lease).collect()
    }

    /// How long until the next one ends, if nobody keeps it.
    pub(super) fn next_end(&self) -> Option<Duration> {
        let now = Instant::now();
        self.held.lock().values().map(|held| held.ends.saturating_duration_since(now)).min()
    }
}
