//! The bytes of one client, in pieces: what comes in, and where what goes out is put. Tasks of their own move either way, so that neither waits
//! for the other.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Pieces that wait, in each direction.
const PIECES: usize = 4;
/// The longest message of a WebSocket.
const LONGEST: usize = 256 << 10;
/// How many bytes are read at a time.
const READ: usize = 16 << 10;
/// How often a client is asked for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// How long it may be silent. One whose user has stopped reading is, and may go on later.
const SILENCE: Duration = Duration::from_secs(300);

/// One client.
pub(super) struct Line {
    /// What it says; ends when it has gone.
    pub incoming: mpsc::Receiver<Bytes>,
    /// What it is told.
    pub outgoing: mpsc::Sender<Bytes>,
    tasks: JoinSet<()>,
}

impl Line {
    fn of(
        moves_in: impl FnOnce(mpsc::Sender<Bytes>) -> futures::future::BoxFuture<'static, ()>,
        moves_out: impl FnOnce(mpsc::Receiver<Bytes>) -> futures::future::BoxFuture<'static, ()>,
    ) -> Line {
        let ((said, incoming), (outgoing, told)) = (mpsc::channel(PIECES), mpsc::channel(PIECES));
        let mut tasks = JoinSet::new();
        tasks.spawn(moves_in(said));
        tasks.spawn(moves_out(told));
        Line { incoming, outgoing, tasks }
    }

    /// Sends what waits to be sent, and ends.
    pub async fn close(self) {
        let Line { incoming, outgoing, mut tasks } = self;
        drop((incoming, outgoing));
        // Who takes nothing has had its time.
        let _ = tokio::time::timeout(Duration::from_secs(1), async { while tasks.join_next().await.is_some() {} }).await;
    }
}

/// The messages of a WebSocket.
pub(super) async fn messages(upgraded: Upgraded) -> Line {
    let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (mut sink, mut stream) = socket.split();
    let moves_in = |said: mpsc::Sender<Bytes>| {
        let read = async move {
            while let Ok(Some(Ok(message))) = tokio::time::timeout(SILENCE, stream.next()).await {
                match message {
                    Message::Binary(piece) => {
                        if said.send(piece).await.is_err() {
                            return;
                        }
                    }
                    Message::Ping(_) | Message::Pong(_) => {}
                    // Neither way has text in it.
                    _ => return,
                }
            }
        };
        Box::pin(read) as _
    };
    let moves_out = |mut told: mpsc::Receiver<Bytes>| {
        let write = async move {
            loop {
                let message = match tokio::time::timeout(PING, told.recv()).await {
                    Ok(Some(piece)) => Message::Binary(piece),
                    Ok(None) => break,
                    Err(_) => Message::Ping(Bytes::new()),
                };
                if sink.send(message).await.is_err() {
                    return;
                }
            }
            // It may have gone already.
            let _ = sink.close().await;
        };
        Box::pin(write) as _
    };
    Line::of(moves_in, moves_out)
}

/// The bytes as they are.
pub(super) fn bytes(upgraded: Upgraded) -> Line {
    let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
    let moves_in = |said: mpsc::Sender<Bytes>| {
        let read = async move {
            loop {
                let mut piece = BytesMut::with_capacity(READ);
                match tokio::time::timeout(SILENCE, from.read_buf(&mut piece)).await {
                    Ok(Ok(read)) if read > 0 => {
                        if said.send(piece.freeze()).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        };
        Box::pin(read) as _
    };
    let moves_out = |mut told: mpsc::Receiver<Bytes>| {
        let write = async move {
            while let Some(piece) = told.recv().await {
                if to.write_all(&piece).await.is_err() {
                    return;
                }
            }
            // It may have gone already.
            let _ = to.shutdown().await;
        };
        Box::pin(write) as _
    };
    Line::of(moves_in, moves_out)
}
