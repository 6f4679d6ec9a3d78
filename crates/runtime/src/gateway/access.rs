//! The access log: one JSON line for each request, written off the hot path, in two rotated files.

mod read;

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, Method, Uri};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::local::Identity;
pub use read::Query;

/// A file is put aside when it is larger; one older file is kept.
const MAX_FILE: u64 = 32 << 20;
/// Bytes that may wait to be written; more lines are counted and dropped.
const MAX_WAITING: usize = 16 << 20;
/// How long lines gather before they are written.
const GATHER: Duration = Duration::from_millis(50);

/// What became of one request.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it came.
    pub at: Timestamp,
    /// Its id, as in the `x-request-id` of the answer.
    pub id: HeaderValue,
    /// The `traceparent` that the guest was told.
    pub trace: HeaderValue,
    /// As sent.
    pub method: Method,
    /// As sent; only host and path are written, since queries carry secrets.
    pub uri: Uri,
    /// The host it was routed by.
    pub host: HeaderValue,
    /// The pod that answered, if one was asked; without a name the service that had none to ask.
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
    /// Appends the record as a line of JSON. Written by hand: through `fmt` it would cost as much as routing the request.
    fn line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"at\":\"");
        time(out, self.at);
        out.push(b'"');
        text(out, "id", self.id.to_str().unwrap_or_default());
        text(out, "trace", super::trace::id(&self.trace));
        text(out, "method", self.method.as_str());
        text(out, "host", self.host.to_str().unwrap_or_default());
        text(out, "path", self.uri.path());
        if let Some(pod) = &self.pod {
            text(out, "namespace", &pod.namespace);
            text(out, "app", &pod.app);
            text(out, "service", &pod.service);
            if !pod.pod.is_empty() {
                text(out, "pod", &pod.pod);
                text(out, "revision", &pod.revision);
            }
        }
        key(out, "status");
        number(out, u64::from(self.status));
        text(out, "reason", self.reason);
        if let Some(detail) = &self.detail {
            text(out, "detail", detail);
        }
        key(out, "ms");
        let micros = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        number(out, micros / 1000);
        out.push(b'.');
        thousandths(out, micros % 1000);
        key(out, "bytes");
        number(out, self.bytes);
        out.extend_from_slice(b"}\n");
    }
}

fn key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    // Without a way out of the loop it runs on many bytes at a time.
    if value.bytes().fold(true, |plain, b| plain & (b >= b' ') & (b != b'"') & (b != b'\\')) {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        // Writing to memory does not fail, and a string is always JSON.
        let _ = serde_json::to_writer(out, value);
    }
}

fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

fn thousandths(out: &mut Vec<u8>, n: u64) {
    out.extend([n / 100 % 10, n / 10 % 10, n % 10].map(|digit| b'0' + digit as u8));
}

/// `2026-11-23T08:39:19.123Z`; the part up to the second is made once a second.
fn time(out: &mut Vec<u8>, at: Timestamp) {
    const LENGTH: usize = "2026-11-23T08:39:19".len();
    thread_local!(static SECOND: Cell<(i64, [u8; LENGTH])> = const { Cell::new((i64::MIN, [0; LENGTH])) });
    let second = at.as_second();
    let (made, mut text) = SECOND.get();
    if made != second {
        let whole = Timestamp::from_second(second).unwrap_or(at).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        if let Ok(bytes) = whole.as_bytes().try_into() {
            text = bytes;
            SECOND.set((second, text));
        }
    }
    out.extend_from_slice(&text);
    out.push(b'.');
    thousandths(out, u64::try_from(at.subsec_millisecond()).unwrap_or(0));
    out.push(b'Z');
}

/// Where requests report to. Cheap to clone; lines are written by [`Access::run`].
#[derive(Clone, Default)]
pub struct Access(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    lines: Mutex<Lines>,
    some: Notify,
    dropped: AtomicU64,
    /// Records that were taken, and those of them that are on disk or lost.
    noted: AtomicU64,
    done: watch::Sender<u64>,
    /// How often a file was put aside. Held while the files change.
    files: Mutex<u64>,
}

#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
}

impl Access {
    /// Takes a record; never waits for the disk.
    pub fn note(&self, record: &Record) {
        let mut lines = self.0.lines.lock();
        if lines.text.len() >= MAX_WAITING {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        record.line(&mut lines.text);
        lines.count += 1;
        self.0.noted.fetch_add(1, Ordering::Relaxed);
        let first = lines.count == 1;
        drop(lines);
        if first {
            self.0.some.notify_one();
        }
    }

    /// Records that were lost because the disk was slower than the requests, or full.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Writes lines to `folder` until `stop` is done, then what is left.
    pub async fn run(self, folder: PathBuf, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut going = true;
        let mut file = Rotated::new(&folder);
        let mut spare = Lines::default();
        while going {
            tokio::select! {
                () = self.0.some.notified() => {}
                () = &mut stop => going = false,
            }
            if going {
                tokio::time::sleep(GATHER).await;
            }
            let lines = std::mem::replace(&mut *self.0.lines.lock(), spare);
            let waiting = self.0.clone();
            let written = tokio::task::spawn_blocking(move || {
                let result = file.write(&lines.text, &mut waiting.files.lock());
                (file, lines, result)
            });
            let Ok((back, mut lines, result)) = written.await else { return };
            file = back;
            if let Err(error) = result {
                self.0.dropped.fetch_add(lines.count, Ordering::Relaxed);
                tracing::warn!(%error, "cannot write the access log");
            }
            self.0.done.send_modify(|done| *done += lines.count);
            lines.text.clear();
            lines.text.shrink_to(SPARE);
            spare = Lines { count: 0, ..lines };
        }
    }
}

/// Bytes that are kept for the lines to come.
const SPARE: usize = 1 << 20;

const CURRENT: &str = "access.log";
const OLDER: &str = "access.1.log";

struct Rotated {
    path: PathBuf,
    old: PathBuf,
    file: Option<(File, u64)>,
}

impl Rotated {
    fn new(folder: &Path) -> Rotated {
        Rotated { path: folder.join(CURRENT), old: folder.join(OLDER), file: None }
    }

    fn write(&mut self, lines: &[u8], rotations: &mut u64) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|(_, size)| *size >= MAX_FILE) {
            self.file = None;
            std::fs::rename(&self.path, &self.old)?;
            *rotations += 1;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            let size = file.metadata()?.len();
            self.file = Some((file, size));
        }
        if let Some((file, size)) = &mut self.file {
            file.write_all(lines)?;
            *size += lines.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_the_request_held() {
        let record = Record {
            at: "2026-11-23T08:39:19.007Z".parse().unwrap(),
            id: HeaderValue::from_static("ab12"),
            trace: HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            method: Method::GET,
            uri: Uri::from_static("http://a.test/x%22?secret=1"),
            host: HeaderValue::from_static("a.test"),
            pod: None,
            status: 500,
            reason: "trap",
            detail: Some("a \"quoted\"\nline \\ \u{1} ü".into()),
            took: Duration::from_micros(12_034),
            bytes: 7,
        };
        let mut out = Vec::new();
        record.line(&mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("a line of JSON");
        let expected = serde_json::json!({
            "at": "2026-11-23T08:39:19.007Z", "id": "ab12", "trace": "4bf92f3577b34da6a3ce929d0e0e4736", "method": "GET", "host": "a.test", "path": "/x%22", "status": 500,
            "reason": "trap", "detail": "a \"quoted\"\nline \\ \u{1} ü", "ms": 12.034, "bytes": 7,
        });
        assert_eq!(value, expected);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
    }
}
