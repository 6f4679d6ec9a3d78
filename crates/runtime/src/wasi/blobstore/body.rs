//! Streams into and out of objects.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::blobs::{Error, Object, Upload};

/// Bytes of one write.
const CHUNK: usize = 64 << 10;

/// A stream into what is to become an object.
pub struct Writer {
    upload: Arc<Mutex<Option<Upload>>>,
    doing: Writing,
}

enum Writing {
    Nothing,
    Busy(JoinHandle<Result<(), Error>>),
    Failed(Error),
    Closed,
}

impl Writer {
    pub fn new(upload: Arc<Mutex<Option<Upload>>>) -> Writer {
        Writer { upload, doing: Writing::Nothing }
    }

    fn check(&mut self) -> StreamResult<usize> {
        match std::mem::replace(&mut self.doing, Writing::Closed) {
            Writing::Nothing => {
                self.doing = Writing::Nothing;
                Ok(CHUNK)
            }
            busy @ Writing::Busy(_) => {
                self.doing = busy;
                Ok(0)
            }
            Writing::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            Writing::Closed => Err(StreamError::Closed),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        if let Writing::Busy(task) = &mut self.doing {
            // Such a thread only fails by a panic, or when the node ends.
            let done = task.await.unwrap_or_else(|error| Err(Error::Io(error.into())));
            self.doing = match done {
                Ok(()) => Writing::Nothing,
                Err(error) => Writing::Failed(error),
            };
        }
    }
}

#[async_trait::async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.check()? < bytes.len() {
            return Err(StreamError::trap("a stream was written to before check-write allowed so much"));
        }
        let upload = self.upload.clone();
        self.doing = Writing::Busy(tokio::task::spawn_blocking(move || {
            let mut upload = upload.lock();
            let gone = || Error::Io(io::Error::other("the value is finished"));
            let written = upload.as_ref().ok_or_else(gone)?.write(&bytes);
            if written.is_err() {
                // What lacks a part must not become an object, whether or not the guest looks at the error.
                *upload = None;
            }
            written
        }));
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

/// A stream out of an object.
pub struct Reader {
    object: Arc<Object>,
    at: u64,
    end: u64,
    doing: Reading,
}

enum Reading {
    Nothing,
    Busy(JoinHandle<io::Result<Bytes>>),
    Done(io::Result<Bytes>),
}

impl Reader {
    pub fn new(object: Arc<Object>, at: u64, end: u64) -> Reader {
        Reader { object, at, end, doing: Reading::Nothing }
    }

    fn begin(&mut self) {
        let (object, at) = (self.object.clone(), self.at);
        let most = object.chunk().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        self.doing = Reading::Busy(tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; most];
            let n = object.read_at(&mut chunk, at)?;
            chunk.truncate(n);
            Ok(chunk.into())
        }));
    }
}

#[async_trait::async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        if matches!(self.doing, Reading::Nothing) && self.at < self.end {
            self.begin();
        }
        if let Reading::Busy(task) = &mut self.doing {
            self.doing = Reading::Done(task.await.unwrap_or_else(|error| Err(error.into())));
        }
    }
}

#[async_trait::async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match std::mem::replace(&mut self.doing, Reading::Nothing) {
            Reading::Done(Ok(mut bytes)) => {
                let part = bytes.split_to(bytes.len().min(size));
                self.at += part.len() as u64;
                if !bytes.is_empty() {
                    self.doing = Reading::Done(Ok(bytes));
                }
                Ok(part)
            }
            Reading::Done(Err(error)) => {
                self.at = self.end;
                Err(StreamError::LastOperationFailed(error.into()))
            }
            busy @ Reading::Busy(_) => {
                self.doing = busy;
                Ok(Bytes::new())
            }
            Reading::Nothing if self.at >= self.end => Err(StreamError::Closed),
            Reading::Nothing => {
                self.begin();
                Ok(Bytes::new())
            }
        }
    }
}
