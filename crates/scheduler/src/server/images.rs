//! What an image as typed means right now, looked up in registries.

use std::time::Duration;

use artifact::registry::{Client, Kind};
use artifact::{Reference, inspect};
use async_trait::async_trait;

use crate::reconcile::Resolve;

/// How long a registry may take to tell what a component imports.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks references up with a registry client.
pub struct Images(Client);

impl Images {
    /// Looks up with this client.
    pub fn new(client: Client) -> Images {
        Images(client)
    }
}

#[async_trait]
impl Resolve for Images {
    async fn resolve(&self, typed: &str) -> Result<String, String> {
        let reference: Reference = typed.parse().map_err(|e: artifact::reference::ParseError| e.to_string())?;
        let resolved = self.0.resolve(&reference).await.map_err(|e| e.sentence())?;
        match resolved.kind {
            Kind::Component | Kind::Files => Ok(reference.pinned(resolved.digest).to_string()),
            Kind::LinuxImage { platform } => Err(format!(
                "{typed} is a container image for {platform}, and nodes run WebAssembly components; build it for wasm32-wasip2 and push it with `wctl push`"
            )),
            Kind::Other { what } => Err(format!("{typed} is no WebAssembly component but {what}")),
        }
    }

    async fn unsupported(&self, image: &str) -> Option<String> {
        let reference: Reference = image.parse().ok()?;
        // A tag elsewhere is looked up when it is resolved, once; what it means by then is what counts.
        if reference.digest().is_none() && reference.registry().is_some() {
            return None;
        }
        let missing = tokio::time::timeout(PATIENCE, self.0.unsupported(&reference, inspect::OFFERED)).await;
        // A registry that does not answer now may do so when a node asks.
        inspect::refusal(&missing.ok()?.ok()?)
    }

    async fn is_program(&self, image: &str) -> bool {
        let Ok(reference) = image.parse::<Reference>() else { return false };
        let world = tokio::time::timeout(PATIENCE, self.0.world(&reference)).await;
        matches!(world, Ok(Ok(Some(inspect::World::Command))))
    }
}
