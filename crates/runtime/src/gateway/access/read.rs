//! Reads the access log back: the lines of a namespace, an app or one request, and those to come.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{Access, CURRENT, OLDER};

/// Which lines are wanted: those that match all that is said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Query {
    /// Requests to services of this namespace; without it also those that led to no service.
    pub namespace: Option<String>,
    /// Requests to this App, or to a service of this name that belongs to none.
    pub app: Option<String>,
    /// Requests to this service of the App.
    pub service: Option<String>,
    /// The request of this id; calls that it led to have the same.
    pub request: Option<String>,
    /// Requests that came then or later.
    pub since: Option<Timestamp>,
    /// Only so many lines from the end of what is there.
    pub tail: Option<u64>,
    /// Go on with the lines to come.
    pub follow: bool,
}

/// What of a line says whether it is wanted.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    app: Cow<'a, str>,
    #[serde(borrow, default)]
    service: Cow<'a, str>,
}

impl Query {
    fn wants(&self, line: &[u8]) -> bool {
        // A line that was cut when this process ended is no line.
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return false };
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let app = if line.app.is_empty() { &line.service } else { &line.app };
        is(&self.namespace, &line.namespace)
            && is(&self.app, app)
            && is(&self.service, &line.service)
            && is(&self.request, &line.id)
            && self.since.is_none_or(|since| line.at.parse::<Timestamp>().is_ok_and(|at| at >= since))
    }
}

/// Longer lines are left out; a head that the gateway takes is far shorter.
const LONGEST: u64 = 1 << 20;
/// Bytes that are handed on at a time.
const CHUNK: usize = 32 << 10;
/// How long lines that are on their way to the disk are waited for.
const SETTLES: Duration = Duration::from_secs(1);

/// Where a reader that follows has come to.
#[derive(Clone, Copy)]
struct Place {
    rotations: u64,
    offset: u64,
}

/// Both files, as they are between two writes: the older one and the current one up to its place.
struct Files {
    older: Option<File>,
    current: Option<File>,
    place: Place,
}

impl Access {
    /// The lines in `folder` that `query` wants, oldest first; what was noted before the call is there. Memory does not grow with them.
    pub fn read(&self, folder: PathBuf, query: Query) -> impl Stream<Item = Bytes> + Send + use<> {
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(self.clone().send(folder, query, sender));
        futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|chunk| (chunk, receiver)) })
    }

    async fn send(self, folder: PathBuf, query: Query, sender: mpsc::Sender<Bytes>) {
        let mut done = self.0.done.subscribe();
        let noted = self.0.noted.load(Ordering::Relaxed);
        // Whoever asks right after an answer wants its line too. A disk that hangs must not hide what it has.
        let _ = tokio::time::timeout(SETTLES, done.wait_for(|done| *done >= noted)).await;
        let mut place = None;
        loop {
            done.mark_unchanged();
            let (access, folder, asked, out) = (self.clone(), folder.clone(), query.clone(), sender.clone());
            let read = tokio::task::spawn_blocking(move || access.read_on(&folder, place, &asked, &out));
            match read.await {
                Ok(Ok(now)) => place = Some(now),
                Ok(Err(error)) => return tracing::warn!(%error, "cannot read the access log"),
                Err(_) => return,
            }
            if !query.follow {
                return;
            }
            tokio::select! {
                changed = done.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    }

    fn files(&self, folder: &Path) -> io::Result<Files> {
        let rotations = self.0.files.lock();
        let current = open(&folder.join(CURRENT))?;
        let offset = current.as_ref().map_or(Ok(0), |file| file.metadata().map(|data| data.len()))?;
        Ok(Files { older: open(&folder.join(OLDER))?, current, place: Place { rotations: *rotations, offset } })
    }

    fn read_on(&self, folder: &Path, from: Option<Place>, query: &Query, out: &mpsc::Sender<Bytes>) -> io::Result<Place> {
        let Files { older, current, place } = self.files(folder)?;
        let mut parts = Vec::new();
        match from {
            None => parts.extend([(older, 0, u64::MAX), (current, 0, place.offset)]),
            Some(from) if from.rotations == place.rotations => parts.push((current, from.offset, place.offset)),
            Some(from) => {
                // What was put aside twice meanwhile is gone.
                let older = older.filter(|_| place.rotations == from.rotations + 1);
                parts.extend([(older, from.offset, u64::MAX), (current, 0, place.offset)]);
            }
        }
        let parts: Vec<_> = parts.into_iter().filter_map(|(file, start, end)| Some((file?, start, end))).collect();
        let tail = query.tail.filter(|_| from.is_none());
        let mut skip = 0;
        if let Some(tail) = tail {
            // Counted first, so that no number of lines has to be held.
            let mut count = 0u64;
            each(&parts, query, |_| {
                count += 1;
                true
            })?;
            skip = count.saturating_sub(tail);
        }
        let mut chunk = Vec::new();
        each(&parts, query, |line| {
            if skip > 0 {
                skip -= 1;
                return true;
            }
            chunk.extend_from_slice(line);
            chunk.len() < CHUNK || out.blocking_send(std::mem::take(&mut chunk).into()).is_ok()
        })?;
        if !chunk.is_empty() {
            // Whoever asked may have gone.
            let _ = out.blocking_send(chunk.into());
        }
        Ok(place)
    }
}

/// Gives each line that is wanted, with its end, until `take` wants no more.
fn each(parts: &[(File, u64, u64)], query: &Query, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut line = Vec::new();
    for (file, start, end) in parts {
        let mut file = file;
        file.seek(SeekFrom::Start(*start))?;
        let mut reader = BufReader::with_capacity(CHUNK, file.take(end.saturating_sub(*start)));
        while reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
            if line.ends_with(b"\n") && query.wants(&line) && !take(&line) {
                return Ok(());
            }
            line.clear();
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    fn line(id: &str, namespace: &str, app: &str, service: &str) -> String {
        format!(
            "{{\"at\":\"2026-11-23T08:39:19.007Z\",\"id\":\"{id}\",\"namespace\":\"{namespace}\",\"app\":\"{app}\",\"service\":\"{service}\"}}\n"
        )
    }

    async fn ids(access: &Access, folder: &Path, query: Query) -> String {
        let chunks: Vec<Bytes> = access.read(folder.to_owned(), query).collect().await;
        let text = String::from_utf8(chunks.concat()).unwrap();
        let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
        text.lines().map(id).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn lines_are_found_in_both_files_by_what_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = "{\"at\":\"2026-11-23T08:39:20Z\",\"id\":\"lost\",\"status\":404}\n";
        std::fs::write(folder.path().join(OLDER), line("1", "default", "shop", "user") + nowhere).unwrap();
        let newer = line("2", "default", "shop", "cart") + &line("3", "other", "shop", "user") + &line("4", "default", "", "lone");
        std::fs::write(folder.path().join(CURRENT), newer + "{\"at\":\"2026-11-23T08:3").unwrap();
        let access = Access::default();
        let some = |text: &str| Some(text.to_owned());
        let query = Query::default;
        for (query, wanted) in [
            (query(), "1 lost 2 3 4"),
            (Query { tail: Some(2), ..query() }, "3 4"),
            (Query { tail: Some(0), ..query() }, ""),
            (Query { namespace: some("default"), ..query() }, "1 2 4"),
            (Query { namespace: some("default"), app: some("shop"), ..query() }, "1 2"),
            (Query { app: some("shop"), service: some("user"), ..query() }, "1 3"),
            (Query { app: some("lone"), ..query() }, "4"),
            (Query { request: some("lost"), ..query() }, "lost"),
            (Query { since: Some("2026-11-23T08:39:20Z".parse().unwrap()), ..query() }, "lost"),
        ] {
            assert_eq!(ids(&access, folder.path(), query.clone()).await, wanted, "{query:?}");
        }
        assert_eq!(ids(&access, &folder.path().join("nothing"), query()).await, "");
    }

    #[tokio::test]
    async fn following_loses_nothing_when_a_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (current, older) = (folder.path().join(CURRENT), folder.path().join(OLDER));
        let access = Access::default();
        let add = |id: &str| {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&current).unwrap();
            io::Write::write_all(&mut file, line(id, "default", "a", "a").as_bytes()).unwrap();
            access.0.done.send_modify(|done| *done += 1);
        };
        add("1");
        let mut lines = std::pin::pin!(access.read(folder.path().to_owned(), Query { follow: true, tail: Some(1), ..Query::default() }));
        let mut next = async || String::from_utf8(lines.next().await.unwrap().to_vec()).unwrap();
        assert!(next().await.contains("\"1\""));
        add("2");
        assert!(next().await.contains("\"2\""));
        {
            let mut rotations = access.0.files.lock();
            let mut file = std::fs::OpenOptions::new().append(true).open(&current).unwrap();
            io::Write::write_all(&mut file, line("3", "default", "a", "a").as_bytes()).unwrap();
            std::fs::rename(&current, &older).unwrap();
            *rotations += 1;
        }
        add("4");
        let both = next().await;
        assert!(both.contains("\"3\"") && both.contains("\"4\"") && both.lines().count() == 2, "{both}");
    }
}
