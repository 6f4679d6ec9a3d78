//! Reads a pod's log: its end, from a moment on, of the instance before, or on and on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{CURRENT, OLDER, PodLog};

/// Which part of a log is wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Go on with what will be printed.
    pub follow: bool,
    /// Only so many lines from the end of what is there.
    pub tail: Option<usize>,
    /// Only what was printed then or later.
    pub since: Option<Timestamp>,
    /// Of the instance before the last one, instead of all.
    pub previous: bool,
    /// Each line starts with the time at which it was printed.
    pub timestamps: bool,
}

#[derive(Deserialize)]
struct Line {
    t: String,
    r: u32,
    m: String,
    /// Level and context of what was logged and not printed.
    l: Option<String>,
    #[serde(default)]
    c: String,
}

impl Line {
    /// As people read it: `WARN auth: no such user`, or what was printed.
    fn text(&self) -> String {
        match &self.l {
            None => self.m.clone(),
            Some(level) if self.c.is_empty() => format!("{level} {}", self.m),
            Some(level) => format!("{level} {}: {}", self.c, self.m),
        }
    }
}

/// Where a reader is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    rotations: u64,
    offset: u64,
}

const CHUNK: usize = 32 << 10;

impl PodLog {
    /// The lines that `query` wants, as text. Ends with what is there, or with the reader when it follows.
    pub fn read(self: &Arc<PodLog>, query: Query) -> impl Stream<Item = Bytes> + Send + use<> {
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(self.clone().send(query, sender));
        futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|chunk| (chunk, receiver)) })
    }

    /// Whether there are lines of the instance before the last one.
    pub async fn has_previous(self: &Arc<PodLog>) -> bool {
        let log = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _files = log.files.lock();
            let files = [(open(log.folder.join(OLDER))?, u64::MAX), (open(log.folder.join(CURRENT))?, u64::MAX)];
            previous_of(&files)
        });
        matches!(looked.await, Ok(Ok(Some(_))))
    }

    async fn send(self: Arc<PodLog>, query: Query, sender: mpsc::Sender<Bytes>) {
        let follow = query.follow && !query.previous;
        let mut place = None;
        loop {
            // From before the look, so that nothing is written unseen in between.
            let mut written = std::pin::pin!(self.written.notified());
            written.as_mut().enable();
            let (log, asked, out) = (self.clone(), query.clone(), sender.clone());
            let read = tokio::task::spawn_blocking(move || match place {
                None => log.read_all(&asked, &out),
                Some(place) => log.read_on(place, &asked, &out),
            });
            match read.await {
                Ok(Ok(now)) => place = Some(now),
                Ok(Err(error)) => return tracing::warn!(%error, "cannot read a pod's log"),
                Err(_) => return,
            }
            if !follow {
                return;
            }
            tokio::select! {
                () = written => {}
                () = sender.closed() => return,
            }
        }
    }

    fn read_all(&self, query: &Query, out: &mpsc::Sender<Bytes>) -> io::Result<Place> {
        let (older, current, place) = {
            // Between two writes, so that no line is seen twice or cut.
            let _files = self.files.lock();
            let current = open(self.folder.join(CURRENT))?;
            let offset = current.as_ref().map_or(Ok(0), |file| file.metadata().map(|data| data.len()))?;
            (open(self.folder.join(OLDER))?, current, Place { rotations: self.rotations.load(Ordering::Acquire), offset })
        };
        let files = [(older, u64::MAX), (current, place.offset)];
        let wanted = if query.previous { previous_of(&files)? } else { None };
        if query.previous && wanted.is_none() {
            return Ok(place);
        }
        let mut text = Text::new(query, wanted, out);
        for (file, end) in files.into_iter().filter_map(|(file, end)| file.map(|file| (file, end))) {
            text.take(file, 0, end)?;
        }
        text.end();
        Ok(place)
    }

    fn read_on(&self, from: Place, query: &Query, out: &mpsc::Sender<Bytes>) -> io::Result<Place> {
        let (older, current, place) = {
            let _files = self.files.lock();
            let current = open(self.folder.join(CURRENT))?;
            let offset = current.as_ref().map_or(Ok(0), |file| file.metadata().map(|data| data.len()))?;
            (open(self.folder.join(OLDER))?, current, Place { rotations: self.rotations.load(Ordering::Acquire), offset })
        };
        let all = Query { tail: None, ..query.clone() };
        let mut text = Text::new(&all, None, out);
        let mut start = from.offset;
        if place.rotations != from.rotations {
            if let (Some(older), true) = (older, place.rotations == from.rotations + 1) {
                text.take(older, from.offset, u64::MAX)?;
            }
            start = 0;
        }
        if let Some(current) = current {
            text.take(current, start, place.offset)?;
        }
        text.end();
        Ok(place)
    }
}

fn open(path: std::path::PathBuf) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The restart count before the last one in the files.
fn previous_of(files: &[(Option<File>, u64)]) -> io::Result<Option<u32>> {
    let mut counts = Vec::new();
    for (file, end) in files.iter().filter_map(|(file, end)| file.as_ref().map(|file| (file, *end))) {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        for line in BufReader::new(file.take(end)).split(b'\n') {
            if let Ok(line) = serde_json::from_slice::<Line>(&line?)
                && counts.last() != Some(&line.r)
            {
                counts.push(line.r);
            }
        }
    }
    let last = counts.iter().max().copied();
    Ok(counts.into_iter().filter(|count| Some(*count) != last).max())
}

/// Lines on their way to a reader.
struct Text<'a> {
    query: &'a Query,
    restarts: Option<u32>,
    out: &'a mpsc::Sender<Bytes>,
    tail: VecDeque<String>,
    chunk: String,
    closed: bool,
}

impl<'a> Text<'a> {
    fn new(query: &'a Query, restarts: Option<u32>, out: &'a mpsc::Sender<Bytes>) -> Text<'a> {
        Text { query, restarts, out, tail: VecDeque::new(), chunk: String::new(), closed: false }
    }

    fn take(&mut self, mut file: File, start: u64, end: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(start))?;
        for line in BufReader::new(file.take(end.saturating_sub(start))).split(b'\n') {
            // A line that was cut by a crash of this process is no line.
            if let Ok(line) = serde_json::from_slice::<Line>(&line?) {
                self.line(line);
            }
            if self.closed {
                return Ok(());
            }
        }
        Ok(())
    }

    fn line(&mut self, line: Line) {
        let late = self.query.since.is_none_or(|since| line.t.parse::<Timestamp>().is_ok_and(|at| at >= since));
        if !late || self.restarts.is_some_and(|wanted| wanted != line.r) {
            return;
        }
        let text = line.text();
        let text = if self.query.timestamps { format!("{} {text}\n", line.t) } else { format!("{text}\n") };
        match self.query.tail {
            Some(most) => {
                self.tail.push_back(text);
                if self.tail.len() > most {
                    self.tail.pop_front();
                }
            }
            None => self.push(&text),
        }
    }

    fn push(&mut self, text: &str) {
        self.chunk.push_str(text);
        if self.chunk.len() >= CHUNK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.chunk.is_empty() {
            let chunk = Bytes::from(std::mem::take(&mut self.chunk));
            self.closed = self.out.blocking_send(chunk).is_err();
        }
    }

    fn end(mut self) {
        for line in std::mem::take(&mut self.tail) {
            self.push(&line);
        }
        self.flush();
    }
}
