//! Ports of their own for Apps, since names under `localhost` do not resolve for every tool. An App keeps its port over restarts.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scheduler::routes::Key;
use serde::{Deserialize, Serialize};
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
    open: Mutex<Open>,
    stop: parking_lot::Mutex<CancellationToken>,
}

struct Open {
    addresses: HashMap<Door, SocketAddr>,
    kept: Kept,
}

/// An App's own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposed {
    /// Where it answers.
    pub address: SocketAddr,
    /// The port that it had until now and that somebody else has.
    pub instead_of: Option<u16>,
}

impl Doors {
    /// None is open. Which App has which port is kept in the file `path`.
    pub fn new(front: Arc<Front>, path: PathBuf) -> Doors {
        let open = Open { addresses: HashMap::new(), kept: Kept::read(path) };
        Doors(Arc::new(Inner { front, open: Mutex::new(open), stop: parking_lot::Mutex::default() }))
    }

    /// All doors close with `stop`.
    pub fn open(&self, stop: CancellationToken) {
        *self.0.stop.lock() = stop;
    }

    /// The port of an App on the loopback interface, opened if it is not yet.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn expose(&self, namespace: &str, app: &str) -> io::Result<Exposed> {
        let key = Key::new(namespace, app);
        let door = Door::App(key.clone());
        let mut open = self.0.open.lock().await;
        if let Some(address) = open.addresses.get(&door) {
            return Ok(Exposed { address: *address, instead_of: None });
        }
        let (listener, instead_of) = open.kept.bind(&format!("{namespace}/{app}")).await?;
        let address = listener.local_addr()?;
        let stop = self.0.stop.lock().clone();
        self.0.front.gateway.expose(key).await;
        tokio::spawn(self.0.front.clone().serve(listener, door.clone(), stop));
        open.addresses.insert(door, address);
        Ok(Exposed { address, instead_of })
    }
}

/// Which App had which port.
struct Kept {
    path: PathBuf,
    /// By namespace and App: `default/shop`. None where the file is not ours to write.
    ports: Option<BTreeMap<String, u16>>,
}

/// The version of the file.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    ports: BTreeMap<String, u16>,
}

impl Kept {
    fn read(path: PathBuf) -> Kept {
        let ports = match std::fs::read(&path).map(|text| serde_json::from_slice::<Stored>(&text)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(BTreeMap::new()),
            Ok(Ok(Stored { format: FORMAT, ports })) => Some(ports),
            // Of a newer version, or broken: ports are a convenience, so it stays as it is and nothing is kept.
            _ => {
                tracing::warn!(path = %path.display(), "cannot be read, so apps get other ports at each start");
                None
            }
        };
        Kept { path, ports }
    }

    /// A listener for the App, and the port that it had and cannot have again.
    async fn bind(&mut self, app: &str) -> io::Result<(TcpListener, Option<u16>)> {
        let had = self.ports.as_ref().and_then(|ports| ports.get(app)).copied();
        if let Some(port) = had
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
        {
            return Ok((listener, None));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        if let Some(ports) = &mut self.ports {
            ports.insert(app.to_owned(), listener.local_addr()?.port());
            if let Err(error) = write(&self.path, ports) {
                tracing::warn!(%error, path = %self.path.display(), "cannot be written, so apps get other ports at the next start");
            }
        }
        Ok((listener, had))
    }
}

fn write(path: &Path, ports: &BTreeMap<String, u16>) -> io::Result<()> {
    let text = serde_json::to_vec(&Stored { format: FORMAT, ports: ports.clone() })?;
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text)?;
    std::fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn port(kept: &mut Kept, app: &str) -> (u16, Option<u16>) {
        let (listener, instead_of) = kept.bind(app).await.unwrap();
        (listener.local_addr().unwrap().port(), instead_of)
    }

    #[tokio::test]
    async fn an_app_has_the_same_port_at_the_next_start_unless_somebody_took_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doors.json");
        let (first, _) = port(&mut Kept::read(path.clone()), "default/a").await;
        assert_eq!(port(&mut Kept::read(path.clone()), "default/a").await, (first, None));
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).await.unwrap();
        let (second, instead_of) = port(&mut Kept::read(path.clone()), "default/a").await;
        assert_eq!((second == first, instead_of), (false, Some(first)));
        drop(other);
        assert_eq!(port(&mut Kept::read(path.clone()), "default/a").await, (second, None));
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doors.json");
        for text in ["{\"format\":2,\"ports\":{\"default/a\":1}}", "not JSON"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(port(&mut Kept::read(path.clone()), "default/a").await.1, None);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
