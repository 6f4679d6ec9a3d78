//! Which pods of a Service may get requests: ready, and not on their way out.

use super::Action;
use super::draft::Draft;
use crate::model::{Endpoint, Key, Pod, Service};

pub(super) fn plan(draft: &mut Draft, key: &Key) {
    let Some(service) = draft.snapshot.services.get(key) else { return };
    // A Service without a selector is somebody else's to fill.
    if service.selector.is_empty() || service.meta.deleting {
        return;
    }
    let endpoints = endpoints(draft, service);
    let written = draft.snapshot.slices.get(key);
    if written.is_none_or(|slice| slice.endpoints != endpoints || slice.port != service.port) {
        let unit = draft.unit_of_service(key);
        draft.act(&unit, Action::WriteEndpoints { service: key.clone(), port: service.port, endpoints });
    }
}

fn endpoints(draft: &Draft, service: &Service) -> Vec<Endpoint> {
    let serves = |pod: &&Pod| pod.ready.is_some() && !pod.ended && !draft.is_ending(pod);
    let endpoint = |pod: &Pod| {
        let node = pod.node.clone().filter(|node| !draft.snapshot.is_lost(node))?;
        Some(Endpoint { pod: pod.meta.key.name.clone(), uid: pod.meta.uid.clone(), node, address: pod.address.clone() })
    };
    let mut found: Vec<Endpoint> = draft.snapshot.pods_of_service(service).filter(serves).filter_map(endpoint).collect();
    found.sort();
    found
}
