//! A connection's stream: tells its connection what moves, and gives a client that has closed its side a moment for its answers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connection::Connection;

/// How long a client that has closed its side still gets the answers to what it asked. Most that do so have left, and leaving is told in
/// no other way, so the guest must not work on for long.
const PARTING: Duration = Duration::from_millis(500);

/// A stream that tells its connection what moves.
pub struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// The client has closed its side; hyper learns of it, and breaks off, when this ends.
    parting: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// Of this connection.
    pub fn new(stream: TcpStream, connection: Arc<Connection>) -> Watched {
        Watched { stream, connection, parting: None }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.connection.is_broken() {
            // A reset instead of a proper end; where that cannot be had, the access log still has the truth.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.parting.is_none() {
            std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                self.connection.has_read();
                return Poll::Ready(Ok(()));
            }
            self.parting = Some(Box::pin(sleep(PARTING)));
        }
        self.connection.parting.register(context.waker());
        let busy = self.connection.is_busy();
        match &mut self.parting {
            Some(parting) if busy => parting.as_mut().poll(context).map(Ok),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.connection.has_written(result.is_pending());
        result
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.connection.has_written(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
