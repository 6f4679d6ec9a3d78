//! The ports of nodes on which Services answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Book, Key};

/// Every node's ports for Services.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Openings {
    /// By number.
    pub open: BTreeMap<u16, Opening>,
    /// Ports that Services ask for and an older one has.
    pub lost: Vec<Lost>,
}

/// A port, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The Service.
    pub service: Key,
    /// Its UID.
    pub uid: Arc<str>,
    /// What comes in.
    pub lead: Lead,
}

/// What comes in at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// Requests, for the Service's pods to answer.
    Requests,
    /// Connections, for pods that listen themselves: name of the node and address of each.
    Bytes(Box<[(Arc<str>, SocketAddr)]>),
}

/// A port that a Service does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The port.
    pub port: u16,
    /// Who asks for it.
    pub service: Key,
    /// Its UID.
    pub uid: Arc<str>,
    /// Who has it.
    pub holder: Key,
}

impl Book {
    /// The ports that every node opens. Those that the API gave come before those that Services name themselves, older Services before
    /// younger ones, so that every node has the same.
    pub fn openings(&self) -> Openings {
        let mut asked: Vec<_> = self.on_nodes().flat_map(|(key, place)| place.ports.iter().map(move |port| (port, key, place))).collect();
        asked.sort_by_key(|(port, key, place)| (!port.given, place.born, *key));
        let mut openings = Openings::default();
        for (port, key, place) in asked {
            let bare = self.bare(key, &port.name);
            // Where its pods listen on that very port, their own nodes answer there, and no other node may stand in a pod's way.
            if bare == Some(port.number) {
                continue;
            }
            let lead = bare.map_or(Lead::Requests, |number| Lead::Bytes(self.addresses(key, number)));
            let (service, uid) = (key.clone(), place.uid.clone());
            match openings.open.get(&port.number) {
                Some(holder) => openings.lost.push(Lost { port: port.number, service, uid, holder: holder.service.clone() }),
                None => drop(openings.open.insert(port.number, Opening { service, uid, lead })),
            }
        }
        openings
    }

    /// The port on which a Service's pods listen themselves, where they do.
    fn bare(&self, service: &Key, name: &str) -> Option<u16> {
        self.slices_of(service).flat_map(|slice| slice.bare.iter()).find(|(bare, _)| **bare == *name).map(|(_, number)| *number)
    }

    fn addresses(&self, service: &Key, port: u16) -> Box<[(Arc<str>, SocketAddr)]> {
        let endpoints = self.slices_of(service).flat_map(|slice| slice.endpoints.iter());
        let address = |address: &str| address.parse::<SocketAddr>().ok().map(|known| SocketAddr::new(known.ip(), port));
        endpoints.filter_map(|endpoint| Some((endpoint.node.clone(), address(&endpoint.address)?))).collect()
    }
}
