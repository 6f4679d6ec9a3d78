//! The body of a guest that is still running. wasmtime ends it cleanly when the guest is gone; here a guest that failed breaks it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use wasmtime_wasi_http::WasiBody;

use super::Failure;
use crate::body::Error;

/// What the task that runs the guest and the one that reads its body tell each other.
pub(super) struct End {
    failure: OnceLock<Failure>,
    moved: Mutex<Instant>,
}

impl End {
    pub fn new() -> Self {
        Self { failure: OnceLock::new(), moved: Mutex::new(Instant::now()) }
    }

    /// Notes how the guest ended; the first note stays.
    pub fn note(&self, failure: Option<&Failure>) {
        if let Some(failure) = failure {
            let _ = self.failure.set(failure.clone());
        }
    }

    /// When the reader last took something.
    pub fn moved_at(&self) -> Instant {
        *self.moved.lock()
    }
}

/// Frames that were gathered, then those that come.
pub(super) struct Streamed {
    first: VecDeque<Frame<Bytes>>,
    inner: WasiBody,
    end: Arc<End>,
    task: Option<AbortHandle>,
    length: Option<u64>,
    sent: u64,
    over: bool,
}

impl Streamed {
    pub fn new(first: VecDeque<Frame<Bytes>>, inner: WasiBody, end: Arc<End>, task: Option<AbortHandle>, length: Option<u64>) -> Self {
        Self { first, inner, end, task, length, sent: 0, over: false }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(frame) = self.first.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        Pin::new(&mut self.inner).poll_frame(cx).map_err(|error| format!("the guest broke off its body: {error}").into())
    }

    /// A frame that fits the declared length, or an error.
    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        *self.end.moved.lock() = Instant::now();
        self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.length {
            Some(length) if self.sent > length => Err(format!("the guest wrote more than the {length} bytes that it declared").into()),
            _ => Ok(frame),
        }
    }

    /// Whether the end of the stream is an end of the body.
    fn whole(&self) -> Result<(), Error> {
        if let Some(failure) = self.end.failure.get() {
            return Err(failure.clone().into());
        }
        match self.length {
            Some(length) if self.sent < length => {
                Err(format!("the guest wrote {} of the {length} bytes that it declared", self.sent).into())
            }
            _ => Ok(()),
        }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let frame = match self.next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => Some(self.count(frame)),
            Poll::Ready(Some(Err(error))) => Some(Err(error)),
            Poll::Ready(None) => self.whole().err().map(Err),
        };
        self.over = !matches!(frame, Some(Ok(_)));
        if frame.is_none() {
            // The guest may go on with what it does after its response; a reader that leaves earlier stops it.
            self.task = None;
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, |length| SizeHint::with_exact(length.saturating_sub(self.sent)))
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let complete = self.length.is_some_and(|length| self.sent == length);
        if let Some(task) = self.task.take().filter(|_| !complete) {
            task.abort();
        }
    }
}
