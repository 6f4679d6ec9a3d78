//! Volumes: folders of this node that outlive pods, one for each service of an App and place, removed with the App.

mod chore;
mod tree;
mod usage;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

pub use chore::Chore;
pub(crate) use usage::{FileId, Full, Used};
pub use usage::{NAME, Volume};

/// Which volume. All pods of a service on this node share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumeId {
    /// The namespace.
    pub namespace: String,
    /// The App; what belongs to none has no volumes, since nothing would say when they may go.
    pub app: String,
    /// The service.
    pub service: String,
    /// Where the guest sees it: `/data`.
    pub path: String,
}

impl VolumeId {
    /// The folder of all volumes of the App, and this one's within it.
    fn folders(&self) -> (String, String) {
        (app_folder(&self.namespace, &self.app), format!("{}_{}", plain(&self.service), plain(self.path.trim_start_matches('/'))))
    }
}

fn app_folder(namespace: &str, app: &str) -> String {
    format!("{}_{}", plain(namespace), plain(app))
}

/// A text as part of a file name on every system: what is not a small letter, a digit or `-` is written as `%` and two hex digits.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    out
}

fn unplain(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.extend(hex::decode(after.get(..2)?).ok()?);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// All volumes of a node.
pub struct Volumes {
    root: PathBuf,
    open: Mutex<HashMap<VolumeId, Weak<Volume>>>,
}

/// Volumes of Apps that are gone and could not be deleted yet.
const TRASH: &str = "gone";

impl Volumes {
    /// The volumes in a folder, which is made if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Volumes> {
        let root = root.into();
        fs::create_dir_all(root.join(TRASH))?;
        Ok(Volumes { root, open: Mutex::default() })
    }

    /// One volume, made if it is new. Counts what it holds if nobody on this node has it yet, which takes a while: not for async code.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn volume(&self, id: &VolumeId) -> io::Result<Arc<Volume>> {
        // Held while it is counted: two values for one folder would each count half of what is written.
        let mut open = self.open.lock();
        if let Some(volume) = open.get(id).and_then(Weak::upgrade) {
            return Ok(volume);
        }
        let (app, own) = id.folders();
        let folder = self.root.join(app).join(own);
        fs::create_dir_all(&folder)?;
        let volume = Volume::counted(folder)?;
        open.retain(|_, volume| volume.strong_count() > 0);
        open.insert(id.clone(), Arc::downgrade(&volume));
        Ok(volume)
    }

    /// The Apps (namespace, name) that have volumes here and no pod that holds one.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn unused(&self) -> io::Result<Vec<(String, String)>> {
        let mut apps = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            let parts = name.to_str().and_then(|name| name.split_once('_'));
            apps.extend(parts.and_then(|(namespace, app)| Some((unplain(namespace)?, unplain(app)?))));
        }
        let open = self.open.lock();
        apps.retain(|app| !held(&open, app));
        Ok(apps)
    }

    /// Removes the volumes of an App, unless a pod holds one meanwhile. Whether it did.
    ///
    /// # Errors
    /// When a file cannot be removed; what is left goes with the next call.
    pub fn remove(&self, namespace: &str, app: &str) -> io::Result<bool> {
        let open = self.open.lock();
        if held(&open, &(namespace.to_owned(), app.to_owned())) {
            return Ok(false);
        }
        let aside = self.root.join(TRASH).join(uuid::Uuid::new_v4().to_string());
        fs::rename(self.root.join(app_folder(namespace, app)), aside)?;
        drop(open);
        self.empty_trash()?;
        Ok(true)
    }

    fn empty_trash(&self) -> io::Result<()> {
        fs::read_dir(self.root.join(TRASH))?.try_for_each(|entry| tree::remove(&entry?.path()))
    }

    /// The folder of all volumes.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn held(open: &HashMap<VolumeId, Weak<Volume>>, (namespace, app): &(String, String)) -> bool {
    open.iter().any(|(id, volume)| id.namespace == *namespace && id.app == *app && volume.strong_count() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(app: &str, path: &str) -> VolumeId {
        VolumeId { namespace: "default".into(), app: app.into(), service: "user".into(), path: path.into() }
    }

    fn volumes() -> (tempfile::TempDir, Volumes) {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(folder.path()).unwrap();
        (folder, volumes)
    }

    #[test]
    fn a_volume_is_kept_and_counted_again() {
        let (_folder, volumes) = volumes();
        let first = volumes.volume(&id("shop", "/data")).unwrap();
        assert!(Arc::ptr_eq(&first, &volumes.volume(&id("shop", "/data")).unwrap()), "one value while somebody has it");
        fs::write(first.folder().join("a"), [0; 100]).unwrap();
        drop(first);
        assert_eq!(volumes.volume(&id("shop", "/data")).unwrap().bytes(), NAME + 100);
    }

    #[test]
    fn h29_no_two_names_share_a_folder_and_none_leads_out() {
        let (_folder, volumes) = volumes();
        let odd = ["/data", "/Data", "/data/x", "/data_x", "/data%2Fx", "/..%2f..", "/../../x", "/con", "/a:b", "/ü"];
        let mut folders: Vec<_> = odd.iter().map(|path| volumes.volume(&id("shop", path)).unwrap().folder().to_owned()).collect();
        assert!(folders.iter().all(|folder| folder.parent() == Some(&volumes.root().join("default_shop"))), "{folders:?}");
        folders.dedup_by_key(|folder| folder.to_string_lossy().to_lowercase());
        assert_eq!(folders.len(), odd.len());
        assert_eq!(unplain(&plain("Ü/%_x")).as_deref(), Some("Ü/%_x"));
    }

    #[test]
    fn volumes_go_with_their_app_but_not_under_a_pod() {
        let (_folder, volumes) = volumes();
        let held = volumes.volume(&id("shop", "/data")).unwrap();
        volumes.volume(&id("other", "/data")).unwrap();
        fs::create_dir_all(held.folder().join("a/b")).unwrap();
        assert_eq!(volumes.unused().unwrap(), [("default".to_owned(), "other".to_owned())]);
        assert!(!volumes.remove("default", "shop").unwrap());
        let folder = held.folder().to_owned();
        drop(held);
        assert!(volumes.remove("default", "shop").unwrap());
        assert!(!folder.exists() && fs::read_dir(volumes.root().join(TRASH)).unwrap().next().is_none());
        assert_eq!(volumes.unused().unwrap(), [("default".to_owned(), "other".to_owned())]);
    }
}
