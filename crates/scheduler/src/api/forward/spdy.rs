//! SPDY/3.1 as clients of port-forward speak it: two streams for each connection, one for its errors and one for its data.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::socket::Line;
use super::{Dialer, OF_ONE, PIECE, PIECES, STALL};
use frames::{Frame, Reader};

mod frames;
mod names;

/// How often the client is asked for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// How long it may take to take an answer.
const TAKES: Duration = Duration::from_secs(60);

/// Passes on until the client goes, or says what cannot be read.
pub(super) async fn serve(dialer: Dialer, line: Line) {
    let mut session = Session { dialer, line, errors: HashMap::new(), open: HashMap::new(), tasks: JoinSet::new(), replied: false };
    if let Err(why) = session.run().await {
        tracing::debug!(why, "a client that forwards ports was cut off");
        // It is cut off whatever becomes of this.
        let _ = session.line.outgoing.try_send(frames::go_away());
    }
    let Session { line, open, tasks, .. } = session;
    // They would go on telling the client.
    drop((open, tasks));
    line.close().await;
}

struct Session {
    dialer: Dialer,
    line: Line,
    /// Streams of errors whose data streams have not come, by the number that names the connection.
    errors: HashMap<String, u32>,
    /// Connections, by their data stream.
    open: HashMap<u32, Open>,
    /// Each ends with the data stream that it had.
    tasks: JoinSet<u32>,
    /// Whether the client's decompressor has begun.
    replied: bool,
}

struct Open {
    error: u32,
    to_pod: Option<mpsc::Sender<Bytes>>,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The client has gone, or was told to.
type Ended = &'static str;

impl Session {
    async fn run(&mut self) -> Result<(), Ended> {
        let mut reader = Reader::default();
        let mut ping = tokio::time::interval(PING);
        // The first is at once, and nobody needs it.
        ping.tick().await;
        let mut number = 0;
        loop {
            tokio::select! {
                piece = self.line.incoming.recv() => {
                    let Some(piece) = piece else { return Ok(()) };
                    for piece in pieces(piece) {
                        reader.take(piece);
                        while let Some(frame) = reader.next()? {
                            self.hear(frame).await?;
                        }
                    }
                }
                Some(ended) = self.tasks.join_next() => if let Ok(data) = ended {
                    self.open.remove(&data);
                },
                _ = ping.tick() => {
                    number += 2;
                    // While other things wait to be sent, this one need not.
                    let _ = self.line.outgoing.try_send(frames::ping(number));
                }
            }
        }
    }

    async fn tell(&self, frame: Bytes) -> Result<(), Ended> {
        match tokio::time::timeout(TAKES, self.line.outgoing.send(frame)).await {
            Ok(sent) => sent.map_err(|_| "it has gone"),
            Err(_) => Err("it took nothing that it was told"),
        }
    }

    async fn hear(&mut self, frame: Frame) -> Result<(), Ended> {
        match frame {
            Frame::Open { id, names, fin } => self.open(id, &names, fin).await,
            Frame::Data { id, bytes, fin } => {
                self.pass(id, bytes, fin).await;
                Ok(())
            }
            Frame::Reset { id } => {
                self.open.remove(&id);
                self.errors.retain(|_, error| *error != id);
                Ok(())
            }
            // Even ones answer what was asked here.
            Frame::Ping { id } if id % 2 == 1 => self.tell(frames::ping(id)).await,
            Frame::Ping { .. } | Frame::Other => Ok(()),
        }
    }

    async fn open(&mut self, id: u32, names: &[(String, String)], fin: bool) -> Result<(), Ended> {
        let get = |wanted: &str| names.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str());
        let (kind, port, request) = (get("streamtype"), get("port").parse::<u16>(), get("requestid"));
        // Old clients do not number connections: there the data stream follows the stream of its errors.
        let request = match (request, kind) {
            ("", "data") => id.wrapping_sub(2).to_string(),
            ("", _) => id.to_string(),
            (request, _) => request.to_owned(),
        };
        let known = self.open.contains_key(&id) || self.errors.values().any(|error| *error == id);
        let full = self.errors.len() + self.open.len() >= OF_ONE;
        let accepted = match (kind, port) {
            _ if known || id.is_multiple_of(2) => return Err("it opened a stream that it has, or may not have"),
            ("error", Ok(1..)) if !full && !self.errors.contains_key(&request) => {
                self.errors.insert(request, id);
                true
            }
            ("data", Ok(port @ 1..)) => match self.errors.remove(&request) {
                Some(error) => {
                    self.connect(id, error, port, fin);
                    true
                }
                None => false,
            },
            _ => false,
        };
        if !accepted {
            return self.tell(frames::refuse(id)).await;
        }
        let first = !std::mem::replace(&mut self.replied, true);
        self.tell(frames::reply(id, first)).await
    }

    fn connect(&mut self, data: u32, error: u32, port: u16, fin: bool) {
        let (to_pod, pieces) = mpsc::channel(PIECES);
        let connection = Connection { dialer: self.dialer.clone(), outgoing: self.line.outgoing.clone(), data, error };
        let task = self.tasks.spawn(async move {
            // Whom nothing can be told has gone.
            let _ = connection.run(port, pieces).await;
            data
        });
        self.open.insert(data, Open { error, to_pod: Some(to_pod).filter(|_| !fin), task });
    }

    /// What the client sent on a stream. What comes after a connection has ended is on its way still, and nobody wants it.
    async fn pass(&mut self, id: u32, bytes: Bytes, fin: bool) {
        let Some(open) = self.open.get_mut(&id) else { return };
        if let Some(to_pod) = open.to_pod.as_ref().filter(|_| !bytes.is_empty()) {
            match tokio::time::timeout(STALL, to_pod.send(bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => open.to_pod = None,
                Err(_) => {
                    let sentence = format!("the pod took nothing for {} s", STALL.as_secs());
                    for frame in [frames::data(open.error, sentence.as_bytes(), true), frames::refuse(id)] {
                        // A client that has gone is noticed elsewhere.
                        let _ = self.line.outgoing.send(frame).await;
                    }
                    self.open.remove(&id);
                    return;
                }
            }
        }
        if fin {
            open.to_pod = None;
        }
    }
}

/// A piece in short ones, so that what waits is bounded.
fn pieces(mut piece: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!piece.is_empty()).then(|| piece.split_to(piece.len().min(PIECE))))
}

/// One connection, from the pod to the client.
struct Connection {
    dialer: Dialer,
    outgoing: mpsc::Sender<Bytes>,
    data: u32,
    error: u32,
}

impl Connection {
    async fn run(self, port: u16, to_pod: mpsc::Receiver<Bytes>) -> Result<(), mpsc::error::SendError<Bytes>> {
        let mut sentence = String::new();
        match self.dialer.dial(port, to_pod).await {
            Ok(mut dialled) => {
                while let Some(piece) = dialled.pieces.recv().await {
                    for piece in pieces(piece) {
                        self.outgoing.send(frames::data(self.data, &piece, false)).await?;
                    }
                }
            }
            Err(why) => sentence = why,
        }
        // Clients wait for the end of the data, then for what went wrong.
        self.outgoing.send(frames::data(self.error, sentence.as_bytes(), true)).await?;
        self.outgoing.send(frames::data(self.data, &[], true)).await
    }
}
