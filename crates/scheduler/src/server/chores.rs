//! What the server does now and then: bookmarks for idle watches, and forgetting history and Events that nobody can want.

use std::collections::VecDeque;
use std::time::Duration;

use artifact::blobs::Blobs;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::kinds::EVENT;
use crate::objects::{self, Object, Objects, Write};
use crate::reconcile::Leading;

use super::prune;

/// How often a bookmark is written and the store's revision is noted.
const OFTEN: Duration = Duration::from_secs(60);
/// How many of these back history reaches: a client that was away for ten minutes goes on where it was.
const NOTED: usize = 10;
/// After how many of these blobs that nobody needs are looked for.
const PRUNE_EVERY: u64 = 60;

/// How long an Event is kept, as in Kubernetes.
const TOLD_FOR: SignedDuration = SignedDuration::from_hours(1);
/// Events that are forgotten in one commit.
const BATCH: usize = 100;

/// Runs until `stop`.
pub(super) async fn run(objects: Objects, blobs: Blobs, leading: Leading, stop: CancellationToken) {
    let mut ticks = interval(OFTEN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, when there is nothing to do yet.
    ticks.tick().await;
    let mut noted = VecDeque::new();
    let mut count = 0u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        count += 1;
        // Of several servers one is enough for what they share.
        if leading.is_set()
            && let Err(error) = turn(&objects, &mut noted).await
        {
            tracing::warn!(%error, "the store cannot be tidied up; trying again in a minute");
        }
        if leading.is_set()
            && let Err(error) = forget_events(&objects, Timestamp::now()).await
        {
            tracing::warn!(%error, "old Events cannot be forgotten; trying again in a minute");
        }
        if count.is_multiple_of(PRUNE_EVERY)
            && (leading.is_set() || !blobs.is_shared())
            && let Err(error) = prune::now_and_then(&objects, &blobs).await
        {
            tracing::warn!(error, "the registry cannot be tidied up; trying again in an hour");
        }
    }
}

async fn turn(objects: &Objects, noted: &mut VecDeque<u64>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let revision = objects.resource_version().await? / 256;
    // While nothing changes there is nothing to tell: a bookmark is a write too.
    if noted.back().is_none_or(|last| revision > last + 1) {
        objects.bookmark().await?;
    }
    noted.push_back(revision);
    if noted.len() > NOTED
        && let Some(oldest) = noted.pop_front()
    {
        objects.store().compact(oldest).await?;
    }
    Ok(())
}

/// By the time of day: a clock that jumps costs what people read, and nothing else.
async fn forget_events(objects: &Objects, now: Timestamp) -> objects::Result<()> {
    let all = objects.list(&EVENT, None, 0, None).await?.items;
    let old: Vec<&Object> = all.iter().filter(|event| last_told(event).is_some_and(|at| now.duration_since(at) > TOLD_FOR)).collect();
    for events in old.chunks(BATCH) {
        let delete = |event: &&Object| Write::Delete {
            kind: &EVENT,
            namespace: event.namespace().to_owned(),
            name: event.name().to_owned(),
            resource_version: Some(event.resource_version()),
        };
        match objects.commit(events.iter().map(delete).collect()).await {
            // One was told again or is gone; the next minute sees to the others.
            Ok(_) | Err(objects::Error::Conflict { .. } | objects::Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// When it was last told, whichever field its author wrote.
fn last_told(event: &Object) -> Option<Timestamp> {
    let times = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().filter_map(|at| event.0.pointer(at)?.as_str()?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Seal;
    use crate::store::memory::Memory;
    use serde_json::json;
    use std::sync::Arc;

    #[tokio::test]
    async fn events_are_forgotten_an_hour_after_they_were_last_told() {
        let objects = Objects::new(Arc::new(Memory::new()), Seal::ephemeral().unwrap());
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let event = |name: String, made: &str, told: serde_json::Value| {
            Write::Create(Object(json!({
                "apiVersion": "v1", "kind": "Event", "lastTimestamp": told,
                "metadata": { "name": name, "namespace": "default", "uid": name, "creationTimestamp": made },
            })))
        };
        let old = (0..150).map(|n| event(format!("old-{n}"), "2026-01-01T10:00:00Z", json!("2026-01-01T10:59:59Z")));
        for old in old.collect::<Vec<_>>().chunks(100) {
            objects.commit(old.to_vec()).await.unwrap();
        }
        let young = [
            event("again".to_owned(), "2026-01-01T10:00:00Z", json!("2026-01-01T11:00:01Z")),
            event("new".to_owned(), "2026-01-01T11:30:00Z", json!(null)),
        ];
        objects.commit(young.to_vec()).await.unwrap();
        forget_events(&objects, now).await.unwrap();
        let kept: Vec<String> = objects.list(&EVENT, None, 0, None).await.unwrap().items.iter().map(|e| e.name().to_owned()).collect();
        assert_eq!(kept, ["again", "new"]);
    }
}
