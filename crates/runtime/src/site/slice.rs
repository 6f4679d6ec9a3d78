//! One file of an archive, as if it were a file of its own.

use std::future::{Ready, ready};
use std::io::{self, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready as now};

use tokio::io::{AsyncRead, AsyncSeek, AsyncSeekExt, ReadBuf};
use tower_http::services::fs::{File, Metadata};

use super::Known;

/// A part of an open archive.
pub struct Slice {
    archive: tokio::fs::File,
    known: Known,
    at: u64,
}

/// A slice that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<Slice>> + Send>>;

impl Slice {
    /// The part of an archive that is this file.
    pub async fn open(archive: &Path, known: Known) -> io::Result<Slice> {
        let mut archive = tokio::fs::File::open(archive).await?;
        archive.seek(SeekFrom::Start(known.start)).await?;
        Ok(Slice { archive, known, at: 0 })
    }
}

impl AsyncRead for Slice {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = usize::try_from(self.known.len() - self.at).unwrap_or(usize::MAX).min(buffer.remaining());
        if left == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(left));
        now!(Pin::new(&mut self.archive).poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        self.at += read as u64;
        // An archive that was cut short meanwhile must not look like a whole file.
        if read == 0 { Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())) } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncSeek for Slice {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let at = match position {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.known.len().checked_add_signed(by),
        };
        let at = at.filter(|at| *at <= self.known.len()).ok_or(io::ErrorKind::InvalidInput)?;
        self.at = at;
        let start = self.known.start + at;
        Pin::new(&mut self.archive).start_seek(SeekFrom::Start(start))
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        now!(Pin::new(&mut self.archive).poll_complete(context))?;
        Poll::Ready(Ok(self.at))
    }
}

impl File for Slice {
    type Metadata = Known;
    type MetadataFuture<'a> = Ready<io::Result<Known>>;

    fn metadata(&self) -> Ready<io::Result<Known>> {
        ready(Ok(self.known))
    }
}
