//! The connections to one other node: made when they are wanted, asked for signs of life, made again when they break.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch as latest;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::tls::{self, Tls};
use crate::body::Body;

/// Connections to one node: more than one so that the work of encrypting is not one core's alone, few so that each is warm.
const LANES: usize = 2;
/// How long a connection may take to be made, TLS included.
const CONNECT: Duration = Duration::from_secs(2);
/// How long address and certificate may take to be known.
const TOLD: Duration = Duration::from_secs(1);
/// How often the other end is asked for a sign of life, requests or not.
const PING: Duration = Duration::from_secs(1);
/// How long that may take; then the link is cut.
const PONG: Duration = Duration::from_secs(2);
/// From one try of a node that cannot be reached to the next: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Bytes of a body that may be under way to a reader who does not read. The connection's window is as large as it can be, so that such
/// readers do not hold up the others on it.
pub const STREAM_WINDOW: u32 = 512 << 10;
/// See [`STREAM_WINDOW`].
pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Bytes of a request's head; a gateway takes no longer ones from clients.
pub const HEAD: u32 = 128 << 10;

/// Why a request could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node {node} cannot be reached: {why}")]
pub struct Unreachable {
    /// Its name.
    pub node: String,
    /// What went wrong.
    pub why: String,
}

/// The way to one node.
pub struct Link {
    /// Its name.
    pub node: Arc<str>,
    address: latest::Sender<Option<SocketAddr>>,
    lanes: [Lane; LANES],
    next: AtomicUsize,
    tls: latest::Receiver<Option<Arc<Tls>>>,
    /// Why it cannot be reached; none while it can, or nobody has tried.
    trouble: ArcSwapOption<String>,
    /// Whether a task is trying to reach it.
    trying: AtomicBool,
    /// Pods behind it that somebody may ask.
    wanted: AtomicUsize,
    /// Whether the API has such a node.
    listed: AtomicBool,
}

#[derive(Default)]
struct Lane {
    sender: ArcSwapOption<SendRequest<Body>>,
    turn: tokio::sync::Mutex<()>,
}

impl Link {
    /// To a node whose address is not known yet.
    pub fn new(node: Arc<str>, tls: latest::Receiver<Option<Arc<Tls>>>) -> Arc<Link> {
        Arc::new(Link {
            node,
            address: latest::Sender::new(None),
            lanes: Default::default(),
            next: AtomicUsize::new(0),
            tls,
            trouble: ArcSwapOption::empty(),
            trying: AtomicBool::new(false),
            wanted: AtomicUsize::new(0),
            listed: AtomicBool::new(false),
        })
    }

    /// The node is one of the cluster, and answers there from now on, or (`None`) nowhere.
    pub fn is_at(self: &Arc<Self>, address: Option<SocketAddr>) {
        self.listed.store(true, Ordering::Release);
        self.moves(address);
        if self.wanted.load(Ordering::Acquire) > 0 {
            self.try_reaching();
        }
    }

    /// The cluster has no such node, or not any more.
    pub fn is_gone(&self) {
        self.listed.store(false, Ordering::Release);
        self.moves(None);
    }

    /// Whether the cluster has such a node.
    pub fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    fn moves(&self, address: Option<SocketAddr>) {
        if self.address.send_replace(address) != address {
            // What is open serves what it has begun.
            self.lanes.iter().for_each(|lane| lane.sender.store(None));
            self.trouble.store(None);
        }
    }

    /// Whether requests should not be sent to it now.
    pub fn is_away(&self) -> bool {
        self.trouble.load().is_some()
    }

    /// Why it cannot be reached, where somebody wants that.
    pub fn trouble(&self) -> Option<String> {
        let wanted = self.wanted.load(Ordering::Acquire) > 0;
        self.trouble.load().as_ref().filter(|_| wanted).map(|why| why.to_string())
    }

    /// Somebody may ask a pod there: a connection is made ahead of the first request, and whether it can be made becomes known.
    pub fn want(self: &Arc<Self>) {
        self.wanted.fetch_add(1, Ordering::AcqRel);
        self.try_reaching();
    }

    /// One who wanted it does not any more.
    pub fn release(&self) {
        self.wanted.fetch_sub(1, Ordering::AcqRel);
    }

    fn try_reaching(self: &Arc<Self>) {
        // Outside a runtime there is nobody to ask either: tests of tables.
        if tokio::runtime::Handle::try_current().is_err() || self.trying.swap(true, Ordering::AcqRel) {
            return;
        }
        let link = Arc::downgrade(self);
        let mut moved = self.address.subscribe();
        tokio::spawn(async move {
            let mut wait = AGAIN.0;
            while let Some(link) = link.upgrade() {
                let is_wanted = || link.wanted.load(Ordering::Acquire) > 0;
                if !is_wanted() || link.warm().await.is_ok() {
                    link.trying.store(false, Ordering::Release);
                    // It may have broken again before that was said.
                    if !is_wanted() || !link.is_away() || link.trying.swap(true, Ordering::AcqRel) {
                        return;
                    }
                }
                drop(link);
                let nominal = wait.mul_f64(0.5 + 0.5 * rand::random::<f64>());
                wait = (wait * 2).min(AGAIN.1);
                tokio::select! {
                    () = sleep(nominal) => {}
                    Ok(()) = moved.changed() => wait = AGAIN.0,
                }
            }
        });
    }

    /// Where requests are sent; made if it is not there.
    ///
    /// # Errors
    /// When the node cannot be reached.
    pub async fn sender(self: &Arc<Self>) -> Result<SendRequest<Body>, Unreachable> {
        let lane = &self.lanes[self.next.fetch_add(1, Ordering::Relaxed) % LANES];
        match lane.open() {
            Some(sender) => Ok(sender),
            None => self.made(lane).await,
        }
    }

    /// Makes what is not there.
    async fn warm(self: &Arc<Self>) -> Result<(), Unreachable> {
        for lane in &self.lanes {
            if lane.open().is_none() {
                self.made(lane).await?;
            }
        }
        self.trouble.store(None);
        Ok(())
    }

    async fn made(self: &Arc<Self>, lane: &Lane) -> Result<SendRequest<Body>, Unreachable> {
        let _turn = lane.turn.lock().await;
        if let Some(sender) = lane.open() {
            return Ok(sender);
        }
        let made = match timeout(CONNECT, self.connect()).await {
            Ok(made) => made,
            Err(_) => Err(format!("no answer within {CONNECT:?}")),
        };
        match made {
            Ok(sender) => {
                self.trouble.store(None);
                lane.sender.store(Some(Arc::new(sender.clone())));
                Ok(sender)
            }
            Err(why) => {
                self.fails(&why);
                Err(Unreachable { node: self.node.to_string(), why })
            }
        }
    }

    fn fails(self: &Arc<Self>, why: &str) {
        if !self.is_away() {
            tracing::warn!(node = %self.node, why, "another node cannot be reached");
        }
        self.trouble.store(Some(Arc::new(why.to_owned())));
        if self.wanted.load(Ordering::Acquire) > 0 {
            self.try_reaching();
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<SendRequest<Body>, String> {
        let (mut address, mut tls) = (self.address.subscribe(), self.tls.clone());
        // Both may come in a moment when this node or the other has just started.
        let known = timeout(TOLD, async {
            // Whoever tells them is gone only with the node.
            let _ = address.wait_for(Option::is_some).await.map(drop);
            let _ = tls.wait_for(Option::is_some).await.map(drop);
        });
        let _ = known.await;
        let address = (*self.address.borrow()).ok_or("it has told no address for calls from other nodes")?;
        let tls = self.tls.borrow().clone().ok_or("this node has no certificate of the cluster yet")?;
        let told = |error: std::io::Error| format!("{address}: {error}");
        let stream = TcpStream::connect(address).await.map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        let name = tls::name(&self.node).ok_or("its name cannot be in a certificate")?;
        let stream = TlsConnector::from(tls.client.clone()).connect(name, stream).await.map_err(told)?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            // Clients that go are many, and their going is no attack of the other node's.
            .max_concurrent_reset_streams(4096)
            .max_pending_accept_reset_streams(usize::MAX)
            .max_local_error_reset_streams(None)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("{address}: {error}"))?;
        let link = Arc::downgrade(self);
        tokio::spawn(async move {
            let ended = connection.await;
            let Some(link) = link.upgrade() else { return };
            // The other end goes in good order, or it is found out at the next request.
            let Err(error) = ended else { return };
            let now = *link.address.borrow();
            if now == Some(address) {
                link.fails(&format!("{address}: {}", crate::instance::chain(&error)));
            }
        });
        Ok(sender)
    }
}

impl Lane {
    fn open(&self) -> Option<SendRequest<Body>> {
        let sender = self.sender.load();
        sender.as_ref().filter(|sender| !sender.is_closed()).map(|sender| (**sender).clone())
    }
}
