//! Code from registries, by way of the node's cache.

use std::sync::Arc;
use std::time::{Duration, Instant};

use artifact::registry::Client;
use artifact::{Digest, Reference};
use async_trait::async_trait;

use crate::cache::{Cache, Content, Pruned};
use crate::instance::{Source, Teller, chain};
use crate::metrics::CodeCounts;
use crate::room::pressure;

/// Pulls and compiles what the cache does not have.
pub struct Registry {
    /// The node's cache.
    pub cache: Cache,
    /// Where components are pulled from.
    pub registry: Client,
}

/// What takes longer is worth an Event; a scale-out of what is here already is not worth twenty.
const LONG: Duration = Duration::from_millis(150);

#[async_trait]
impl Source for Registry {
    async fn code(&self, image: &str, memory: u64, teller: &Teller) -> Result<Content, String> {
        let reference: Reference = image.parse().map_err(|error| format!("`{image}` is not a reference: {}", chain(&error)))?;
        let pulling = self.cache.keep(&reference, &self.registry);
        told(teller, ("Pulling", "Pulled"), image, pulling).await.map_err(|error| chain(&error))?;
        let compiling = self.cache.content(&reference, &self.registry, memory);
        told(teller, ("Compiling", "Compiled"), image, compiling).await.map_err(|error| chain(&error))
    }

    fn counts(&self) -> Arc<CodeCounts> {
        self.cache.counts()
    }

    fn rest(&self) {
        self.cache.rest(pressure::is_short());
    }

    async fn prune(&self, keep: Vec<Digest>, dry_run: bool) -> Result<Pruned, String> {
        let cache = self.cache.clone();
        let pruned = tokio::task::spawn_blocking(move || cache.prune(&keep, dry_run)).await;
        pruned.map_err(|error| error.to_string())?.map_err(|error| chain(&error))
    }
}

/// Tells the beginning and the end of something that takes long: `("Pulling", "Pulled")`.
async fn told<T>(teller: &Teller, (begun, done): (&'static str, &'static str), image: &str, work: impl Future<Output = T>) -> T {
    let (since, mut work) = (Instant::now(), std::pin::pin!(work));
    if let Ok(result) = tokio::time::timeout(LONG, &mut work).await {
        return result;
    }
    teller.step(begun, format!("{} {image}", begun.to_lowercase()));
    let result = work.await;
    teller.step(done, format!("{} {image} in {} ms", done.to_lowercase(), since.elapsed().as_millis()));
    result
}
