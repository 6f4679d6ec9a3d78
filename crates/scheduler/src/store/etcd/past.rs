//! The newest part of history, kept in memory, so that watchers who were away for a moment need not ask etcd for it.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::super::hub::concerns;
use super::super::{Error, Event, Result, Revision};

/// Events that are kept.
const EVENTS: usize = 16_384;
/// Bytes of keys and values that are kept.
const BYTES: usize = 32 << 20;

/// Events in order, whole revisions only.
pub struct Past(Mutex<Kept>);

struct Kept {
    /// Everything later than this is here.
    from: Revision,
    /// What this process had forgotten, so that all engines answer the same.
    forgotten: Revision,
    events: VecDeque<Event>,
    bytes: usize,
}

/// What there is of some history.
pub enum Told {
    /// The events, and the revision reached.
    Here(Vec<Event>, Revision),
    /// It begins before what is kept; etcd may know it, up to this revision.
    Before(Revision),
}

impl Past {
    /// Nothing yet; what comes is later than `from`.
    pub fn new(from: Revision) -> Past {
        Past(Mutex::new(Kept { from, forgotten: 0, events: VecDeque::new(), bytes: 0 }))
    }

    /// Takes in the events of one or more whole revisions.
    pub fn push(&self, events: &[Event]) {
        let mut kept = self.0.lock();
        kept.bytes += events.iter().map(size).sum::<usize>();
        kept.events.extend(events.iter().cloned());
        while kept.events.len() > EVENTS || kept.bytes > BYTES {
            kept.drop_oldest();
        }
    }

    /// Nothing up to this revision is known any more: a part of history was missed.
    pub fn skip(&self, revision: Revision) {
        let mut kept = self.0.lock();
        *kept = Kept { from: revision, forgotten: kept.forgotten, events: VecDeque::new(), bytes: 0 };
    }

    /// Forgets what compaction forgot.
    pub fn forget(&self, revision: Revision) {
        let mut kept = self.0.lock();
        kept.forgotten = kept.forgotten.max(revision);
        while kept.events.front().is_some_and(|event| event.revision <= revision) {
            kept.drop_oldest();
        }
    }

    /// Refuses to go on from what was forgotten.
    pub fn check(&self, asked: Revision) -> Result<()> {
        let oldest = self.0.lock().forgotten;
        if asked < oldest { Err(Error::Compacted { asked, oldest }) } else { Ok(()) }
    }

    /// The events of whole revisions in `after..=upto` that concern `prefix`, stopping after the revision that fills `limit`.
    pub fn tell(&self, prefix: &str, after: Revision, upto: Revision, limit: usize) -> Told {
        let kept = self.0.lock();
        if after < kept.from {
            return Told::Before(kept.from.min(upto));
        }
        let start = kept.events.partition_point(|event| event.revision <= after);
        let mut found = Vec::new();
        for event in kept.events.range(start..).take_while(|event| event.revision <= upto) {
            if found.len() >= limit && found.last().is_some_and(|last: &Event| last.revision != event.revision) {
                let reached = event.revision - 1;
                return Told::Here(found, reached);
            }
            if concerns(prefix, event.key()) {
                found.push(event.clone());
            }
        }
        Told::Here(found, upto)
    }
}

impl Kept {
    /// A whole revision.
    fn drop_oldest(&mut self) {
        let Some(revision) = self.events.front().map(|event| event.revision) else { return };
        while let Some(event) = self.events.pop_front_if(|event| event.revision == revision) {
            self.bytes -= size(&event);
        }
        self.from = self.from.max(revision);
    }
}

fn size(event: &Event) -> usize {
    let bytes = |item: &Option<super::Item>| item.as_ref().map_or(0, |item| item.key.len() + item.value.len());
    bytes(&event.item) + bytes(&event.previous)
}
