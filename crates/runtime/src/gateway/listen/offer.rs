//! Answers on HTTP/2 that the client does not take: with a window of 0 it holds a pod's place and blocks no socket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Since when a part of one answer has been ready and not been asked for, in the connection's time; 0 while there is none.
#[derive(Default)]
pub struct Offer(AtomicU64);

impl Offer {
    /// Notes it.
    pub fn set(&self, since: u64) {
        self.0.store(since, Ordering::Relaxed);
    }
}

/// The answers of one connection.
#[derive(Default)]
pub struct Offers(Mutex<Vec<Weak<Offer>>>);

impl Offers {
    /// A new one.
    pub fn make(&self) -> Arc<Offer> {
        let offer = Arc::default();
        let mut all = self.0.lock();
        // Those that are over are swept out before the list would have to grow.
        if all.len() == all.capacity() {
            all.retain(|offer| offer.strong_count() > 0);
        }
        all.push(Arc::downgrade(&offer));
        offer
    }

    /// The oldest that nobody takes; 0 when there is none.
    pub fn oldest(&self) -> u64 {
        let all = self.0.lock();
        let since = all.iter().filter_map(Weak::upgrade).map(|offer| offer.0.load(Ordering::Relaxed));
        since.filter(|since| *since > 0).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n11_the_oldest_answer_that_is_ready_counts_and_those_that_are_over_do_not() {
        let offers = Offers::default();
        let (first, second, waits) = (offers.make(), offers.make(), offers.make());
        first.set(7);
        second.set(9);
        assert_eq!(offers.oldest(), 7);
        drop(first);
        assert_eq!(offers.oldest(), 9);
        second.set(0);
        assert_eq!(offers.oldest(), 0);
        (0..1_000).for_each(|_| drop(offers.make()));
        assert!(offers.0.lock().len() < 10, "{}", offers.0.lock().len());
        drop(waits);
    }
}
