//! Which pods of a Service may get requests: ready, and not on their way out.

use super::Action;
use super::canary;
use super::draft::Draft;
use crate::model::{Endpoint, Key, Pod, Port, Service};

pub(super) fn plan(draft: &mut Draft, key: &Key) {
    let Some(service) = draft.snapshot.services.get(key) else { return };
    // A Service without a selector is somebody else's to fill.
    if service.selector.is_empty() || service.meta.deleting {
        return;
    }
    let (endpoints, ports) = (endpoints(draft, service), ports(draft, service));
    let written = draft.snapshot.slices.get(key);
    let canary = canary::shared(draft.snapshot, service);
    if written.is_none_or(|slice| slice.endpoints != endpoints || slice.canary != canary || slice.ports != ports) {
        let unit = draft.unit_of_service(key);
        draft.act(&unit, Action::WriteEndpoints { service: key.clone(), ports, endpoints, canary });
    }
}

/// The Service's ports; those on which its pods listen themselves are told apart.
fn ports(draft: &Draft, service: &Service) -> Vec<Port> {
    let listens = |number: u16| draft.snapshot.pods_of_service(service).any(|pod| pod.need.ports.contains(&number));
    service.ports.iter().map(|port| Port { bare: listens(port.number), ..port.clone() }).collect()
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
