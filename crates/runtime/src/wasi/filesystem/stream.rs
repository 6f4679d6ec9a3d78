//! Streams into a file of a volume, for both generations of guests.

use std::fs::File as Handle;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wasmtime::StoreContextMut;
use wasmtime::component::{Source, StreamConsumer, StreamResult as Consumed};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::p3::bindings::filesystem::types::ErrorCode as ErrorCode3;

use super::Mount;
use super::act::{Place, WriteError};
use super::reply::code3;

/// Bytes of one write.
const CHUNK: usize = 64 << 10;

/// Where the bytes of a stream go.
#[derive(Clone)]
pub struct Sink {
    mount: Arc<Mount>,
    file: Arc<Handle>,
    place: Place,
}

impl Sink {
    pub fn new(mount: Arc<Mount>, file: Arc<Handle>, place: Place) -> Sink {
        Sink { mount, file, place }
    }

    /// Writes on a thread that may wait. What has begun ends, whatever becomes of the guest.
    fn write(&self, bytes: Bytes) -> JoinHandle<Result<(), WriteError>> {
        let Sink { mount, file, place } = self.clone();
        tokio::task::spawn_blocking(move || mount.write_all(&file, &bytes, place))
    }

    fn written(&mut self, bytes: usize) {
        if let Place::At(offset) = &mut self.place {
            *offset = offset.saturating_add(bytes as u64);
        }
    }
}

/// Such a thread only fails by a panic, or when the node ends.
fn done(joined: Result<Result<(), WriteError>, tokio::task::JoinError>) -> Result<(), WriteError> {
    joined.unwrap_or_else(|error| Err(WriteError::Io(error.into())))
}

/// An output stream of 0.2.
pub struct Writer {
    sink: Sink,
    doing: Doing,
}

enum Doing {
    Nothing,
    Writing(JoinHandle<Result<(), WriteError>>, usize),
    Failed(WriteError),
    Closed,
}

impl Writer {
    pub fn new(sink: Sink) -> Writer {
        Writer { sink, doing: Doing::Nothing }
    }

    /// How many bytes may be written, once the failure of the last write has been told.
    fn check(&mut self) -> StreamResult<usize> {
        match std::mem::replace(&mut self.doing, Doing::Closed) {
            Doing::Nothing => {
                self.doing = Doing::Nothing;
                Ok(CHUNK)
            }
            writing @ Doing::Writing(..) => {
                self.doing = writing;
                Ok(0)
            }
            Doing::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            Doing::Closed => Err(StreamError::Closed),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        if let Doing::Writing(task, bytes) = &mut self.doing {
            let (written, bytes) = (done(task.await), *bytes);
            self.doing = match written {
                Ok(()) => Doing::Nothing,
                Err(error) => Doing::Failed(error),
            };
            self.sink.written(bytes);
        }
    }
}

#[async_trait::async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.check()? < bytes.len() {
            return Err(StreamError::trap("a stream was written to before check-write allowed so much"));
        }
        let length = bytes.len();
        self.doing = Doing::Writing(self.sink.write(bytes), length);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()
    }

    async fn cancel(&mut self) {
        self.ready().await;
    }
}

/// What takes the stream of a guest of 0.3.
pub struct Consumer {
    sink: Sink,
    result: Option<oneshot::Sender<Result<(), ErrorCode3>>>,
    writing: Option<(JoinHandle<Result<(), WriteError>>, usize)>,
}

impl Consumer {
    pub fn new(sink: Sink, result: oneshot::Sender<Result<(), ErrorCode3>>) -> Consumer {
        Consumer { sink, result: Some(result), writing: None }
    }

    fn close(&mut self, result: Result<(), ErrorCode3>) {
        if let Some(sender) = self.result.take() {
            // The guest need not wait for it.
            let _ = sender.send(result);
        }
    }
}

impl<D: 'static> StreamConsumer<D> for Consumer {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<D>,
        source: Source<u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<Consumed>> {
        let mut source = source.as_direct(store);
        let me = &mut *self;
        let (task, bytes) = match &mut me.writing {
            Some(writing) => writing,
            None => {
                let waiting = source.remaining();
                if waiting.is_empty() {
                    return Poll::Ready(Ok(if finish { Consumed::Cancelled } else { Consumed::Completed }));
                }
                let chunk = Bytes::copy_from_slice(&waiting[..waiting.len().min(CHUNK)]);
                let length = chunk.len();
                me.writing.insert((me.sink.write(chunk), length))
            }
        };
        // A write that has begun is waited for even when the guest would like to cancel: it happens anyway.
        let (written, bytes) = (done(ready!(Pin::new(task).poll(context))), *bytes);
        me.writing = None;
        match written {
            Ok(()) => {
                source.mark_read(bytes);
                me.sink.written(bytes);
                Poll::Ready(Ok(Consumed::Completed))
            }
            Err(error) => {
                me.close(Err(code3(ErrorCode::from(&error))));
                Poll::Ready(Ok(Consumed::Dropped))
            }
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.close(Ok(()));
    }
}
