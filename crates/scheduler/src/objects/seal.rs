//! Secrets at rest: sealed with a data key, which the cluster's key wraps.

use super::{Error, Result};
use crate::pki::{self, ClusterKey, Sealer, random_key};
use crate::store::{Commit, Guard, Op, Store};

/// Where the wrapped data key is kept.
pub const DATA_KEY: &str = "/seal/data-key";

/// Closes and opens secrets. Cheap to clone.
#[derive(Clone)]
pub struct Seal(Sealer);

impl Seal {
    /// The seal of the cluster whose store and key these are; the data key is made on first use.
    pub async fn load(store: &dyn Store, cluster: &ClusterKey) -> Result<Seal> {
        loop {
            if let (_, Some(item)) = store.get(DATA_KEY).await? {
                return Seal::unwrap(cluster, &item.value);
            }
            let key = random_key().map_err(unreadable)?;
            let value = cluster.wrap(DATA_KEY, &key).map_err(unreadable)?.into();
            let put = Op::Put { key: DATA_KEY.to_owned(), value, lease: None };
            // On a conflict another server of this cluster was first, and its key is the one.
            if let Commit::Done(_) = store.commit(vec![Guard::Absent(DATA_KEY.to_owned())], vec![put]).await? {
                return Ok(Seal(Sealer::new(&key)));
            }
        }
    }

    /// The seal whose wrapped data key this is.
    pub fn unwrap(cluster: &ClusterKey, wrapped: &[u8]) -> Result<Seal> {
        let key = cluster.unwrap(DATA_KEY, wrapped).map_err(unreadable)?;
        let key = key.as_slice().try_into();
        let key = key.map_err(|_| Error::Unreadable { key: DATA_KEY.to_owned(), why: "it is no key".to_owned() })?;
        Ok(Seal(Sealer::new(key)))
    }

    /// A seal that nobody can open once this process has ended: for stores in memory.
    pub fn ephemeral() -> Result<Seal> {
        Ok(Seal(Sealer::new(&random_key().map_err(unreadable)?)))
    }

    /// Seals `plain` for one key of the store: under another key it cannot be opened.
    pub(super) fn close(&self, key: &str, plain: &[u8]) -> Result<Vec<u8>> {
        self.0.close(key, plain).map_err(unreadable)
    }

    pub(super) fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        self.0.open(key, sealed).ok_or_else(|| Error::Unreadable {
            key: key.to_owned(),
            why: "it was sealed with another cluster key, or changed since: restore pki/cluster.key from the backup that belongs to this store".to_owned(),
        })
    }
}

fn unreadable(error: pki::Error) -> Error {
    Error::Unreadable { key: DATA_KEY.to_owned(), why: error.to_string() }
}
