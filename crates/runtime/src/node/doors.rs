//! Ports of their own for Apps, since names under `localhost` do not resolve for every tool.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use scheduler::routes::Key;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::gateway::Door;
use crate::gateway::listen::Front;

/// The open ports. Cheap to clone.
#[derive(Clone)]
pub struct Doors(Arc<Inner>);

struct Inner {
    front: Arc<Front>,
    open: Mutex<HashMap<Door, SocketAddr>>,
    stop: parking_lot::Mutex<CancellationToken>,
}

impl Doors {
    /// None is open.
    pub fn new(front: Arc<Front>) -> Doors {
        Doors(Arc::new(Inner { front, open: Mutex::default(), stop: parking_lot::Mutex::default() }))
    }

    /// All doors close with `stop`.
    pub fn open(&self, stop: CancellationToken) {
        *self.0.stop.lock() = stop;
    }

    /// The port of an App on the loopback interface, opened if it is not yet.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn expose(&self, namespace: &str, app: &str) -> io::Result<SocketAddr> {
        let door = Door::App(Key::new(namespace, app));
        let mut open = self.0.open.lock().await;
        if let Some(address) = open.get(&door) {
            return Ok(*address);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let stop = self.0.stop.lock().clone();
        tokio::spawn(self.0.front.clone().serve(listener, door.clone(), stop));
        open.insert(door, address);
        Ok(address)
    }
}
