//! The access log: one JSON line for each request, written off the hot path, in two rotated files.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, Method, Uri};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::local::Identity;

/// A file is put aside when it is larger; one older file is kept.
const MAX_FILE: u64 = 32 << 20;
/// Records that may wait to be written; more are counted and dropped.
const MAX_WAITING: usize = 65_536;
/// How long records gather before they are written.
const GATHER: Duration = Duration::from_millis(50);

/// What became of one request.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it came.
    pub at: Timestamp,
    /// Its id, as in the `x-request-id` of the answer.
    pub id: HeaderValue,
    /// As sent.
    pub method: Method,
    /// As sent; only host and path are written, since queries carry secrets.
    pub uri: Uri,
    /// The host it was routed by.
    pub host: HeaderValue,
    /// The pod that answered, if one was asked.
    pub pod: Option<Arc<Identity>>,
    /// The status sent.
    pub status: u16,
    /// `ok`, or a word for what went wrong: `trap`, `deadline`, `busy`, `no route` …
    pub reason: &'static str,
    /// More about the reason, for the log alone.
    pub detail: Option<String>,
    /// Until the last byte of the answer was handed on.
    pub took: Duration,
    /// Bytes of the answer's body.
    pub bytes: u64,
}

impl Record {
    fn line(&self, out: &mut String) {
        let text = |out: &mut String, key: &str, value: &str| {
            let _ = write!(out, ",\"{key}\":{}", serde_json::Value::from(value));
        };
        let _ = write!(out, "{{\"at\":\"{:.3}\"", self.at);
        text(out, "id", self.id.to_str().unwrap_or_default());
        text(out, "method", self.method.as_str());
        text(out, "host", self.host.to_str().unwrap_or_default());
        text(out, "path", self.uri.path());
        if let Some(pod) = &self.pod {
            text(out, "namespace", &pod.namespace);
            text(out, "app", &pod.app);
            text(out, "service", &pod.service);
            text(out, "pod", &pod.pod);
            text(out, "revision", &pod.revision);
        }
        let _ = write!(out, ",\"status\":{}", self.status);
        text(out, "reason", self.reason);
        if let Some(detail) = &self.detail {
            text(out, "detail", detail);
        }
        let _ = writeln!(out, ",\"ms\":{:.3},\"bytes\":{}}}", self.took.as_secs_f64() * 1000.0, self.bytes);
    }
}

/// Where requests report to. Cheap to clone; records are written by [`Access::run`].
#[derive(Clone, Default)]
pub struct Access(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    records: Mutex<Vec<Record>>,
    some: Notify,
    dropped: AtomicU64,
}

impl Access {
    /// Takes a record; never waits.
    pub fn note(&self, record: Record) {
        let mut records = self.0.records.lock();
        if records.len() >= MAX_WAITING {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        records.push(record);
        let first = records.len() == 1;
        drop(records);
        if first {
            self.0.some.notify_one();
        }
    }

    /// Records that were lost because the disk was slower than the requests, or full.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Writes records to `folder` until `stop` is done, then what is left.
    pub async fn run(self, folder: PathBuf, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut going = true;
        let mut file = Rotated::new(&folder);
        while going {
            tokio::select! {
                () = self.0.some.notified() => {}
                () = &mut stop => going = false,
            }
            if going {
                tokio::time::sleep(GATHER).await;
            }
            let records = std::mem::take(&mut *self.0.records.lock());
            let lost = records.len() as u64;
            let written = tokio::task::spawn_blocking(move || {
                let result = file.write(&records);
                (file, result)
            });
            match written.await {
                Ok((back, result)) => {
                    file = back;
                    if let Err(error) = result {
                        self.0.dropped.fetch_add(lost, Ordering::Relaxed);
                        tracing::warn!(%error, "cannot write the access log");
                    }
                }
                Err(_) => return,
            }
        }
    }
}

struct Rotated {
    path: PathBuf,
    old: PathBuf,
    file: Option<(File, u64)>,
    text: String,
}

impl Rotated {
    fn new(folder: &Path) -> Rotated {
        Rotated { path: folder.join("access.log"), old: folder.join("access.1.log"), file: None, text: String::new() }
    }

    fn write(&mut self, records: &[Record]) -> io::Result<()> {
        self.text.clear();
        records.iter().for_each(|record| record.line(&mut self.text));
        if self.file.as_ref().is_some_and(|(_, size)| *size >= MAX_FILE) {
            self.file = None;
            std::fs::rename(&self.path, &self.old)?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            let size = file.metadata()?.len();
            self.file = Some((file, size));
        }
        if let Some((file, size)) = &mut self.file {
            file.write_all(self.text.as_bytes())?;
            *size += self.text.len() as u64;
        }
        Ok(())
    }
}
