//! Ports of the node that guests listen on: each belongs to one pod at a time.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::sandbox::PodIdentity;

/// The ports that pods of this node have. One for a node.
#[derive(Default)]
pub struct Ports(Mutex<HashMap<u16, Holder>>);

/// The pod that has a port, and for how many of its instances: one may still be going when the next one comes.
struct Holder {
    pod: PodIdentity,
    instances: usize,
}

/// Why a pod cannot have a port.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another pod has it.
    #[error("port {port}/tcp of this node belongs to pod {holder}; two pods cannot listen on one port of a node")]
    Taken {
        /// The port.
        port: u16,
        /// The other pod, with its namespace.
        holder: String,
    },
    /// Another program has it, or the system keeps it.
    #[error("port {port}/tcp of this node cannot be listened on: {source}")]
    Unusable {
        /// The port.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A port that a pod has for as long as this lives.
pub(crate) struct Held {
    ports: Arc<Ports>,
    port: u16,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.ports.0.lock();
        if let Some(holder) = held.get_mut(&self.port) {
            holder.instances -= 1;
            if holder.instances == 0 {
                held.remove(&self.port);
            }
        }
    }
}

impl Ports {
    /// Whether a pod has a port.
    pub(crate) fn is_of(&self, port: u16, uid: &str) -> bool {
        self.0.lock().get(&port).is_some_and(|holder| holder.pod.uid == uid)
    }

    /// Gives a port to a pod, if nobody else has it.
    ///
    /// # Errors
    /// When another pod or another program has it.
    pub(crate) fn hold(self: &Arc<Self>, port: u16, pod: &PodIdentity) -> Result<Held, Error> {
        let mut held = self.0.lock();
        match held.get_mut(&port) {
            Some(holder) if holder.pod.uid != pod.uid => {
                return Err(Error::Taken { port, holder: format!("{}/{}", holder.pod.namespace, holder.pod.name) });
            }
            Some(holder) => holder.instances += 1,
            None => {
                // Said now, in words: the guest itself would only see that the address is in use.
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|source| Error::Unusable { port, source })?;
                held.insert(port, Holder { pod: pod.clone(), instances: 1 });
            }
        }
        Ok(Held { ports: self.clone(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodIdentity {
        PodIdentity { namespace: "default".into(), name: name.into(), uid: name.into(), ..PodIdentity::default() }
    }

    fn free() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_port_belongs_to_one_pod_until_its_last_instance_is_gone() {
        let (ports, port) = (Arc::<Ports>::default(), free());
        let first = ports.hold(port, &pod("a")).unwrap();
        let next = ports.hold(port, &pod("a")).unwrap();
        assert!(ports.is_of(port, "a") && !ports.is_of(port, "b"));
        drop(first);
        let refused = ports.hold(port, &pod("b")).err().unwrap().to_string();
        assert_eq!(refused, format!("port {port}/tcp of this node belongs to pod default/a; two pods cannot listen on one port of a node"));
        drop(next);
        assert!(!ports.is_of(port, "a"));
        ports.hold(port, &pod("b")).unwrap();
    }

    #[test]
    fn a_port_of_another_program_is_refused_in_words() {
        let other = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let refused = Arc::<Ports>::default().hold(port, &pod("a")).err().unwrap().to_string();
        assert!(refused.starts_with(&format!("port {port}/tcp of this node cannot be listened on: ")), "{refused}");
    }
}
