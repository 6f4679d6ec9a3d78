//! Keeps the snapshot at what the store says: all objects once, then every change.

use crate::kinds::KINDS;
use crate::model::{Name, ObjectId, Snapshot, read};
use crate::objects::{Change, Error, Event, Object, Objects, Result};
use futures::stream::{BoxStream, StreamExt};
use std::collections::HashMap;
use std::time::Duration;

pub struct Follower {
    events: BoxStream<'static, Result<Event>>,
    /// Objects that this leader removed, until the watch tells the same: older news of them must not bring them back.
    removed: HashMap<ObjectId, Name>,
}

impl Follower {
    /// Lists everything into the snapshot, and watches from there.
    pub async fn start(objects: &Objects, snapshot: &mut Snapshot, now: Duration) -> Result<Follower> {
        let after = objects.resource_version().await?;
        for kind in KINDS {
            let list = objects.list(kind, None, 0, None).await?;
            for object in list.items {
                snapshot.put(read(kind, &object.0, now), now);
            }
        }
        // Changes since `after` that the lists show already are older news by the time that they are told, and left out.
        Ok(Follower { events: objects.watch(&[], None, after), removed: HashMap::new() })
    }

    /// Waits for one change and takes it in.
    pub async fn next(&mut self, snapshot: &mut Snapshot, now: Duration) -> Result<()> {
        let event = self.events.next().await;
        self.take(event, snapshot, now)
    }

    /// Takes in all changes that are there without waiting.
    pub fn drain(&mut self, snapshot: &mut Snapshot, now: Duration) -> Result<()> {
        while let Some(event) = futures::FutureExt::now_or_never(self.events.next()) {
            self.take(event, snapshot, now)?;
        }
        Ok(())
    }

    fn take(&mut self, event: Option<Result<Event>>, snapshot: &mut Snapshot, now: Duration) -> Result<()> {
        let event = event.ok_or_else(|| Error::Store(crate::store::Error::Unavailable("the watch ended".to_owned())))??;
        let id = ObjectId::new(event.kind, crate::model::Key::new(event.object.namespace(), event.object.name()));
        match event.change {
            Change::Bookmark => {}
            Change::Deleted => {
                self.removed.remove(&id);
                // Made anew since: the snapshot is ahead of the watch.
                if snapshot.meta(&id).is_none_or(|meta| meta.version < event.resource_version) {
                    snapshot.remove(&id);
                }
            }
            Change::Added | Change::Modified if self.removed.get(&id).is_some_and(|uid| **uid == *event.object.uid()) => {}
            Change::Added | Change::Modified => snapshot.put(read(event.kind, &event.object.0, now), now),
        }
        Ok(())
    }

    /// What a commit of this leader wrote, without waiting for the watch.
    pub fn wrote(&mut self, written: Vec<Object>, removed: Vec<ObjectId>, snapshot: &mut Snapshot, now: Duration) {
        for object in written {
            if let Ok(kind) = object.known_kind() {
                snapshot.put(read(kind, &object.0, now), now);
            }
        }
        for id in removed {
            if let Some(uid) = snapshot.meta(&id).map(|meta| meta.uid.clone()) {
                self.removed.insert(id.clone(), uid);
            }
            snapshot.remove(&id);
        }
    }
}
