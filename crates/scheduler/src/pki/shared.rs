//! The CA that several servers share: its certificate and its wrapped key lie in the store, the key that opens them does not.

use std::path::Path;

use super::{CLUSTER_KEY, ClusterKey, purpose, read, unusable};
use crate::store::{self, Commit, Guard, Op, Store};

/// The CA's certificate and its key, wrapped with the cluster's key.
pub const CA: &str = "/pki/ca";
/// The newest layout of what is kept there, and the one that is written.
const FORMAT: u64 = 1;

/// Why the CA of a shared store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A key or certificate is not what it should be.
    #[error(transparent)]
    Pki(#[from] super::Error),
    /// A newer wctl wrote it.
    #[error("the cluster in this etcd was made by a newer wctl (format {0}); update wctl")]
    Newer(u64),
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    format: u64,
    ca: String,
    /// Base64.
    key: String,
}

/// Makes the CA in a folder that of the store: takes it from there, or puts it there where the store is new.
pub async fn share(store: &dyn Store, folder: &Path) -> Result<(), Error> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let (key_file, ca_file, wrapped_file) = (folder.join(CLUSTER_KEY), folder.join("ca.crt"), folder.join("ca.key"));
    loop {
        if let (_, Some(item)) = store.get(CA).await? {
            let broken = |_| unusable(Path::new(CA), "cannot be read: restore it from a backup");
            let kept: Kept = serde_json::from_slice(&item.value).map_err(|error| broken(error.to_string()))?;
            if kept.format > FORMAT {
                return Err(Error::Newer(kept.format));
            }
            if !key_file.exists() {
                let why = "is missing, and the cluster in this etcd has one: copy pki/cluster.key of one of its servers there, or name it with --cluster-key FILE";
                return Err(unusable(&key_file, why).into());
            }
            let wrapped = STANDARD.decode(&kept.key).map_err(|error| broken(error.to_string()))?;
            let key = ClusterKey::open_or_create(&key_file)?;
            key.unwrap(&purpose(&wrapped_file), &wrapped).map_err(|_| {
                unusable(&key_file, "is not the key of the cluster in this etcd: copy pki/cluster.key of one of its servers")
            })?;
            if read(&ca_file)?.as_deref() != Some(kept.ca.as_bytes()) {
                super::write_private(&wrapped_file, &wrapped)?;
                super::write_private(&ca_file, kept.ca.as_bytes())?;
                // It was signed by the CA that was here before.
                let _ = std::fs::remove_file(folder.join("server.crt"));
            }
            return Ok(());
        }
        super::Authority::open_or_create(folder)?;
        let value = self::kept(folder)?.unwrap_or_default().into();
        let put = Op::Put { key: CA.to_owned(), value, lease: None };
        // On a conflict another server was first, and its CA is the one.
        if let Commit::Done(_) = store.commit(vec![Guard::Absent(CA.to_owned())], vec![put]).await? {
            return Ok(());
        }
    }
}

/// A folder's CA as it is kept in a shared store and in backups; none where there is none.
pub fn kept(folder: &Path) -> super::Result<Option<String>> {
    use base64::Engine;
    let (Some(ca), Some(wrapped)) = (read(&folder.join("ca.crt"))?, read(&folder.join("ca.key"))?) else { return Ok(None) };
    let key = base64::engine::general_purpose::STANDARD.encode(wrapped);
    let kept = Kept { format: FORMAT, ca: String::from_utf8_lossy(&ca).into_owned(), key };
    Ok(Some(serde_json::json!(kept).to_string()))
}
