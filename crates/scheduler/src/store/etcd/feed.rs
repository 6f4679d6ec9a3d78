//! The one watch of everything that feeds the hub, what of history only etcd knows, and the streams that are asked one question.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::super::hub::{History, concerns};
use super::super::{Error, Event, LeaseId, Result, Revision};
use super::members::{Held, told};
use super::past::Told;
use super::wire::{self, WatchResponse, path};
use super::{Item, Names, Shared, inner_revision, outer_revision};

/// How long to wait before a feed that broke is opened again.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time between two answers of a stream that has more to tell.
const ANSWER: Duration = Duration::from_secs(5);

/// A watch of all keys of this cluster on one member.
struct Feed {
    answers: Streaming<WatchResponse>,
    _questions: Held<wire::WatchRequest>,
    /// Parts of an answer that came in several.
    parts: Vec<wire::WatchEvent>,
}

impl Feed {
    /// From the events of `from` on. That one is known already: asked for, a member says when it is compacted, which it would not
    /// say of the revision after it, although of that only a part may be left.
    async fn open(shared: &Shared, member: usize, from: Revision) -> Result<Feed> {
        let (key, range_end) = (shared.names.outer(""), shared.names.end(""));
        let create = wire::WatchCreate { key, range_end, start_revision: outer_revision(from), prev_kv: true, fragment: true };
        let question = wire::WatchRequest { create: Some(create) };
        let (answers, questions) = shared.members.stream(member, path::WATCH, question).await?;
        Ok(Feed { answers, _questions: questions, parts: Vec::new() })
    }

    /// The next whole answer: the events after `asked`, in order.
    async fn next(&mut self, names: &Names, asked: Revision) -> Result<Vec<Event>> {
        loop {
            let answer = self.answers.message().await.map_err(|status| told(&status))?;
            let answer = answer.ok_or_else(|| Error::Unavailable("etcd ended the watch".to_owned()))?;
            // The reason is empty when this is the reason.
            if answer.compact_revision > 0 {
                return Err(Error::Compacted { asked, oldest: inner_revision(answer.compact_revision) });
            }
            if answer.canceled {
                return Err(Error::Unavailable(format!("etcd ended the watch: {}", answer.cancel_reason)));
            }
            self.parts.extend(answer.events);
            if !answer.fragment && !self.parts.is_empty() {
                return events(names, std::mem::take(&mut self.parts), asked);
            }
        }
    }
}

/// etcd's events after a revision, in terms of the store.
fn events(names: &Names, told: Vec<wire::WatchEvent>, after: Revision) -> Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::with_capacity(told.len());
    for one in told {
        let kv = one.kv.ok_or_else(|| Error::Unavailable("etcd tells of a change of nothing".to_owned()))?;
        let revision = inner_revision(kv.mod_revision);
        if revision <= after {
            continue;
        }
        let previous = one.prev_kv.as_ref().map(|kv| names.item(kv)).transpose()?.map(|(item, _)| item);
        let gone = one.kind == 1;
        // Compaction takes previous values from under a watch that is still behind it.
        if previous.is_none() && (gone || kv.version > 1) {
            return Err(Error::Compacted { asked: revision.saturating_sub(1), oldest: revision });
        }
        let before = events.last().filter(|event| event.revision == revision).map(|event| event.ordinal);
        let (item, ordinal): (Option<Item>, u8) = if gone {
            // Nothing tells a deletion's place, but it is behind what was told before it.
            (None, before.map_or(0, |before| before.saturating_add(1)))
        } else {
            let (item, ordinal) = names.item(&kv)?;
            (Some(item), ordinal)
        };
        events.push(Event { revision, ordinal, item, previous });
    }
    Ok(events)
}

/// Keeps the hub fed until it is cancelled.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let (member, from) = (shared.members.current(), shared.hub.published());
        let ended = match Feed::open(&shared, member, from).await {
            Ok(feed) => follow(&shared, member, feed, from).await,
            Err(error) => error,
        };
        if let Error::Compacted { oldest, .. } = ended {
            tracing::warn!(from, oldest, "a part of etcd's history was missed; watchers list again");
            shared.past.skip(oldest);
            shared.hub.skip(oldest);
        } else {
            tracing::debug!(error = %ended, "the watch of etcd is opened again");
            shared.members.leave(member);
        }
        sleep(PAUSE).await;
    }
}

/// Until the stream breaks or another member is asked.
async fn follow(shared: &Shared, member: usize, mut feed: Feed, from: Revision) -> Error {
    let mut seen = from;
    loop {
        let moved = shared.members.moved.notified();
        if shared.members.current() != member {
            return Error::Unavailable("another member is asked".to_owned());
        }
        let events = tokio::select! {
            events = feed.next(&shared.names, seen) => events,
            () = moved => continue,
        };
        let events = match events {
            Ok(events) => events,
            Err(error) => return error,
        };
        for commit in events.chunk_by(|one, other| one.revision == other.revision) {
            seen = commit[0].revision;
            shared.past.push(commit);
            shared.hub.publish(seen, commit);
        }
    }
}

#[async_trait]
impl History for Shared {
    async fn replay(self: Arc<Self>, prefix: String, after: Revision, upto: Revision, limit: usize) -> Result<(Vec<Event>, Revision)> {
        self.past.check(after)?;
        let known = match self.past.tell(&prefix, after, upto, limit) {
            Told::Here(events, reached) => return Ok((events, reached)),
            Told::Before(known) => known,
        };
        let mut feed = Feed::open(&self, self.members.current(), after).await?;
        let (mut found, mut reached) = (Vec::new(), after);
        while reached < known && found.len() < limit {
            let slow = |_| Error::Unavailable("etcd does not tell its history".to_owned());
            let events = timeout(ANSWER, feed.next(&self.names, after)).await.map_err(slow)??;
            reached = events.last().map_or(reached, |event| event.revision.min(upto));
            found.extend(events.into_iter().filter(|event| event.revision <= upto && concerns(&prefix, event.key())));
        }
        Ok((found, reached.max(after)))
    }
}

/// The oldest revision that can still be read.
pub(super) async fn oldest(shared: &Shared) -> Result<Revision> {
    let mut feed = Feed::open(shared, shared.members.current(), 0).await?;
    match timeout(ANSWER, feed.next(&shared.names, 0)).await {
        Ok(Err(Error::Compacted { oldest, .. })) => Ok(oldest),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(0),
    }
}

/// Whether a lease lived and lives on.
pub(super) async fn keep(shared: &Shared, member: usize, lease: LeaseId) -> Result<bool> {
    let question = wire::LeaseAsk { id: lease };
    let (mut answers, _held) = shared.members.stream::<_, wire::LeaseLeft>(member, path::LEASE_KEEP, question).await?;
    let silent = || Error::Unavailable("etcd does not answer for a lease".to_owned());
    let answer = timeout(ANSWER, answers.message()).await.map_err(|_| silent())?.map_err(|status| told(&status))?;
    Ok(answer.ok_or_else(silent)?.ttl > 0)
}
