//! How much history a server keeps, for watches that resume and lists that go on.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{BOOKMARK, Result, Revision, Store};

/// What is remembered at least, unless it is too much.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// History younger than this is kept …
    pub age: Duration,
    /// … up to this many revisions.
    pub revisions: u64,
    /// How often the rest is forgotten.
    pub every: Duration,
}

impl Default for Retention {
    /// Ten minutes, at most 100,000 revisions, looked at each minute.
    fn default() -> Retention {
        Retention { age: Duration::from_secs(600), revisions: 100_000, every: Duration::from_secs(60) }
    }
}

/// Compacts the store now and then, until `shutdown`. A store that fails is asked again at the next turn.
pub async fn retain(store: Arc<dyn Store>, retention: Retention, shutdown: impl Future<Output = ()>) {
    let mut seen = VecDeque::new();
    let mut turns = tokio::time::interval(retention.every);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = &mut shutdown => return,
        }
        if let Err(error) = turn(&*store, retention, &mut seen, Instant::now()).await {
            tracing::warn!(%error, "forgetting old history");
        }
    }
}

/// Notes the newest revision, and forgets what is older than the retention. `seen` holds when which revision was the newest.
async fn turn(store: &dyn Store, retention: Retention, seen: &mut VecDeque<(Instant, Revision)>, now: Instant) -> Result<()> {
    let newest = store.get(BOOKMARK).await?.0;
    seen.push_back((now, newest));
    let mut old = newest.saturating_sub(retention.revisions);
    while let Some((_, revision)) = seen.front().filter(|(when, _)| now - *when >= retention.age) {
        old = old.max(*revision);
        seen.pop_front();
    }
    if old == 0 { Ok(()) } else { store.compact(old).await }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::store::memory::Memory;
    use crate::store::{Error, Op};

    async fn write(store: &Memory, times: usize) {
        for _ in 0..times {
            store.commit(vec![], vec![Op::Put { key: "/a".to_owned(), value: "1".into(), lease: None }]).await.unwrap();
        }
    }

    async fn oldest(store: &Memory) -> Revision {
        match store.watch("/", 0).next().await {
            Some(Err(Error::Compacted { oldest, .. })) => oldest,
            _ => 0,
        }
    }

    #[tokio::test]
    async fn history_is_kept_by_age_and_by_number() {
        let store = Memory::new();
        let retention = Retention { age: Duration::from_secs(100), revisions: 50, every: Duration::from_secs(10) };
        let mut seen = VecDeque::new();
        let mut now = Instant::now();
        write(&store, 20).await;
        turn(&store, retention, &mut seen, now).await.unwrap();
        now += Duration::from_secs(60);
        write(&store, 10).await;
        turn(&store, retention, &mut seen, now).await.unwrap();
        assert_eq!(oldest(&store).await, 0, "all of it is young and little");
        now += Duration::from_secs(60);
        turn(&store, retention, &mut seen, now).await.unwrap();
        assert_eq!(oldest(&store).await, 20, "what was the newest 120 s ago is old");
        write(&store, 70).await;
        turn(&store, retention, &mut seen, now).await.unwrap();
        assert_eq!(oldest(&store).await, 50, "of 100 revisions 50 are kept");
    }
}
