//! A request wakes the pod that sleeps, and waits for it: for a while, and among a bounded number.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::local::{Held, Local};
use super::{Failed, Gateway, Refusal};

/// How long a request waits for a pod to wake.
pub const WAKES: Duration = Duration::from_secs(10);
/// Requests that wait at once, whatever for; of each pod as many wait as it works on at once.
const WAIT: usize = 4096;

/// The places of those that wait.
pub struct Places(Semaphore);

impl Default for Places {
    fn default() -> Places {
        Places(Semaphore::new(WAIT))
    }
}

impl Gateway {
    /// Counts a request in on a pod that had no instance just now. Of those that come at the same time the first one wakes it; none of
    /// their bodies is read before.
    pub(super) async fn wake(&self, local: &Arc<Local>) -> Result<Held, Failed> {
        let failed = |refusal, why: &str| Failed { refusal, pod: Some(local.identity.clone()), detail: Some(why.to_owned()) };
        let held = || local.hold().ok_or_else(|| failed(Refusal::NoEndpoint, "it has no instance"));
        if !local.is_asleep() {
            return held();
        }
        let full = || failed(Refusal::Waking, "too many requests wait for it to wake");
        let _place = self.waking.0.try_acquire().map_err(|_| full())?;
        let _waiting = local.wait().ok_or_else(full)?;
        let deadline = Instant::now() + WAKES;
        loop {
            let mut turned = pin!(local.turned());
            turned.as_mut().enable();
            if !local.is_asleep() {
                return held();
            }
            local.call();
            let late = || failed(Refusal::Waking, "it did not wake in time");
            timeout_at(deadline, turned).await.map_err(|_| late())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Settings;
    use crate::gateway::local::Identity;

    #[tokio::test]
    async fn as_many_wait_as_may_and_when_nobody_wakes_up_they_hear_of_it() {
        let gateway = Arc::new(Gateway::new(Settings { node: "edge-1".into(), trusted: Vec::new() }, Arc::default()));
        let local = gateway.locals.enter(&Arc::new(Identity::default()));
        let refusal = |result: Result<Held, Failed>| result.err().map(|failed| failed.refusal);
        assert_eq!(refusal(gateway.wake(&local).await), Some(Refusal::NoEndpoint), "it is not asleep, and nothing is there");
        local.set_ready(true);
        local.fall_asleep(2);
        assert!(local.is_ready() && local.load().is_some(), "whoever comes finds it");
        let wait = || {
            tokio::spawn({
                let (gateway, local) = (gateway.clone(), local.clone());
                async move { gateway.wake(&local).await }
            })
        };
        let first = (wait(), wait());
        while !local.is_wanted() || local.wait().is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(refusal(gateway.wake(&local).await), Some(Refusal::Waking));
        local.called().await;
        local.awake();
        assert_eq!(refusal(first.0.await.expect("no panic")), Some(Refusal::NoEndpoint), "it could not start");
        assert_eq!(refusal(first.1.await.expect("no panic")), Some(Refusal::NoEndpoint));
        tokio::time::timeout(WAKES, local.drained()).await.expect("nobody waits any more");
    }
}
