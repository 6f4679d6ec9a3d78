//! Where Services of the type LoadBalancer and Ingresses are reached: at every node that is there.

use super::Action;
use super::draft::Draft;
use crate::kinds;
use crate::model::{Ingress, Name, NodeReady, ObjectId, Unit};
use std::collections::BTreeSet;

/// Addresses that one status names, of however many nodes.
const MOST: usize = 64;

pub(super) fn plan(draft: &mut Draft) {
    let snapshot = draft.snapshot;
    let there = snapshot.nodes.values().filter(|node| node.ready == NodeReady::Yes && !node.address.is_empty());
    let addresses: BTreeSet<&Name> = there.map(|node| &node.address).collect();
    let addresses: Vec<Name> = addresses.into_iter().take(MOST).cloned().collect();
    let wanted = |balanced: bool| if balanced { addresses.clone() } else { Vec::new() };
    let services = snapshot.balanced().filter(|service| service.shown != wanted(service.balanced));
    let services = services.map(|service| (ObjectId::new(&kinds::SERVICE, service.meta.key.clone()), wanted(service.balanced)));
    let ingresses = snapshot.ingresses.values().filter(|ingress| is_told(ingress) && ingress.shown != addresses);
    let ingresses = ingresses.map(|ingress| (ObjectId::new(&kinds::INGRESS, ingress.meta.key.clone()), addresses.clone()));
    let changes: Vec<(ObjectId, Vec<Name>)> = services.chain(ingresses).collect();
    for (object, addresses) in changes {
        draft.act(&Unit::Balancers, Action::WriteBalancer { object, addresses });
    }
}

/// Those of Apps are not: there may be thousands, which would all be written whenever a node comes or goes, and the App tells its URLs.
fn is_told(ingress: &Ingress) -> bool {
    !ingress.meta.deleting && ingress.meta.owner.as_ref().is_none_or(|owner| &*owner.kind != kinds::APP.kind)
}
