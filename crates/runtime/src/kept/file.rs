//! The file of what is kept: written by a thread of its own, many changes at a time, each entry sealed for its place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use scheduler::pki::{self, ClusterKey};

/// By kind and `namespace/name`.
const OBJECTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("objects-1");
/// Kinds of which a whole list was seen.
const WHOLE: TableDefinition<&str, ()> = TableDefinition::new("whole-1");
/// Memory for pages of the file.
const CACHE: usize = 4 << 20;
/// How long changes gather before they are written.
const GATHER: Duration = Duration::from_millis(200);
/// Changes that are written at once.
const TOGETHER: usize = 4096;
/// How often it is told that nothing can be written.
const TELL: Duration = Duration::from_secs(60);

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("opening {}: {why}", path.display())]
pub struct Error {
    path: PathBuf,
    why: String,
}

/// One thing to be kept, or not any more.
pub enum Change {
    /// As it is now.
    Put {
        /// Its kind.
        kind: String,
        /// `namespace/name`
        name: String,
        /// Its resourceVersion: what is kept of the same is not written again. Empty where there is none.
        version: String,
        /// As JSON.
        bytes: Vec<u8>,
    },
    /// It is gone.
    Remove {
        /// Its kind.
        kind: String,
        /// `namespace/name`
        name: String,
    },
    /// All but these are gone, and these are all.
    Only {
        /// Their kind.
        kind: String,
        /// `namespace/name`
        names: Vec<String>,
    },
}

/// The file and its thread, which ends with it.
pub struct File {
    inner: Arc<Inner>,
    changes: mpsc::Sender<Change>,
}

struct Inner {
    database: Database,
    key: ClusterKey,
    /// Of each name a hash of the version that is kept.
    versions: Mutex<HashMap<u64, u64>>,
}

impl File {
    pub fn open(folder: &Path) -> Result<File, Error> {
        let (path, key) = (folder.join("kept.redb"), folder.join("kept.key"));
        let failed = |why: String| Error { path: path.clone(), why };
        std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
        let key = match ClusterKey::open_or_create(&key) {
            Ok(key) => key,
            Err(pki::Error::Unusable { .. }) => {
                // What it sealed is lost with it; the server has it all.
                tracing::warn!("{} cannot be read: what was kept here is forgotten", key.display());
                std::fs::remove_file(&key).map_err(|error| failed(error.to_string()))?;
                ClusterKey::open_or_create(&key).map_err(|error| failed(error.to_string()))?
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let open = || {
            let database = Database::builder().set_cache_size(CACHE).create(&path).map_err(redb::Error::from)?;
            made(&database).map(|()| database)
        };
        let database = match open() {
            Ok(database) => database,
            Err(error @ redb::Error::DatabaseAlreadyOpen) => return Err(failed(error.to_string())),
            Err(error) => {
                let aside = path.with_extension("unreadable");
                tracing::warn!(%error, "{} cannot be read and is put aside", path.display());
                std::fs::rename(&path, &aside).map_err(|error| failed(error.to_string()))?;
                open().map_err(|error| failed(error.to_string()))?
            }
        };
        let inner = Arc::new(Inner { database, key, versions: Mutex::default() });
        let (changes, waiting) = mpsc::channel();
        let writer = inner.clone();
        let thread = std::thread::Builder::new().name("kept".into());
        thread.spawn(move || writer.write_all(&waiting)).map_err(|error| failed(error.to_string()))?;
        Ok(File { inner, changes })
    }

    /// Keeps it soon. What cannot be written is told in the log, and stops nothing.
    pub fn write(&self, change: Change) {
        // The thread lives as long as this.
        let _ = self.changes.send(change);
    }

    /// One entry.
    pub fn get(&self, kind: &str, name: &str) -> Option<Vec<u8>> {
        let table = self.inner.database.begin_read().ok()?.open_table(OBJECTS).ok()?;
        let sealed = table.get((kind, name)).ok()??;
        self.inner.key.unwrap(&place(kind, name), sealed.value()).ok()
    }

    /// All of a kind, once a whole list of it was kept.
    pub fn list(&self, kind: &str) -> Option<Vec<Vec<u8>>> {
        let read = self.inner.database.begin_read().ok()?;
        read.open_table(WHOLE).ok()?.get(kind).ok()??;
        let table = read.open_table(OBJECTS).ok()?;
        let entries = table.range((kind, "")..).ok()?.map_while(Result::ok);
        let own = entries.take_while(|(key, _)| key.value().0 == kind);
        Some(own.filter_map(|(key, sealed)| self.inner.key.unwrap(&place(kind, key.value().1), sealed.value()).ok()).collect())
    }
}

fn made(database: &Database) -> Result<(), redb::Error> {
    let tables = database.begin_write()?;
    tables.open_table(OBJECTS)?;
    tables.open_table(WHOLE)?;
    Ok(tables.commit()?)
}

/// What an entry is sealed for, so that none can stand in for another.
fn place(kind: &str, name: &str) -> String {
    format!("kept/{kind}/{name}")
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Inner {
    fn write_all(&self, waiting: &mpsc::Receiver<Change>) {
        let mut told: Option<Instant> = None;
        while let Ok(first) = waiting.recv() {
            let mut changes = vec![first];
            let until = Instant::now() + GATHER;
            while changes.len() < TOGETHER
                && let Ok(change) = waiting.recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                changes.push(change);
            }
            if let Err(error) = self.commit(changes)
                && told.is_none_or(|told| told.elapsed() > TELL)
            {
                told = Some(Instant::now());
                self.versions.lock().clear();
                tracing::warn!(%error, "what the server says cannot be kept: without it this node cannot start while the server is away");
            }
        }
    }

    fn commit(&self, changes: Vec<Change>) -> Result<(), redb::Error> {
        let fresh = |change: &Change| match change {
            Change::Put { kind, name, version, .. } if !version.is_empty() => {
                self.versions.lock().insert(hash((kind, name)), hash(version)) != Some(hash(version))
            }
            _ => true,
        };
        let changes: Vec<Change> = changes.into_iter().filter(fresh).collect();
        if changes.is_empty() {
            return Ok(());
        }
        let write = self.database.begin_write()?;
        {
            let (mut objects, mut whole) = (write.open_table(OBJECTS)?, write.open_table(WHOLE)?);
            for change in changes {
                match change {
                    Change::Put { kind, name, bytes, .. } => {
                        // Without randomness nothing is sealed, and nothing unsealed is written.
                        let Ok(sealed) = self.key.wrap(&place(&kind, &name), &bytes) else { continue };
                        objects.insert((&*kind, &*name), &*sealed)?;
                    }
                    Change::Remove { kind, name } => {
                        self.versions.lock().remove(&hash((&kind, &name)));
                        objects.remove((&*kind, &*name))?;
                        if kind == PODS {
                            forget_values(&mut objects)?;
                        }
                    }
                    Change::Only { kind, names } => {
                        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
                        let gone = |name: &str| !names.contains(name);
                        remove(&mut objects, &kind, gone)?;
                        whole.insert(&*kind, ())?;
                        if kind == PODS {
                            forget_values(&mut objects)?;
                        }
                    }
                }
            }
        }
        Ok(write.commit()?)
    }
}

const PODS: &str = "pods";
/// The kinds under which Secrets and ConfigMaps are kept.
const VALUES: [&str; 2] = ["Secret", "ConfigMap"];

type Objects<'t> = redb::Table<'t, (&'static str, &'static str), &'static [u8]>;

/// Values of a namespace are kept for as long as this node has a pod of it.
fn forget_values(objects: &mut Objects<'_>) -> Result<(), redb::Error> {
    let mut used: BTreeMap<String, ()> = BTreeMap::new();
    for entry in objects.range((PODS, "")..)? {
        let (key, _) = entry?;
        let (kind, name) = key.value();
        if kind != PODS {
            break;
        }
        used.insert(namespace(name).to_owned(), ());
    }
    VALUES.iter().try_for_each(|kind| remove(objects, kind, |name| !used.contains_key(namespace(name))))
}

fn namespace(name: &str) -> &str {
    name.split_once('/').map_or("", |(namespace, _)| namespace)
}

fn remove(objects: &mut Objects<'_>, kind: &str, gone: impl Fn(&str) -> bool) -> Result<(), redb::Error> {
    let mut names = Vec::new();
    for entry in objects.range((kind, "")..)? {
        let (key, _) = entry?;
        let (of, name) = key.value();
        if of != kind {
            break;
        }
        if gone(name) {
            names.push(name.to_owned());
        }
    }
    names.iter().try_for_each(|name| objects.remove((kind, &**name)).map(drop)).map_err(Into::into)
}
