//! Which Ingress does not get the requests that it asks for, because an older one has its host and path.

use super::Action;
use super::draft::Draft;
use crate::model::{Claimed, Ingress, Key, ObjectId, TAKEN_ROUTES, Unit};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Routes that are named in one sentence.
const NAMED: usize = 3;

pub(super) fn plan(draft: &mut Draft) {
    let mut ingresses: Vec<&Ingress> = draft.snapshot.ingresses.values().map(|ingress| &**ingress).collect();
    // As the gateways decide it: the oldest has a route, names decide between equals.
    ingresses.sort_by_key(|ingress| (ingress.meta.born, &ingress.meta.key));
    let mut owners: BTreeMap<&Claimed, &Key> = BTreeMap::new();
    for ingress in ingresses {
        let key = &ingress.meta.key;
        let mut lost: Vec<(&Claimed, &Key)> = Vec::new();
        for claim in &ingress.claims {
            match owners.entry(claim) {
                Entry::Vacant(free) => drop(free.insert(key)),
                Entry::Occupied(taken) => lost.push((claim, taken.get())),
            }
        }
        if !lost.is_empty() {
            tell(draft, key, sentence(&lost));
        }
    }
}

/// `shop.localhost/users belongs to the older Ingress shop, so its requests do not come here; …`
fn sentence(lost: &[(&Claimed, &Key)]) -> String {
    let named: Vec<String> =
        lost.iter().take(NAMED).map(|(claim, owner)| format!("{claim} belongs to the older Ingress {owner}")).collect();
    let more = if lost.len() > NAMED { format!(", and {} more routes to others", lost.len() - NAMED) } else { String::new() };
    format!("{}{more}, so those requests do not come here; choose another host or path, or take it away there", named.join(", "))
}

/// Once, until the Event is forgotten.
fn tell(draft: &mut Draft, ingress: &Key, message: String) {
    let about = ObjectId { kind: "Ingress", key: ingress.clone() };
    let hash = hex::encode(&Sha256::digest(&message)[..5]);
    let name = format!("{}{TAKEN_ROUTES}{hash}", ingress.name);
    let event = ObjectId { kind: "Event", key: ingress.sibling(&name) };
    draft.wait(about.clone(), message.clone());
    if !draft.snapshot.others.contains_key(&event) {
        let name = Some(event.key.name);
        draft.act(&Unit::Routes, Action::Tell { about, reason: "RouteTaken", message, warning: true, name });
    }
}
