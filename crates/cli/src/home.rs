//! The data folder of this machine: where it is, who holds it, what runs on it.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::args::Globals;

/// Where a server listens and clients look, unless they are told otherwise.
pub const API: &str = "127.0.0.1:6443";
/// Where a gateway listens, unless it is told otherwise.
pub const HTTP: &str = "127.0.0.1:8080";

/// Where in the folder the server keeps what was deployed.
pub const STATE: &str = "store/state.redb";

/// A data folder; it need not exist.
#[derive(Debug, Clone)]
pub struct Home {
    /// Its path, absolute.
    pub path: PathBuf,
}

/// What `DIR/run.json` says about the process that runs on the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// `https://HOST:PORT` of the API, if this process serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// `http://HOST:PORT` of the gateway, if this process has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The process.
    pub pid: u32,
}

impl Home {
    /// `--data`, else `~/.wctl`.
    pub fn of(globals: &Globals) -> Result<Home> {
        let path = match &globals.data {
            Some(path) => path.clone(),
            None => std::env::home_dir().context("this user has no home folder; name a data folder with --data")?.join(".wctl"),
        };
        let path = std::path::absolute(&path).with_context(|| format!("finding the data folder {}", path.display()))?;
        Ok(Home { path })
    }

    /// The client configuration that the server writes.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// Credentials of registries, as `wctl login` keeps them.
    pub fn credentials(&self) -> PathBuf {
        self.path.join("credentials.json")
    }

    /// What `up -d` printed.
    pub fn log(&self) -> PathBuf {
        self.path.join("up.log")
    }

    /// Where the node keeps its things.
    pub fn node(&self) -> PathBuf {
        self.path.join("node")
    }

    /// The node's folder, with a lock and a `run.json` of its own where the node runs alone.
    pub fn of_node(&self) -> Home {
        Home { path: self.node() }
    }

    /// A folder for the file that asks a background process to stop, where there are no signals.
    #[cfg(not(unix))]
    pub fn stop(&self) -> PathBuf {
        self.path.join("stop")
    }

    /// Makes the folder, readable by its owner alone.
    pub fn create(&self) -> Result<()> {
        let make = || -> std::io::Result<()> {
            fs::create_dir_all(&self.path)?;
            restrict(&self.path)
        };
        make().with_context(|| format!("making the data folder {}; name another with --data", self.path.display()))
    }

    /// Whether it has the artifacts of a cluster, but not what was deployed of them.
    pub fn lost_state(&self) -> bool {
        let artifacts = || fs::read_dir(self.path.join("registry/blobs/sha256")).is_ok_and(|mut found| found.next().is_some());
        matches!(self.path.join(STATE).try_exists(), Ok(false)) && artifacts()
    }

    /// What runs on the folder; `None` if nothing does.
    pub fn running(&self) -> Result<Option<Running>> {
        self.read("run.json")
    }

    /// `http://HOST:PORT` of the gateway on this machine, if it belongs to the server at `endpoint`; what a process left behind does not count.
    pub fn gateway(&self, endpoint: &str) -> Option<String> {
        let live = |home: &Home| if home.is_held().ok()? { home.running().ok()? } else { None };
        let server = live(self).filter(|running| running.api.as_deref() == Some(endpoint))?;
        server.http.or_else(|| live(&self.of_node())?.http)
    }

    /// Takes the lock of the node's folder, which belongs to one process; what an earlier one announced there is gone with it.
    pub fn hold_node(&self) -> Result<fs::File> {
        let node = self.of_node();
        node.create()?;
        let path = node.path.join("lock");
        let file = fs::File::create(&path).with_context(|| format!("making {}", path.display()))?;
        if file.try_lock().is_err() {
            refuse(&node)?;
        }
        node.forget();
        Ok(file)
    }

    /// Removes what an earlier process announced. Only for whoever holds the lock.
    pub fn forget(&self) {
        // There is seldom anything to remove.
        let _ = fs::remove_file(self.path.join("run.json"));
    }

    /// Tells other commands what runs here.
    pub fn announce(&self, running: &Running) -> Result<()> {
        self.write("run.json", &serde_json::to_vec_pretty(running)?)
    }

    /// Takes back what [`Home::announce`] told, if it was this process that did.
    pub fn retract(&self) {
        if matches!(self.running(), Ok(Some(running)) if running.pid == std::process::id()) {
            // It may be gone already; then there is nothing to take back.
            let _ = fs::remove_file(self.path.join("run.json"));
        }
    }

    /// Whether a process holds the folder's lock.
    pub fn is_held(&self) -> Result<bool> {
        let lock = self.path.join("lock");
        let file = match fs::File::open(&lock) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("opening {}; choose a folder that can be written with --data", lock.display()));
            }
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("looking at the lock {}", lock.display())),
        }
    }

    /// Writes a file whole or not at all, readable by its owner alone.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let (path, temporary) = (self.path.join(name), self.path.join(format!(".{name}.{}", std::process::id())));
        let write = || -> std::io::Result<()> {
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&temporary)?.write_all(content)?;
            fs::rename(&temporary, &path)
        };
        write().inspect_err(|_| drop(fs::remove_file(&temporary))).with_context(|| format!("writing {}", path.display()))
    }

    /// A file of JSON in it, if it is there.
    pub fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }
}

/// A listener on `address` (HOST:PORT); `what` and `option` say in an error what it is for and how to choose another.
pub fn listen(address: &str, what: &str, option: &str) -> Result<TcpListener> {
    let resolved: Vec<_> = address
        .to_socket_addrs()
        .with_context(|| format!("resolving {address}, where the {what} is to listen; choose another address with {option}"))?
        .collect();
    // As the server's own listeners: the standard library lets only 128 connections wait.
    let bound = TcpListener::bind(&resolved[..]).and_then(|listener| socket2::SockRef::from(&listener).listen(4096).map(|()| listener));
    bound.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{address}, where the {what} is to listen, is in use by another program; stop that one, or choose another address with {option} (port 0 takes any free one)"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("this user may not listen on {address}, where the {what} is to listen; choose a port above 1023 with {option}")
        }
        _ => anyhow::Error::new(error).context(format!("listening on {address} for the {what}; choose another address with {option}")),
    })
}

/// The address by which others on this machine reach a listener: `0.0.0.0` and `[::]` are reached by loopback.
pub fn reachable(listener: &TcpListener) -> Result<std::net::SocketAddr> {
    let mut address = listener.local_addr().context("asking for the address of a listener")?;
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr =
            if address.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    Ok(address)
}

/// An error if the folder is held by another process, saying which and what to do.
pub fn refuse_if_held(home: &Home) -> Result<()> {
    if home.is_held()? { refuse(home) } else { Ok(()) }
}

fn refuse(home: &Home) -> Result<()> {
    let by = home.running()?.map(|running| format!(" (process {})", running.pid)).unwrap_or_default();
    bail!(
        "the data folder {} is in use by another wctl{by}; stop that one with `wctl down`, or name another folder with --data",
        home.path.display()
    )
}

/// A folder's owner alone may look into it.
#[cfg(unix)]
fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// On Windows the profile folder is private to its user already.
#[cfg(not(unix))]
fn restrict(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_announced_is_read_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { path: folder.path().to_owned() };
        assert_eq!(home.running().unwrap(), None);
        let running = Running { api: Some("https://127.0.0.1:1".into()), http: None, pid: std::process::id() };
        home.announce(&running).unwrap();
        assert_eq!(home.running().unwrap(), Some(running.clone()));
        home.retract();
        assert_eq!(home.running().unwrap(), None);
        home.announce(&Running { pid: 1, ..running }).unwrap();
        home.retract();
        assert!(home.running().unwrap().is_some(), "another process's word stays");
    }

    #[test]
    fn a_gateway_is_told_only_while_it_runs_for_that_server() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { path: folder.path().to_owned() };
        let api = "https://127.0.0.1:1";
        home.announce(&Running { api: Some(api.into()), http: Some("http://127.0.0.1:2".into()), pid: 1 }).unwrap();
        assert_eq!(home.gateway(api), None, "that process is gone");
        let file = fs::File::create(home.path.join("lock")).unwrap();
        file.lock().unwrap();
        assert_eq!(home.gateway(api).as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(home.gateway("https://127.0.0.1:9"), None, "that is another server");
        home.announce(&Running { api: Some(api.into()), http: None, pid: 1 }).unwrap();
        assert_eq!(home.gateway(api), None);
        let node = home.hold_node().unwrap();
        home.of_node().announce(&Running { api: None, http: Some("http://127.0.0.1:3".into()), pid: 2 }).unwrap();
        assert_eq!(home.gateway(api).as_deref(), Some("http://127.0.0.1:3"), "a node of its own on the same folder");
        let text = format!("{:#}", home.hold_node().unwrap_err());
        assert!(text.contains("process 2") && text.contains("wctl down"), "{text}");
        drop(node);
        drop(home.hold_node().unwrap());
        assert_eq!(home.of_node().running().unwrap(), None, "what was left behind is forgotten");
    }

    #[test]
    fn a_port_in_use_is_one_sentence_with_a_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = listen(&taken.local_addr().unwrap().to_string(), "gateway", "--http").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("in use by another program") && text.contains("--http"), "{text}");
    }

    #[test]
    fn a_held_folder_is_named_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { path: folder.path().to_owned() };
        assert!(!home.is_held().unwrap());
        let file = fs::File::create(home.path.join("lock")).unwrap();
        assert!(refuse_if_held(&home).is_ok());
        file.lock().unwrap();
        let text = format!("{:#}", refuse_if_held(&home).unwrap_err());
        assert!(text.contains("wctl down") && text.contains("--data"), "{text}");
    }
}
