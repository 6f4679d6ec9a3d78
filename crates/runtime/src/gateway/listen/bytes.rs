//! Connections to a port of a Service whose pods listen themselves: passed on as they are, to a pod of this node where there is one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use scheduler::routes::{Lead, Openings};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch as latest};
use tokio_util::sync::CancellationToken;

/// How long a pod may take to accept a connection.
const ACCEPTED: Duration = Duration::from_secs(3);
/// How long to wait where the system has no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(20);

/// Passes connections on.
pub struct Bytes {
    openings: latest::Receiver<Arc<Openings>>,
    node: String,
    /// Connections that may be passed on at a time.
    room: Arc<Semaphore>,
    turn: AtomicUsize,
}

impl Bytes {
    /// On the node of this name, `most` connections at a time.
    pub fn new(openings: latest::Receiver<Arc<Openings>>, node: String, most: usize) -> Arc<Bytes> {
        Arc::new(Bytes { openings, node, room: Arc::new(Semaphore::new(most)), turn: AtomicUsize::new(0) })
    }

    /// Takes connections on `listener` until `stop`; those that are open then end by themselves.
    pub async fn serve(self: Arc<Bytes>, port: u16, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // Over the limit a connection is closed at once: whoever waits for nothing learns it soonest so.
            let Ok(permit) = self.room.clone().try_acquire_owned() else { continue };
            let bytes = self.clone();
            tokio::spawn(async move {
                let _permit = permit;
                if let Err(error) = bytes.pass_on(port, stream).await {
                    tracing::debug!(%error, port, "a connection was not passed on to its end");
                }
            });
        }
    }

    async fn pass_on(&self, port: u16, mut stream: TcpStream) -> io::Result<()> {
        let mut pod = self.dial(port).await?;
        // Both ends know best when to send; a socket that refuses is about to fail anyway.
        let _ = (stream.set_nodelay(true), pod.set_nodelay(true));
        tokio::io::copy_bidirectional(&mut stream, &mut pod).await.map(drop)
    }

    /// A connection to one of the pods: those of this node first, then the others in turn.
    async fn dial(&self, port: u16) -> io::Result<TcpStream> {
        let openings = self.openings.borrow().clone();
        let Some(Lead::Bytes(pods)) = openings.open.get(&port).map(|opening| &opening.lead) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (here, there): (Vec<_>, Vec<_>) = pods.iter().partition(|(node, _)| **node == *self.node);
        // A guest may listen on the loopback interface alone.
        let here = here.iter().flat_map(|(_, at)| [SocketAddr::from((Ipv4Addr::LOCALHOST, at.port())), *at]);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % there.len().max(1);
        let there = there[turn..].iter().chain(&there[..turn]).map(|(_, at)| *at);
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for at in here.chain(there) {
            match tokio::time::timeout(ACCEPTED, TcpStream::connect(at)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}
