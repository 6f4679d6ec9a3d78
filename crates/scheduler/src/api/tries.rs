//! How often a write is tried again when others write the same objects, and how long it waits before.

use std::time::Duration;

use super::status::Refusal;

/// Of so many that write at once each gets its turn, even if it loses to all the others first.
const MOST: u64 = 100;
/// The longest pause, in milliseconds.
const PAUSE: u64 = 20;

/// The tries of one write.
#[derive(Default)]
pub(super) struct Tries(u64);

impl Tries {
    /// Whether to try once more at once.
    pub(super) fn more(&mut self) -> bool {
        self.0 += 1;
        self.0 < MOST
    }

    /// Whether to try once more after this refusal; waits a little first, so that those who lost together do not meet again.
    pub(super) async fn again(&mut self, refusal: &Refusal) -> bool {
        self.0 += 1;
        if refusal.reason != "Conflict" || self.0 >= MOST {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..self.0.min(PAUSE)))).await;
        true
    }
}
