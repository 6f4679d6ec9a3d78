//! What the server does now and then: bookmarks for idle watches, and forgetting history that nobody can want.

use std::collections::VecDeque;
use std::time::Duration;

use artifact::blobs::Blobs;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::objects::Objects;

use super::prune;

/// How often a bookmark is written and the store's revision is noted.
const OFTEN: Duration = Duration::from_secs(60);
/// How many of these back history reaches: a client that was away for ten minutes goes on where it was.
const NOTED: usize = 10;
/// After how many of these blobs that nobody needs are looked for.
const PRUNE_EVERY: u64 = 60;

/// Runs until `stop`.
pub(super) async fn run(objects: Objects, blobs: Blobs, stop: CancellationToken) {
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
        if let Err(error) = turn(&objects, &mut noted).await {
            tracing::warn!(%error, "the store cannot be tidied up; trying again in a minute");
        }
        if count.is_multiple_of(PRUNE_EVERY)
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
