//! What a node keeps of the API on its disk, sealed, so that it runs on when it starts while the server is away: its pods, the routes, the
//! other nodes, and the Secrets and ConfigMaps of its pods.

mod file;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::env::{Kind, Values};
use crate::agent::watch::watch;
pub use file::Error;
use file::{Change, File};

/// How long the server may take to tell a kind of object before the node goes on with what it knew.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 2000 });

/// What was last seen of the API.
pub struct Kept(File);

impl Kept {
    /// Opens the file in this folder, or makes it.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Arc<Kept>, Error> {
        File::open(folder).map(|file| Arc::new(Kept(file)))
    }

    /// As [`watch`], with what was last seen at first where the server says nothing.
    pub fn watch<K>(self: &Arc<Self>, api: Api<K>, config: Config) -> impl Stream<Item = Event<K>> + Send + use<K>
    where
        K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        self.around(watch(api, config).boxed())
    }

    fn around<K>(self: &Arc<Self>, live: BoxStream<'static, Event<K>>) -> impl Stream<Item = Event<K>> + Send + use<K>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let kept = self.clone();
        let begun = async move {
            let mut live = live;
            let first = tokio::time::timeout(PATIENCE, first(&mut live)).await;
            let old = if first.is_err() { kept.replay::<K>() } else { Vec::new() };
            let mut recorder = Recorder { kept, listed: Vec::new() };
            let first = first.into_iter().flatten().flat_map(|event| [Event::Init, event]);
            let live = stream::iter(first.collect::<Vec<_>>()).chain(live).inspect(move |event| recorder.record(event));
            stream::iter(old).chain(live)
        };
        stream::once(begun).flatten()
    }

    /// The last whole list of a kind; nothing before there was one.
    fn replay<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> Vec<Event<K>> {
        let kind = K::plural(&());
        let Some(objects) = self.0.list(&kind) else { return Vec::new() };
        tracing::info!(%kind, count = objects.len(), "the server does not answer: going on with what was last seen");
        let read = objects.iter().filter_map(|object| serde_json::from_slice(object).ok()).map(Event::InitApply);
        [Event::Init].into_iter().chain(read).chain([Event::InitDone]).collect()
    }

    /// Values from `source`, or those of last time where it does not answer.
    pub fn values(self: &Arc<Self>, source: Arc<dyn Values>) -> Arc<dyn Values> {
        Arc::new(KeptValues { kept: self.clone(), source })
    }
}

/// The first event that says anything: that a list begins is said whether the server answers or not.
async fn first<K>(live: &mut BoxStream<'static, Event<K>>) -> Option<Event<K>> {
    loop {
        match live.next().await {
            Some(Event::Init) => {}
            other => return other,
        }
    }
}

/// Keeps one kind of object as a watch tells of it.
struct Recorder {
    kept: Arc<Kept>,
    listed: Vec<String>,
}

impl Recorder {
    fn record<K: Resource<DynamicType = ()> + Serialize>(&mut self, event: &Event<K>) {
        let kind = || K::plural(&()).into_owned();
        let change = match event {
            Event::Init => return self.listed.clear(),
            Event::InitApply(object) => {
                self.listed.push(name(object));
                put(object)
            }
            Event::InitDone => Some(Change::Only { kind: kind(), names: std::mem::take(&mut self.listed) }),
            Event::Apply(object) => put(object),
            Event::Delete(object) => Some(Change::Remove { kind: kind(), name: name(object) }),
        };
        change.into_iter().for_each(|change| self.kept.0.write(change));
    }
}

fn put<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Option<Change> {
    // An object that came as JSON can be written as JSON.
    let bytes = serde_json::to_vec(object).ok()?;
    let version = object.resource_version().unwrap_or_default();
    Some(Change::Put { kind: K::plural(&()).into_owned(), name: name(object), version, bytes })
}

fn name<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

struct KeptValues {
    kept: Arc<Kept>,
    source: Arc<dyn Values>,
}

#[async_trait]
impl Values for KeptValues {
    async fn values(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, String> {
        let table = format!("{kind:?}");
        let key = format!("{namespace}/{name}");
        let before = || self.kept.0.get(&table, &key).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let asked = tokio::time::timeout(PATIENCE, self.source.values(kind, namespace, name));
        match asked.await {
            Ok(Ok(Some(values))) => {
                if let Ok(bytes) = serde_json::to_vec(&values) {
                    self.kept.0.write(Change::Put { kind: table, name: key, version: String::new(), bytes });
                }
                Ok(Some(values))
            }
            Ok(Ok(None)) => {
                self.kept.0.write(Change::Remove { kind: table, name: key });
                Ok(None)
            }
            Ok(Err(why)) => before().map(Some).ok_or(why),
            Err(_) => match before() {
                Some(values) => Ok(Some(values)),
                // Nothing to go on with: as patient as without a copy.
                None => self.source.values(kind, namespace, name).await,
            },
        }
    }
}

#[cfg(test)]
mod tests;
