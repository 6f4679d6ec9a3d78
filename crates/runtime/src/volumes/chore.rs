//! Removes volumes of Apps that are gone.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::{Api, Client};
use scheduler::names;
use tokio::sync::Notify;

use super::Volumes;

/// How often it is looked for Apps that went while nothing told of it: while this node was away.
const EVERY: Duration = Duration::from_secs(60);
/// How long the last pod of an App may be gone before its App is.
const AFTER: Duration = Duration::from_millis(500);

/// Looks after a node's volumes for as long as the node runs.
pub struct Chore {
    volumes: Arc<Volumes>,
    client: Client,
    /// This node's name.
    node: String,
    changed: Arc<Notify>,
}

impl Chore {
    /// Asks `client` which Apps there are, soon after `changed` and now and then.
    pub fn new(volumes: Arc<Volumes>, client: Client, node: String, changed: Arc<Notify>) -> Chore {
        Chore { volumes, client, node, changed }
    }

    /// Runs until it is dropped.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!("cannot remove volumes of apps that are gone yet: {error}");
            }
            tokio::select! {
                () = self.changed.notified() => tokio::time::sleep(AFTER).await,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), String> {
        let volumes = self.volumes.clone();
        let unused = waiting(move || volumes.unused()).await?;
        for (namespace, app) in unused {
            if self.is_there(&namespace, &app).await? {
                continue;
            }
            let volumes = self.volumes.clone();
            let (of_namespace, of_app) = (namespace.clone(), app.clone());
            if waiting(move || volumes.remove(&of_namespace, &of_app)).await? && !namespace.is_empty() {
                tracing::info!(namespace, app, "removed the volumes of an app that is gone");
            }
        }
        Ok(())
    }

    /// Whether the App has a Service or a Pod: it has one Service for each of its services as long as it is there, and a node may read those,
    /// but no Apps. A Pod by hand needs no Service, and one that waits to be started again holds no volume.
    async fn is_there(&self, namespace: &str, app: &str) -> Result<bool, String> {
        // What is a pod's own lies under its UID.
        if namespace.is_empty() {
            let here = ListParams::default().fields(&format!("spec.nodeName={}", self.node));
            let pods = Api::<Pod>::all(self.client.clone()).list_metadata(&here).await.map_err(|error| error.to_string())?;
            return Ok(pods.items.iter().any(|pod| pod.metadata.uid.as_deref() == Some(app)));
        }
        let of_app = ListParams::default().labels(&format!("{}={app}", names::APP)).limit(1);
        let services = Api::<Service>::namespaced(self.client.clone(), namespace);
        let found = services.list_metadata(&of_app).await.map_err(|error| error.to_string())?;
        if !found.items.is_empty() {
            return Ok(true);
        }
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let found = pods.list_metadata(&of_app).await.map_err(|error| error.to_string())?;
        Ok(!found.items.is_empty())
    }
}

async fn waiting<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
