//! A node's certificate: kept in its folder, asked for anew before it ends. While the server is away the one that is there serves on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::Client;
use scheduler::pki::{NodeIdentity, node_request};
use serde::Deserialize;
use tokio::time::sleep;

use super::Config;
use crate::gateway::peers::Peers;
use crate::instance::chain;

/// How often it is looked whether the certificate is near its end.
const LOOK: Duration = Duration::from_secs(3600);
/// From one try to the next while there is none: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Keeps a node's certificate.
pub struct Identity {
    node: String,
    folder: PathBuf,
    client: Client,
    peers: Arc<Peers>,
}

#[derive(Deserialize)]
struct Signed {
    certificate: String,
    ca: String,
}

impl Identity {
    /// Of the node with this configuration, for its gateway.
    pub fn new(config: &Config, client: Client, peers: Arc<Peers>) -> Identity {
        Identity { node: config.name.clone(), folder: config.data.join("pki"), client, peers }
    }

    /// Keeps it until it is dropped.
    pub async fn run(self) {
        let mut due = match NodeIdentity::open(&self.folder, &self.node) {
            Ok(Some(kept)) => self.take(&kept).is_err() || kept.is_due(),
            Ok(None) => true,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the node's certificate cannot be read, so another is asked for");
                true
            }
        };
        let mut wait = AGAIN.0;
        loop {
            if due {
                match self.renew().await {
                    Ok(()) => wait = AGAIN.0,
                    Err(error) => {
                        tracing::debug!(error, node = self.node, "the server has signed no certificate yet");
                        sleep(wait).await;
                        wait = (wait * 2).min(AGAIN.1);
                        continue;
                    }
                }
            }
            sleep(LOOK).await;
            due = NodeIdentity::open(&self.folder, &self.node).ok().flatten().is_none_or(|kept| kept.is_due());
        }
    }

    fn take(&self, identity: &NodeIdentity) -> Result<(), String> {
        self.peers.identify(identity).map_err(|error| error.to_string())
    }

    async fn renew(&self) -> Result<(), String> {
        let (key, request) = node_request(&self.node).map_err(|error| chain(&error))?;
        let url = format!("/apis/wctl.dev/v1/nodes/{}/certificate", self.node);
        let request = Request::post(url).header("content-type", "application/x-pem-file").body(request.into_bytes());
        let signed: Signed = self.client.request(request.map_err(|error| error.to_string())?).await.map_err(|error| chain(&error))?;
        let identity = NodeIdentity::keep(&self.folder, &signed.ca, &signed.certificate, &key).map_err(|error| chain(&error))?;
        self.take(&identity)
    }
}
