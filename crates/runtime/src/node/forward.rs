//! A connection to a port of a pod, which the server wants for somebody: made here, and carried over a request of the node's own, whose body is
//! what the pod says and whose answer is what it is sent.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream};
use http::Request;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::asks::{self, Asks};
use crate::gateway::local::Local;

/// Bytes that wait between the gateway and who carries them.
const BUFFER: usize = 64 << 10;
/// How many bytes are read at a time, and how many pieces of that wait.
const READ: usize = 16 << 10;
const PIECES: usize = 2;
/// How long a connection may take to be made.
const CONNECTS: Duration = Duration::from_secs(5);
/// How often it is looked whether the pod is still here.
const LOOK: Duration = Duration::from_secs(1);
/// How long a client of HTTP that has closed its side still gets the answers to what it asked, as at the gateway.
const PARTING: Duration = Duration::from_millis(500);

/// What the server wants.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    uid: String,
    /// The pod's name, for sentences.
    pod: String,
    port: u16,
    /// Whether the guest listens on the port by itself; otherwise it is asked over HTTP.
    tcp: bool,
}

/// A connection to a pod.
enum Made {
    Listening(TcpStream),
    Http(DuplexStream),
}

impl Asks {
    /// Makes the connection and carries it to its end.
    pub(super) async fn forward(&self, id: &str, wanted: Wanted) {
        match self.connect(&wanted).await {
            Ok(made) => {
                let carried = async {
                    match made {
                        Made::Listening(stream) => self.carry(id, stream, Duration::ZERO).await,
                        Made::Http(stream) => self.carry(id, stream, PARTING).await,
                    }
                };
                tokio::select! {
                    ended = carried => if ended.is_none() {
                        tracing::debug!(pod = wanted.pod, port = wanted.port, "a forwarded connection broke");
                    },
                    () = self.gone(&wanted.uid) => {}
                }
            }
            Err(sentence) => self.refuse(id, &sentence).await,
        }
    }

    fn local(&self, wanted: &Wanted) -> Result<Arc<Local>, String> {
        let local = self.gateway.locals.get(&wanted.uid).filter(|local| local.is_alive());
        local.ok_or_else(|| format!("pod {} is not running on node {} now", wanted.pod, self.node))
    }

    async fn connect(&self, wanted: &Wanted) -> Result<Made, String> {
        let (local, Wanted { pod, port, .. }) = (self.local(wanted)?, wanted);
        if !wanted.tcp {
            if !local.answers_http() {
                return Err(format!(
                    "pod {pod} does not answer HTTP on port {port}: it is a program; uses.listen gives it a port of its own"
                ));
            }
            let (ours, gateways) = tokio::io::duplex(BUFFER);
            tokio::spawn(self.front.clone().talk_for(gateways, local));
            return Ok(Made::Http(ours));
        }
        // The port is the node's, so it must be this pod that has it.
        if !self.ports.is_of(*port, &wanted.uid) {
            return Err(format!("pod {pod} does not have port {port}/tcp of node {} now", self.node));
        }
        let addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), SocketAddr::from((Ipv6Addr::LOCALHOST, *port))];
        let connected = tokio::time::timeout(CONNECTS, TcpStream::connect(&addresses[..])).await;
        let connected = connected.map_err(|_| format!("pod {pod} does not take connections on port {port}/tcp"))?;
        let stream = connected.map_err(|error| format!("pod {pod} does not listen on port {port}/tcp: {error}"))?;
        // A socket that refuses is about to fail anyway.
        let _ = stream.set_nodelay(true);
        Ok(Made::Listening(stream))
    }

    /// Carries both directions until each has ended; none where one broke.
    async fn carry<S: AsyncRead + AsyncWrite + Send>(&self, id: &str, connection: S, parting: Duration) -> Option<()> {
        let (mut from, mut to) = tokio::io::split(connection);
        let (said, mut pieces) = mpsc::channel(PIECES);
        let hears = async move {
            loop {
                let mut piece = BytesMut::with_capacity(READ);
                let read = tokio::select! {
                    read = from.read_buf(&mut piece) => read.ok()?,
                    // Nobody listens any more, although the pod may be silent for ever.
                    () = said.closed() => return None,
                };
                if read == 0 {
                    return Some(());
                }
                said.send(piece.freeze()).await.ok()?;
            }
        };
        let speaks = async {
            let body = asks::carry(stream::poll_fn(move |context| pieces.poll_recv(context)).boxed()).await.ok()?;
            let request = Request::post(self.answers(id)).header(http::header::CONTENT_TYPE, "application/octet-stream").body(body);
            let answer = self.client.send(request.ok()?).await.ok().filter(|answer| answer.status().is_success())?;
            let mut body = answer.into_body();
            while let Some(frame) = body.frame().await {
                let bytes: Bytes = frame.ok()?.into_data().unwrap_or_default();
                to.write_all(&bytes).await.ok()?;
            }
            tokio::time::sleep(parting).await;
            to.shutdown().await.ok()
        };
        let both = futures::future::try_join(hears.map(|ended| ended.ok_or(())), speaks.map(|ended| ended.ok_or(())));
        both.await.ok().map(drop)
    }

    /// Done when the pod is not here any more.
    async fn gone(&self, uid: &str) {
        while self.gateway.locals.get(uid).is_some() {
            tokio::time::sleep(LOOK).await;
        }
    }
}
