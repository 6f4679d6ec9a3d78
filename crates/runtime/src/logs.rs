//! What guests print: bounded, rotated files for each pod, readable after its death.

mod gather;
mod read;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::gateway::local::Identity;
use crate::sandbox::{Entry, Output, Stream};
use gather::Gather;
pub use read::Query;

/// How much is kept.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one file; a pod has two at most.
    pub file: u64,
    /// Bytes a second that a pod may print on and on.
    pub rate: u64,
    /// Bytes that it may print at once.
    pub burst: u64,
    /// Bytes that all pods that are gone may keep together.
    pub dead: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { file: 5 << 20, rate: 1 << 20, burst: 4 << 20, dead: 256 << 20 }
    }
}

/// The logs of a node. Cheap to clone.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    root: PathBuf,
    limits: Limits,
    pods: DashMap<String, Arc<PodLog>>,
    writer: Arc<Writer>,
}

/// The log of one pod.
pub struct PodLog {
    folder: PathBuf,
    limits: Limits,
    gather: Mutex<Gather>,
    queued: AtomicBool,
    files: Mutex<()>,
    rotations: AtomicU64,
    written: Notify,
    writer: Arc<Writer>,
}

/// The thread that brings lines to disk, so that no guest waits for it and no idle pod keeps a file open.
#[derive(Default)]
struct Writer {
    queue: Mutex<Queue>,
    some: Condvar,
}

#[derive(Default)]
struct Queue {
    pods: Vec<Arc<PodLog>>,
    stop: bool,
}

/// How long lines gather before they are written.
const GATHER: Duration = Duration::from_millis(5);
/// How long a line without an end is waited for.
const PARTIAL: Duration = Duration::from_millis(500);

impl Logs {
    /// Opens the folder of a node's logs, and makes it if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: impl Into<PathBuf>, limits: Limits) -> io::Result<Logs> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        let writer = Arc::new(Writer::default());
        let thread = writer.clone();
        std::thread::Builder::new().name("logs".into()).spawn(move || thread.run())?;
        Ok(Logs(Arc::new(Inner { root, limits, pods: DashMap::new(), writer })))
    }

    /// The log of a pod that runs here.
    pub fn pod(&self, namespace: &str, pod: &str, uid: &str) -> Arc<PodLog> {
        let fresh = || {
            let folder = self.0.root.join(format!("{namespace}_{pod}_{uid}"));
            Arc::new(PodLog::new(folder, self.0.limits.clone(), self.0.writer.clone()))
        };
        self.0.pods.entry(uid.to_owned()).or_insert_with(fresh).clone()
    }

    /// Takes what the instance of a pod with this restart count prints. Most pods never print, so a log is made for the first line.
    pub fn output(&self, pod: Arc<Identity>, restarts: u32) -> Arc<dyn Output> {
        Arc::new(OfInstance { logs: self.clone(), pod, restarts, log: OnceLock::new() })
    }

    /// The log of a pod that runs here, or once did; the newest of that name when `uid` is empty.
    pub fn find(&self, namespace: &str, pod: &str, uid: &str) -> Option<Arc<PodLog>> {
        if let Some(log) = self.0.pods.get(uid) {
            return Some(log.clone());
        }
        let prefix = format!("{namespace}_{pod}_");
        let is_it = |name: &str| name.strip_prefix(&prefix).is_some_and(|rest| uid.is_empty() || rest == uid);
        let folders = fs::read_dir(&self.0.root).ok()?.flatten().filter(|entry| is_it(&entry.file_name().to_string_lossy()));
        let newest = folders.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH))?;
        let uid = newest.file_name().to_string_lossy().rsplit('_').next().unwrap_or_default().to_owned();
        let alive = self.0.pods.get(&uid).map(|log| log.clone());
        Some(alive.unwrap_or_else(|| Arc::new(PodLog::new(newest.path(), self.0.limits.clone(), self.0.writer.clone()))))
    }

    /// The pod is gone; its files stay until newer dead ones need the room.
    pub fn retire(&self, uid: &str) {
        if let Some((_, log)) = self.0.pods.remove(uid) {
            log.flush(true);
        }
        if let Err(error) = self.prune() {
            tracing::warn!(%error, "cannot prune old logs");
        }
    }

    /// Drops the oldest logs of dead pods while they hold more than the limit. Bytes that were freed.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn prune(&self) -> io::Result<u64> {
        let mut dead = Vec::new();
        for entry in fs::read_dir(&self.0.root)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let uid = name.rsplit('_').next().unwrap_or_default();
            if entry.path().is_dir() && !self.0.pods.contains_key(uid) {
                dead.push((modified(&entry.path()), size(&entry.path()), entry.path()));
            }
        }
        dead.sort();
        let mut held: u64 = dead.iter().map(|(_, size, _)| size).sum();
        let mut freed = 0;
        for (_, size, folder) in dead {
            if held <= self.0.limits.dead {
                break;
            }
            fs::remove_dir_all(folder)?;
            held -= size;
            freed += size;
        }
        Ok(freed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.writer.queue.lock().stop = true;
        self.writer.some.notify_one();
    }
}

fn modified(folder: &Path) -> SystemTime {
    fs::metadata(folder.join(CURRENT)).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn size(folder: &Path) -> u64 {
    [CURRENT, OLDER].iter().filter_map(|name| fs::metadata(folder.join(name)).ok()).map(|data| data.len()).sum()
}

const CURRENT: &str = "log";
const OLDER: &str = "log.1";

impl PodLog {
    fn new(folder: PathBuf, limits: Limits, writer: Arc<Writer>) -> PodLog {
        PodLog {
            folder,
            gather: Mutex::new(Gather::new(limits.rate, limits.burst)),
            limits,
            queued: AtomicBool::new(false),
            files: Mutex::new(()),
            rotations: AtomicU64::new(0),
            written: Notify::new(),
            writer,
        }
    }

    /// Bytes that were not kept because the pod printed too much.
    pub fn dropped(&self) -> u64 {
        self.gather.lock().dropped()
    }

    fn queue(self: &Arc<PodLog>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.writer.queue.lock().pods.push(self.clone());
            self.writer.some.notify_one();
        }
    }

    /// Brings gathered lines to disk; with `all`, unfinished ones too. Whether unfinished ones are left.
    fn flush(&self, all: bool) -> bool {
        let _files = self.files.lock();
        let (lines, left) = self.gather.lock().take(if all { Duration::ZERO } else { PARTIAL });
        if !lines.is_empty() {
            if let Err(error) = self.append(&lines) {
                self.gather.lock().lost(lines.len() as u64);
                tracing::warn!(%error, folder = %self.folder.display(), "cannot write a pod's log");
            }
            self.written.notify_waiters();
        }
        left
    }

    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let current = self.folder.join(CURRENT);
        let mut file = self.open(&current)?;
        if file.metadata()?.len() + lines.len() as u64 > self.limits.file && file.metadata()?.len() > 0 {
            drop(file);
            fs::rename(&current, self.folder.join(OLDER))?;
            self.rotations.fetch_add(1, Ordering::AcqRel);
            file = self.open(&current)?;
        }
        file.write_all(lines)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let open = || OpenOptions::new().create(true).append(true).open(path);
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.folder)?;
                open()
            }
            other => other,
        }
    }
}

struct OfInstance {
    logs: Logs,
    pod: Arc<Identity>,
    restarts: u32,
    log: OnceLock<Arc<PodLog>>,
}

impl OfInstance {
    fn opened(&self) -> &Arc<PodLog> {
        self.log.get_or_init(|| self.logs.pod(&self.pod.namespace, &self.pod.pod, &self.pod.uid))
    }
}

impl Output for OfInstance {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let log = self.opened();
        log.gather.lock().add(self.restarts, stream, bytes);
        log.queue();
    }

    fn log(&self, entry: &Entry<'_>) {
        let log = self.opened();
        log.gather.lock().log(self.restarts, entry);
        log.queue();
    }
}

impl Writer {
    fn run(&self) {
        let mut unfinished: Vec<Arc<PodLog>> = Vec::new();
        loop {
            let mut queue = self.queue.lock();
            if queue.pods.is_empty() && !queue.stop {
                if unfinished.is_empty() {
                    self.some.wait(&mut queue);
                } else {
                    self.some.wait_for(&mut queue, PARTIAL);
                }
            }
            let stop = queue.stop;
            drop(queue);
            if !stop {
                std::thread::sleep(GATHER);
            }
            let pods = std::mem::take(&mut self.queue.lock().pods);
            unfinished.extend(pods);
            unfinished.retain(|log| {
                log.queued.store(false, Ordering::Release);
                log.flush(stop) && !log.queued.load(Ordering::Acquire)
            });
            if stop {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
