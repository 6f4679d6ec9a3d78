//! How long nobody has asked an instance.

use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::local::Local;

/// Since when nobody asked.
pub struct Quiet {
    asked: u32,
    since: Instant,
}

impl Quiet {
    /// From now on.
    pub fn new(local: &Local) -> Quiet {
        Quiet { asked: local.asked(), since: Instant::now() }
    }

    /// Done when nobody asked for as long as the pod may then sleep, and it is ready: what never was has shown nothing yet. Dropped and
    /// begun again it goes on where it was.
    pub async fn enough(&mut self, local: &Local) {
        loop {
            let Some(window) = local.may_sleep() else {
                local.called().await;
                self.since = Instant::now();
                continue;
            };
            let look = (window / 4).min(Duration::from_secs(5));
            // A call tells here that the window is another one. Boxed, since thousands may not sleep and need no clock.
            let _ = Box::pin(tokio::time::timeout(look, local.called())).await;
            let asked = local.asked();
            if asked != self.asked || local.in_flight() > 0 || !local.is_ready() {
                *self = Quiet { asked, since: Instant::now() };
            } else if local.may_sleep().is_some_and(|window| self.since.elapsed() >= window) {
                return;
            }
        }
    }
}
