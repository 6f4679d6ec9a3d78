//! Bytes of several streams to whole lines, no more of them than the limit allows.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::sandbox::{Entry, Stream};

/// A longer line is cut into several.
const LINE: usize = 16 << 10;
/// Bytes of an entry's context that are kept.
const CONTEXT: usize = 256;
/// Bytes that may wait for the disk.
const WAITING: usize = 4 << 20;

/// Lines that wait to be written.
pub struct Gather {
    partial: HashMap<(u32, Stream), (Instant, Vec<u8>)>,
    lines: Vec<u8>,
    rate: u64,
    burst: u64,
    tokens: f64,
    filled: Instant,
    dropped: u64,
    untold: u64,
}

impl Gather {
    /// Takes `rate` bytes a second, and up to `burst` at once.
    pub fn new(rate: u64, burst: u64) -> Gather {
        Gather {
            partial: HashMap::new(),
            lines: Vec::new(),
            rate,
            burst,
            tokens: burst as f64,
            filled: Instant::now(),
            dropped: 0,
            untold: 0,
        }
    }

    /// Takes bytes that the instance with this restart count printed.
    pub fn add(&mut self, restarts: u32, stream: Stream, bytes: &[u8]) {
        let bytes = &bytes[..self.admit(restarts, bytes.len())];
        if bytes.is_empty() {
            return;
        }
        let (since, mut line) = self.partial.remove(&(restarts, stream)).unwrap_or_else(|| (Instant::now(), Vec::new()));
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in part.chunks(LINE) {
                if line.len() + part.len() > LINE {
                    self.line(restarts, name(stream), None, &std::mem::take(&mut line));
                }
                line.extend_from_slice(part);
            }
            if line.last() == Some(&b'\n') {
                line.pop();
                self.line(restarts, name(stream), None, &std::mem::take(&mut line));
            }
        }
        if !line.is_empty() {
            self.partial.insert((restarts, stream), (since, line));
        }
    }

    /// Takes an entry, which counts like what is printed. Each of its lines is kept with level and context.
    pub fn log(&mut self, restarts: u32, entry: &Entry<'_>) {
        let Entry { level, context, message } = *entry;
        let context = &context[..context.floor_char_boundary(CONTEXT)];
        let beside = level.word().len() + context.len();
        let message = message.strip_suffix('\n').unwrap_or(message);
        for line in message.split('\n') {
            for part in pieces(line) {
                let length = part.len() + beside;
                // Half an entry would have the wrong meaning more often than half a line.
                if self.admit(restarts, length) < length {
                    self.lost(part.len() as u64);
                    continue;
                }
                self.line(restarts, "log", Some((level.word(), context)), part.as_bytes());
            }
        }
    }

    /// How many of so many bytes may be kept; counts those and the others.
    fn admit(&mut self, restarts: u32, bytes: usize) -> usize {
        let room = self.room().min(WAITING.saturating_sub(self.lines.len())).min(bytes);
        self.lost((bytes - room) as u64);
        if room > 0 {
            self.tokens -= room as f64;
            self.tell_lost(restarts);
        }
        room
    }

    /// What is to be written, with unfinished lines that are older than `patience`; and whether younger ones are left.
    pub fn take(&mut self, patience: Duration) -> (Vec<u8>, bool) {
        let old: Vec<_> = self.partial.iter().filter(|(_, (since, _))| since.elapsed() >= patience).map(|(key, _)| *key).collect();
        for key in old {
            if let Some((_, line)) = self.partial.remove(&key) {
                self.line(key.0, name(key.1), None, &line);
            }
        }
        (std::mem::take(&mut self.lines), !self.partial.is_empty())
    }

    /// Counts bytes that are not kept.
    pub fn lost(&mut self, bytes: u64) {
        self.dropped += bytes;
        self.untold += bytes;
    }

    /// All bytes that were not kept.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn tell_lost(&mut self, restarts: u32) {
        // Told once there is room again, so that the telling cannot flood either.
        if self.untold > 0 && self.tokens > self.burst as f64 / 4.0 {
            let lost = std::mem::take(&mut self.untold);
            let text = format!("{lost} bytes were dropped: a pod may print {} bytes a second", self.rate);
            self.line(restarts, "host", None, text.as_bytes());
        }
    }

    fn room(&mut self) -> usize {
        let since = self.filled.elapsed().as_secs_f64();
        self.filled = Instant::now();
        self.tokens = (self.tokens + since * self.rate as f64).min(self.burst as f64);
        self.tokens.max(0.0) as usize
    }

    fn line(&mut self, restarts: u32, stream: &str, logged: Option<(&str, &str)>, text: &[u8]) {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let mut line = serde_json::json!({
            "t": format!("{:.6}", Timestamp::now()), "s": stream, "r": restarts, "m": String::from_utf8_lossy(text),
        });
        if let Some((level, context)) = logged {
            line["l"] = level.into();
            line["c"] = context.into();
        }
        self.lines.extend_from_slice(line.to_string().as_bytes());
        self.lines.push(b'\n');
    }
}

/// A line in parts that are not too long.
fn pieces(mut line: &str) -> impl Iterator<Item = &str> {
    let mut some = true;
    std::iter::from_fn(move || {
        let (part, rest) = line.split_at(line.floor_char_boundary(LINE));
        line = rest;
        std::mem::replace(&mut some, !rest.is_empty()).then_some(part)
    })
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}
