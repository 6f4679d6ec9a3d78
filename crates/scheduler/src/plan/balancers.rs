//! Where Services of the type LoadBalancer are reached: at every node that is there.

use super::Action;
use super::draft::Draft;
use crate::model::{Key, Name, NodeReady, Unit};
use std::collections::BTreeSet;

/// Addresses that one status names, of however many nodes.
const MOST: usize = 64;

pub(super) fn plan(draft: &mut Draft) {
    let snapshot = draft.snapshot;
    let there = snapshot.nodes.values().filter(|node| node.ready == NodeReady::Yes && !node.address.is_empty());
    let addresses: BTreeSet<&Name> = there.map(|node| &node.address).collect();
    let addresses: Vec<Name> = addresses.into_iter().take(MOST).cloned().collect();
    let wanted = |balanced: bool| if balanced { addresses.clone() } else { Vec::new() };
    let wrong = snapshot.balanced().filter(|service| service.shown != wanted(service.balanced));
    let changes: Vec<(Key, Vec<Name>)> = wrong.map(|service| (service.meta.key.clone(), wanted(service.balanced))).collect();
    for (service, addresses) in changes {
        draft.act(&Unit::Balancers, Action::WriteBalancer { service, addresses });
    }
}
