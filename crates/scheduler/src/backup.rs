//! A cluster in one file: everything in the store at one revision, the CA, and the registry's images, as lines of JSON that end with
//! their own checksum. The cluster's key is not in it, so that a backup alone opens no secret.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifact::blobs::{Blobs, Copies};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::freeze;
use crate::objects;
use crate::pki::{self, ClusterKey};
use crate::store::{self, Store};

mod restore;

pub use restore::restore;

/// The newest layout that this binary reads, and the one that it writes.
const FORMAT: u64 = 1;
/// Bytes of a file that one line holds.
const PART: usize = 256 << 10;
/// Items read from the store at a time.
const PAGE: usize = 500;
/// Lines that wait for whoever reads them.
const WAITING: usize = 8;
/// What belongs to the moment and not to the cluster.
const PASSING: &[&str] = &["/leader", store::BOOKMARK, freeze::KEY];
/// Where the embedded registry lies in the data folder.
const REGISTRY: &str = "registry";

/// What a server's backup is made of, besides its store.
#[derive(Debug, Clone)]
pub struct Source {
    /// The data folder.
    pub folder: PathBuf,
    /// The registry's images, which may lie in a bucket instead of in that folder.
    pub images: Blobs,
}

/// What is in a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// When it was made, RFC 3339.
    pub created: String,
    /// The revision of the store that it shows.
    pub revision: u64,
    /// How many keys of the store.
    pub keys: u64,
    /// How many blobs of the registry.
    pub blobs: u64,
    /// Bytes of values and files.
    pub bytes: u64,
    /// How many of the keys are sealed: they open only with the cluster's key.
    pub sealed: u64,
    /// How many of these were opened with the key that was at hand.
    #[serde(default)]
    pub opened: u64,
}

/// What is wrong with a backup, or with where it is to go.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, or a file of it written.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// It is no backup, cut short or changed.
    #[error("the backup is damaged at line {line}: {why}")]
    Damaged {
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A newer wctl made it.
    #[error("the backup has format {0}, and this wctl knows formats up to {FORMAT}: use the newer wctl")]
    Newer(u64),
    /// Something is there already.
    #[error("{0} is not empty: restore into an empty one")]
    NotEmpty(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The cluster's key does not fit.
    #[error(transparent)]
    Key(#[from] pki::Error),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Key { key: String, value: String },
    File { file: String, data: String },
    End { end: End },
}

#[derive(Serialize, Deserialize)]
struct End {
    keys: u64,
    blobs: u64,
    bytes: u64,
    sha256: String,
}

/// The lines of a backup of a running server; an error is the last.
pub fn lines(store: Arc<dyn Store>, source: Source) -> BoxStream<'static, io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut writer = Writer { sender, hash: Sha256::new(), end: End { keys: 0, blobs: 0, bytes: 0, sha256: String::new() } };
        if let Err(error) = write(&mut writer, store, source).await {
            tracing::warn!(%error, "a backup broke off");
            // Whoever asked may have gone.
            let _ = writer.sender.send(Err(error)).await;
        }
    });
    Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

struct Writer {
    sender: mpsc::Sender<io::Result<Bytes>>,
    hash: Sha256,
    end: End,
}

impl Writer {
    async fn line(&mut self, line: &Value) -> io::Result<()> {
        let text = format!("{line}\n");
        self.hash.update(&text);
        self.sender.send(Ok(text.into())).await.map_err(|_| io::Error::other("nobody reads it"))
    }

    async fn part(&mut self, file: &str, part: &[u8], first: bool) -> io::Result<()> {
        self.end.blobs += u64::from(first && file.starts_with("registry/blobs/"));
        self.end.bytes += part.len() as u64;
        self.line(&json!({ "file": file, "data": STANDARD.encode(part) })).await
    }

    async fn key(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        self.end.keys += 1;
        self.end.bytes += value.len() as u64;
        self.line(&json!({ "key": key, "value": STANDARD.encode(value) })).await
    }
}

async fn write(writer: &mut Writer, store: Arc<dyn Store>, source: Source) -> io::Result<()> {
    let mut page = store.list("", PAGE, None).await.map_err(io::Error::other)?;
    let created = jiff::Timestamp::now().to_string();
    writer.line(&json!({ "wctlBackup": FORMAT, "created": created, "revision": page.revision })).await?;
    let mut has_ca = false;
    loop {
        for item in page.items.iter().filter(|item| !PASSING.contains(&item.key.as_str())) {
            has_ca |= item.key == pki::SHARED_CA;
            writer.key(&item.key, &item.value).await?;
        }
        let Some(next) = page.next else { break };
        page = store.list("", PAGE, Some(next)).await.map_err(io::Error::other)?;
    }
    if !has_ca && let Some(ca) = pki::kept(&source.folder.join("pki")).map_err(io::Error::other)? {
        writer.key(pki::SHARED_CA, ca.as_bytes()).await?;
    }
    match source.images.copies().await.map_err(io::Error::other)? {
        Some(copies) => from_bucket(writer, copies).await?,
        None => {
            for file in files(&source.folder.join(REGISTRY))? {
                copy(writer, &source.folder, &file).await?;
            }
        }
    }
    writer.end.sha256 = hex::encode(writer.hash.clone().finalize());
    let end = json!({ "end": &writer.end });
    writer.line(&end).await
}

/// A file in parts. One that goes meanwhile was needed by nobody.
async fn copy(writer: &mut Writer, folder: &Path, file: &Path) -> io::Result<()> {
    use tokio::io::AsyncReadExt;
    let Ok(mut open) = tokio::fs::File::open(file).await else { return Ok(()) };
    let name =
        file.strip_prefix(folder).unwrap_or(file).components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
    let mut first = true;
    loop {
        let mut part = Vec::with_capacity(PART);
        let read = (&mut open).take(PART as u64).read_to_end(&mut part).await?;
        if read == 0 && !first {
            return Ok(());
        }
        writer.part(&name, &part, first).await?;
        first = false;
    }
}

/// What a bucket holds, as the files that a folder would have: it is restored into a folder, which is brought into a bucket from there.
async fn from_bucket(writer: &mut Writer, mut copies: Copies) -> io::Result<()> {
    while let Some(mut file) = copies.next().await.map_err(io::Error::other)? {
        let (name, mut first) = (format!("{REGISTRY}/{}", file.path), true);
        while let Some(piece) = file.bytes.try_next().await? {
            for part in piece.chunks(PART) {
                writer.part(&name, part, std::mem::take(&mut first)).await?;
            }
        }
        if first {
            writer.part(&name, &[], true).await?;
        }
    }
    Ok(())
}

/// All files that are whole, in order.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && entry.file_name() != "uploads" {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What becomes of each part of a backup while it is read.
trait Target {
    fn key(&mut self, key: String, value: Vec<u8>) -> Result<(), Error>;
    /// The next part of a file; parts of one file come one after the other.
    fn part(&mut self, file: &str, part: &[u8]) -> Result<(), Error>;
}

/// Reads a whole backup and checks everything that can be checked: the checksum, each object, each blob's digest. With the cluster's
/// key it opens what is sealed too.
pub fn check(file: &Path, key: Option<&ClusterKey>) -> Result<Contents, Error> {
    let mut checked = Checked { key, seal: None, waiting: Vec::new(), sealed: 0, opened: 0, blob: None };
    let mut contents = read(file, &mut checked)?;
    checked.finish()?;
    (contents.sealed, contents.opened) = (checked.sealed, checked.opened);
    Ok(contents)
}

struct Checked<'a> {
    key: Option<&'a ClusterKey>,
    seal: Option<objects::Seal>,
    /// Sealed objects that came before the data key.
    waiting: Vec<(String, Vec<u8>)>,
    sealed: u64,
    opened: u64,
    blob: Option<(String, Sha256)>,
}

impl Checked<'_> {
    fn open(&mut self, key: &str, value: &[u8]) -> Result<(), Error> {
        match &self.seal {
            Some(seal) => {
                objects::check(key, value, Some(seal)).map_err(|why| Error::Damaged { line: 0, why })?;
                self.opened += 1;
            }
            None => self.waiting.push((key.to_owned(), value.to_vec())),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.end_blob()?;
        if self.seal.is_some() {
            for (key, value) in std::mem::take(&mut self.waiting) {
                self.open(&key, &value)?;
            }
        }
        Ok(())
    }

    fn end_blob(&mut self) -> Result<(), Error> {
        let Some((name, hash)) = self.blob.take() else { return Ok(()) };
        if name.rsplit('/').next() == Some(&hex::encode(hash.finalize())) {
            return Ok(());
        }
        Err(Error::Damaged { line: 0, why: format!("{name} is not what its name says") })
    }
}

impl Target for Checked<'_> {
    fn key(&mut self, key: String, value: Vec<u8>) -> Result<(), Error> {
        if let (true, Some(cluster)) = (key == objects::DATA_KEY, self.key) {
            self.seal = Some(objects::Seal::unwrap(cluster, &value).map_err(|error| Error::Damaged { line: 0, why: error.to_string() })?);
        }
        if objects::check(&key, &value, None).map_err(|why| Error::Damaged { line: 0, why })? {
            self.sealed += 1;
            self.open(&key, &value)?;
        }
        Ok(())
    }

    fn part(&mut self, file: &str, part: &[u8]) -> Result<(), Error> {
        if self.blob.as_ref().is_none_or(|(name, _)| name != file) {
            self.end_blob()?;
            self.blob = file.starts_with("registry/blobs/").then(|| (file.to_owned(), Sha256::new()));
        }
        if let Some((_, hash)) = &mut self.blob {
            hash.update(part);
        }
        Ok(())
    }
}

fn read(path: &Path, target: &mut dyn Target) -> Result<Contents, Error> {
    let failed = |error| Error::File(path.display().to_string(), error);
    let mut reader = io::BufReader::new(std::fs::File::open(path).map_err(failed)?);
    let (mut contents, mut hash, mut text, mut count) = (Contents::default(), Sha256::new(), String::new(), 0);
    loop {
        text.clear();
        count += 1;
        let damaged = |why: String| Error::Damaged { line: count, why };
        let at = |error: Error| if let Error::Damaged { why, .. } = error { Error::Damaged { line: count, why } } else { error };
        match reader.read_line(&mut text) {
            Ok(0) => return Err(damaged("it ends before its end".to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(damaged("it is no text".to_owned())),
            Err(error) => return Err(failed(error)),
        }
        if count == 1 {
            let head: Value = serde_json::from_str(&text).map_err(|_| damaged("this is no backup of wctl".to_owned()))?;
            let format = head["wctlBackup"].as_u64().ok_or_else(|| damaged("this is no backup of wctl".to_owned()))?;
            if format > FORMAT {
                return Err(Error::Newer(format));
            }
            contents.created = head["created"].as_str().unwrap_or_default().to_owned();
            contents.revision = head["revision"].as_u64().unwrap_or_default();
            hash.update(&text);
            continue;
        }
        let decode = |text: &str| STANDARD.decode(text).map_err(|error| damaged(error.to_string()));
        match serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))? {
            Line::Key { key, value } => {
                let value = decode(&value)?;
                contents.keys += 1;
                contents.bytes += value.len() as u64;
                target.key(key, value).map_err(at)?;
            }
            Line::File { file, data } => {
                let data = decode(&data)?;
                contents.bytes += data.len() as u64;
                target.part(&file, &data).map_err(at)?;
            }
            Line::End { end } => {
                if end.sha256 != hex::encode(hash.finalize()) || end.keys != contents.keys || end.bytes != contents.bytes {
                    return Err(damaged("it is not what was written: the checksum differs".to_owned()));
                }
                contents.blobs = end.blobs;
                return Ok(contents);
            }
        }
        hash.update(&text);
    }
}
