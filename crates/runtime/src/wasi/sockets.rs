//! `wasi:sockets`: wasmtime's, with names, addresses, ports and the number of connections held to what the spec grants.

mod p2;
mod p3;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Linker;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::sockets::SocketAddrUse;

use super::outgoing::{AT_A_TIME, Allowance, Client, Prohibited};
use crate::engine::Abi;
use crate::sandbox::state::State;
use crate::sandbox::target::Scheme;
use crate::sandbox::{Entry, Host, Level, Output, Spec, Target};

/// Names that one pod may have looked up at a time; further ones wait, so that one pod cannot take all threads of the resolver.
const LOOKUPS: usize = 8;

/// Answers for one name that a sandbox may still connect to.
const ANSWERS: usize = 64;

/// How often a pod's log is told of what was refused.
const TELL: Duration = Duration::from_secs(10);

/// What one pod may reach and offer over bare connections.
pub(crate) struct Reach {
    connect: Vec<Target>,
    listen: Vec<u16>,
    /// Everything at all.
    all: bool,
    client: Arc<Client>,
    /// Shared with outgoing HTTP.
    made: Arc<Semaphore>,
    taken: Arc<Semaphore>,
    most_taken: u32,
    lookups: Arc<Semaphore>,
    output: Arc<dyn Output>,
    told: Mutex<Option<Instant>>,
}

impl Reach {
    /// None where the spec grants nothing of the kind.
    pub fn new(spec: &Spec, host: &Host, allowance: &Allowance) -> Option<Arc<Reach>> {
        let connect: Vec<Target> = spec.connect.iter().filter(|target| target.scheme == Scheme::Tcp).cloned().collect();
        if connect.is_empty() && spec.listen.is_empty() && !spec.network {
            return None;
        }
        Some(Arc::new(Reach {
            connect,
            listen: spec.listen.clone(),
            all: spec.network,
            client: host.outbound.clone(),
            made: allowance.under_way().clone(),
            taken: Arc::new(Semaphore::new(spec.concurrency as usize)),
            most_taken: spec.concurrency,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            output: host.output.clone(),
            told: Mutex::default(),
        }))
    }

    /// A guest often shows only "access denied"; its pod's log has the reason.
    fn tell(&self, message: &str) {
        let mut told = self.told.lock();
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            *told = Some(Instant::now());
            self.output.log(&Entry { level: Level::Warn, context: "wctl", message });
        }
    }

    fn names(&self, host: &str) -> bool {
        self.connect.iter().any(|target| target.host == host)
    }
}

/// Why a name has no addresses.
enum Unfound {
    /// It is not granted, or leads only where a name must not lead.
    Denied,
    /// Nobody knows it.
    Unknown,
}

/// The connections and answers of one sandbox.
pub(crate) struct Sockets {
    reach: Arc<Reach>,
    /// Addresses that were given for granted names, the newest last: names are resolved once, and these are what is connected to.
    answers: Mutex<HashMap<String, VecDeque<IpAddr>>>,
    open: Mutex<Open>,
}

/// Permits of sockets that are open, by their place in the table; those of connections that were taken have none until it is known.
#[derive(Default)]
struct Open {
    known: HashMap<u32, Permit>,
    taken: Vec<Permit>,
}

/// One connection, or a socket that may become one; given back when nothing of it is left.
type Permit = Arc<OwnedSemaphorePermit>;

impl Sockets {
    pub fn new(reach: Arc<Reach>) -> Arc<Sockets> {
        Arc::new(Sockets { reach, answers: Mutex::default(), open: Mutex::default() })
    }

    /// Puts the checks of addresses into what a guest gets.
    pub fn check(self: &Arc<Self>, wasi: &mut WasiCtxBuilder) {
        if self.reach.all {
            wasi.inherit_network().allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true);
            return;
        }
        let sockets = self.clone();
        wasi.allow_tcp(true).socket_addr_check(move |address, usage| {
            let allowed = sockets.allows(address, usage);
            Box::pin(std::future::ready(allowed))
        });
    }

    fn allows(&self, address: SocketAddr, usage: SocketAddrUse) -> bool {
        let listens = self.reach.listen.contains(&address.port());
        match usage {
            // What connects is bound to any address first.
            SocketAddrUse::TcpBind => listens || (address.port() == 0 && address.ip().is_unspecified()) || self.may_not_listen(address),
            SocketAddrUse::TcpListen => listens || self.may_not_listen(address),
            SocketAddrUse::TcpAccept => self.take(),
            SocketAddrUse::TcpConnect => self.connects(address),
            SocketAddrUse::UdpBind | SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => false,
        }
    }

    fn may_not_listen(&self, address: SocketAddr) -> bool {
        self.reach.tell(&format!("listening on {address} was refused; grant {}/tcp in uses.listen", address.port()));
        false
    }

    fn connects(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let answers = self.answers.lock();
        let granted = |target: &Target| match target.host.parse::<IpAddr>() {
            Ok(literal) => literal.to_canonical() == ip,
            Err(_) => answers.get(&target.host).is_some_and(|known| known.contains(&ip)),
        };
        let allowed = self.reach.connect.iter().any(|target| target.port == address.port() && granted(target));
        if allowed {
            self.reach.client.attempt();
        } else {
            self.reach.tell(&format!("connecting to {address} was refused; grant tcp://HOST:{} in uses.connect", address.port()));
        }
        allowed
    }

    /// Room for one more connection from outside.
    fn take(&self) -> bool {
        match self.reach.taken.clone().try_acquire_owned() {
            Ok(permit) => self.open.lock().taken.push(Arc::new(permit)),
            Err(_) => {
                let most = self.reach.most_taken;
                self.reach.tell(&format!(
                    "all {most} connections that the pod takes at a time are open, so one was turned away; raise limits.concurrency"
                ));
                return false;
            }
        }
        true
    }

    /// Room for one more socket of the guest's own, or why there is none.
    fn make(&self) -> Result<Permit, String> {
        self.reach.made.clone().try_acquire_owned().map(Arc::new).map_err(|_| {
            let message = format!("all {AT_A_TIME} connections and requests that the pod may have under way at a time are");
            self.reach.tell(&message);
            message
        })
    }

    fn made(&self, socket: u32, permit: Permit) {
        self.open.lock().known.insert(socket, permit);
    }

    /// The permit of an open socket.
    fn permit(&self, socket: u32) -> Option<Permit> {
        let open = &mut *self.open.lock();
        if let Some(known) = open.known.get(&socket) {
            return Some(known.clone());
        }
        let permit = open.taken.pop()?;
        open.known.insert(socket, permit.clone());
        Some(permit)
    }

    /// The guest has let go of a socket; of those that were taken only the ones that came to be were counted.
    fn dropped(&self, socket: u32, is_open: bool) {
        let open = &mut *self.open.lock();
        if open.known.remove(&socket).is_none() && is_open {
            open.taken.pop();
        }
    }

    /// The addresses of a granted name, by the same rules as in outgoing HTTP.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Unfound> {
        let name = name.to_ascii_lowercase();
        if let Ok(literal) = name.parse::<IpAddr>() {
            let literal = literal.to_canonical();
            return if self.reach.all || self.reach.names(&literal.to_string()) { Ok(vec![literal]) } else { Err(Unfound::Denied) };
        }
        if !self.reach.all && !self.reach.names(&name) {
            self.reach.tell(&format!("looking up {name} was refused; grant tcp://{name}:PORT in uses.connect"));
            return Err(Unfound::Denied);
        }
        let _turn = self.reach.lookups.acquire().await;
        if self.reach.all {
            return lookup_host((name, 0)).await.map(|found| found.map(|address| address.ip()).collect()).map_err(|_| Unfound::Unknown);
        }
        let found = self.reach.client.addresses(&name).await.map_err(|error| self.unfound(&error))?;
        let mut answers = self.answers.lock();
        let known = answers.entry(name).or_default();
        for address in &found {
            known.retain(|before| before != address);
            known.push_back(*address);
        }
        known.drain(..known.len().saturating_sub(ANSWERS));
        Ok(found)
    }

    fn unfound(&self, error: &io::Error) -> Unfound {
        if !error.get_ref().is_some_and(|inner| inner.is::<Prohibited>()) {
            return Unfound::Unknown;
        }
        self.reach.tell(&error.to_string());
        Unfound::Denied
    }
}

/// Puts what is counted and looked up in the place of wasmtime's own, which must be there already.
pub(crate) fn link(linker: &mut Linker<State>, abi: Abi) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    p2::link(linker)?;
    if abi == Abi::P3 {
        p3::link(linker)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}
