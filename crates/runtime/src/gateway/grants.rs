//! Whether a pod of another node may call a service here: asked of the API once for each pod, since no pod's grants ever change.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use scheduler::names;
use scheduler::routes::Key;

use super::table::Service;
use super::wire::Caller;
use super::{Failed, Refusal};
use crate::sandbox::granted;

/// Pods whose grants are remembered; beyond that all are asked for again.
const MOST: usize = 16_384;
/// How long the API may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a pod may call.
#[derive(Debug, PartialEq, Eq)]
struct Granted {
    node: String,
    calls: Vec<Key>,
}

/// What the pods of other nodes may call.
#[derive(Default)]
pub struct Grants {
    client: OnceLock<Client>,
    known: Mutex<HashMap<Caller, Arc<Granted>>>,
}

impl Grants {
    /// Grants are asked for there from now on.
    pub fn ask(&self, client: Client) {
        // Only the first counts; there is one API.
        let _ = self.client.set(client);
    }

    /// An error unless the pod runs on the node that speaks for it, was granted to call the Service and is let in there. Where the API
    /// does not answer, the word of that node counts, which has looked at the grant too.
    pub async fn check(&self, node: &str, caller: &Caller, service: &Service) -> Result<(), Failed> {
        let Some(granted) = self.granted(caller).await? else { return Ok(()) };
        if granted.node == node && granted.calls.contains(&service.key) && service.lets_in(caller.pod.namespace()) {
            return Ok(());
        }
        Err(refused(format!("pod {} of node {node} has no grant to call {}", caller.pod, service.key)))
    }

    /// None where the API does not answer.
    async fn granted(&self, caller: &Caller) -> Result<Option<Arc<Granted>>, Failed> {
        if let Some(known) = self.known.lock().get(caller) {
            return Ok(Some(known.clone()));
        }
        let Some(client) = self.client.get() else { return Ok(None) };
        let pods = Api::<Pod>::namespaced(client.clone(), caller.pod.namespace());
        let pod = match tokio::time::timeout(PATIENCE, pods.get_opt(caller.pod.name())).await {
            Ok(Ok(Some(pod))) if pod.uid().as_deref() == Some(&*caller.uid) => pod,
            Ok(Ok(_)) => return Err(refused(format!("there is no pod {} with the UID {}", caller.pod, caller.uid))),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => return Err(refused(status.message)),
            Ok(Err(_)) | Err(_) => return Ok(None),
        };
        let granted = Arc::new(Granted::of(&pod));
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(caller.clone(), granted.clone());
        Ok(Some(granted))
    }
}

impl Granted {
    fn of(pod: &Pod) -> Granted {
        let calls = pod.annotations().get(names::CALL).map_or("", String::as_str);
        let (namespace, app) = (pod.namespace().unwrap_or_default(), pod.labels().get(names::APP).map(String::as_str));
        let entries = calls.split(',').map(str::trim).filter(|name| !name.is_empty());
        Granted {
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            calls: entries.map(|entry| granted(entry, &namespace, app.filter(|app| !app.is_empty()))).collect(),
        }
    }
}

fn refused(why: String) -> Failed {
    Failed { detail: Some(why), ..Refusal::Forbidden("the app may not call this service".into()).into() }
}
