//! How long a connection may be open with nothing asked on it: who has no token must not keep the places of those who have one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// What is asked on one connection.
pub struct Rest {
    /// Until the first request.
    first: Duration,
    /// From one answer's end to the next request.
    idle: Duration,
    asked: AtomicBool,
    under_way: AtomicU32,
    changed: Notify,
}

/// A request under way, until the last byte of its answer.
pub struct Asking(Arc<Rest>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

impl Rest {
    /// A new connection's.
    pub fn new(first: Duration, idle: Duration) -> Arc<Rest> {
        Arc::new(Rest { first, idle, asked: AtomicBool::new(false), under_way: AtomicU32::new(0), changed: Notify::new() })
    }

    /// A request begins.
    pub fn ask(self: &Arc<Rest>) -> Asking {
        self.asked.store(true, Ordering::Release);
        self.under_way.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
        Asking(self.clone())
    }

    /// Done when nothing was asked for too long.
    pub async fn too_long(&self) {
        loop {
            let changed = self.changed.notified();
            if self.under_way.load(Ordering::Acquire) > 0 {
                changed.await;
                continue;
            }
            let most = if self.asked.load(Ordering::Acquire) { self.idle } else { self.first };
            if tokio::time::timeout(most, changed).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn n5_a_connection_on_which_nobody_asks_ends_and_a_long_answer_is_waited_for() {
        let (first, idle) = (Duration::from_millis(20), Duration::from_millis(60));
        let rest = Rest::new(first, idle);
        let since = Instant::now();
        rest.too_long().await;
        assert!(since.elapsed() >= first && since.elapsed() < idle, "{:?}", since.elapsed());
        let asking = rest.ask();
        assert!(tokio::time::timeout(idle * 3, rest.too_long()).await.is_err(), "a watch may take as long as it likes");
        drop(asking);
        let since = Instant::now();
        rest.too_long().await;
        assert!(since.elapsed() >= idle, "{:?}", since.elapsed());
    }
}
