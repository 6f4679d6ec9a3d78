//! A stream whose end by accident is told in words: how a library says it helps nobody.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncBufRead, AsyncRead};

/// Reads as what it holds does.
pub struct Steady<R> {
    reader: R,
    endpoint: String,
}

impl<R> Steady<R> {
    /// What the server at `endpoint` sends.
    pub fn new(reader: R, endpoint: &str) -> Steady<R> {
        Steady { reader, endpoint: endpoint.to_owned() }
    }

    fn lost(&self, error: &io::Error) -> io::Error {
        tracing::debug!(%error, "a stream broke");
        io::Error::new(error.kind(), format!("the server at {} went away; run this again when it is back", self.endpoint))
    }
}

/// Such an error is a whole sentence.
pub fn told(error: io::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

impl<R: AsyncRead + Unpin> AsyncRead for Steady<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.reader).poll_read(context, buffer));
        Poll::Ready(read.map_err(|error| self.lost(&error)))
    }
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Steady<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        match ready!(Pin::new(&mut this.reader).poll_fill_buf(context)) {
            // Asked again, since what was given first cannot outlive the look at an error.
            Ok(_) => Pin::new(&mut this.reader).poll_fill_buf(context),
            Err(error) => Poll::Ready(Err(this.lost(&error))),
        }
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.reader).consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};

    #[tokio::test]
    async fn a_broken_stream_says_who_went_away() {
        let parts = stream::iter([Ok(&b"whole\nha"[..]), Err(io::Error::other("https://docs.rs/of-some-library"))]);
        let mut lines = Steady::new(Box::pin(parts.into_async_read()), "https://127.0.0.1:6443").lines();
        assert_eq!(lines.next().await.unwrap().unwrap(), "whole");
        let error = told(lines.next().await.unwrap().unwrap_err()).to_string();
        assert_eq!(error, "the server at https://127.0.0.1:6443 went away; run this again when it is back");
    }
}
