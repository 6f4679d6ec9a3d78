//! Code from registries, by way of the node's cache.

use std::sync::Arc;

use artifact::Reference;
use artifact::registry::Client;
use async_trait::async_trait;

use crate::cache::{Cache, Code};
use crate::instance::{Source, Teller, chain};

/// Pulls what the cache does not have.
pub struct Registry {
    /// The node's cache.
    pub cache: Cache,
    /// Where components are pulled from.
    pub registry: Client,
}

#[async_trait]
impl Source for Registry {
    async fn code(&self, image: &str, memory: u64, teller: &Teller) -> Result<Arc<Code>, String> {
        let reference: Reference = image.parse().map_err(|error| format!("`{image}` is not a reference: {}", chain(&error)))?;
        teller.step("Pulling", format!("pulling {image}"));
        let artifact = self.registry.pull(&reference).await.map_err(|error| chain(&error))?;
        teller.step("Pulled", format!("pulled {image}, {} bytes", artifact.wasm.len()));
        self.cache.prepare_bytes(artifact.wasm, memory).await.map_err(|error| chain(&error))
    }
}
