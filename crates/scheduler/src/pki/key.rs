//! The cluster's key: it wraps the CA's key and the data key, and lies in one file that the operator guards.

use std::fmt;
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Error, Result};

/// The key's file in the folder `pki`.
pub const CLUSTER_KEY: &str = "cluster.key";
/// First word of the key file, so that a later format can be told apart.
const HEADING: &str = "wctl-cluster-key-1";
/// Bytes of a key.
const KEY_LEN: usize = 32;
/// The newest layout of what is sealed, and the one that is written.
const FORMAT: u8 = 1;

/// The key in `DIR/pki/cluster.key`. Whoever has it and the store can read every secret; without it nobody can.
#[derive(Clone)]
pub struct ClusterKey(Sealer);

impl ClusterKey {
    /// The key in this file; where there is no file, a new key in a new file (0600).
    pub fn open_or_create(path: &Path) -> Result<ClusterKey> {
        match std::fs::read_to_string(path) {
            Ok(text) => ClusterKey::parse(&text).ok_or_else(|| Error::Unusable {
                path: path.display().to_string(),
                why: format!("is no cluster key (\"{HEADING} \" and 64 hex digits): restore it from a backup, nothing else opens this cluster's secrets"),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = random_key()?;
                super::file::write_private(path, format!("{HEADING} {}\n", hex::encode(key)).as_bytes())?;
                Ok(ClusterKey(Sealer::new(&key)))
            }
            Err(source) => Err(Error::File { act: "reading", path: path.display().to_string(), source }),
        }
    }

    /// Puts the key of a file into another, unless that has a key already, which must be the same.
    pub fn copy(from: &Path, to: &Path) -> Result<()> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| Error::File { act: "reading", path: path.display().to_string(), source })
        };
        let given = read(from)?;
        if ClusterKey::parse(&given).is_none() {
            return Err(Error::Unusable {
                path: from.display().to_string(),
                why: "is no cluster key: copy pki/cluster.key of one of the cluster's servers".to_owned(),
            });
        }
        if !to.exists() {
            return super::file::write_private(to, given.as_bytes());
        }
        if read(to)?.trim() == given.trim() {
            return Ok(());
        }
        Err(Error::Unusable {
            path: to.display().to_string(),
            why: format!("is another key than {}: this data folder belongs to another cluster; choose another with --data", from.display()),
        })
    }

    fn parse(text: &str) -> Option<ClusterKey> {
        let digits = text.trim().strip_prefix(HEADING)?.trim();
        let key: [u8; KEY_LEN] = hex::decode(digits).ok()?.try_into().ok()?;
        Some(ClusterKey(Sealer::new(&key)))
    }

    /// Seals a key under this one, for one purpose.
    pub fn wrap(&self, purpose: &str, key: &[u8]) -> Result<Vec<u8>> {
        self.0.close(purpose, key)
    }

    /// What [`ClusterKey::wrap`] sealed for this purpose.
    pub fn unwrap(&self, purpose: &str, wrapped: &[u8]) -> Result<Vec<u8>> {
        self.0.open(purpose, wrapped).ok_or_else(|| Error::Unusable {
            path: purpose.to_owned(),
            why: "was not wrapped with this cluster key: restore pki/cluster.key from the backup that belongs to this data folder"
                .to_owned(),
        })
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

/// AES-256-GCM with a random nonce each time; a text that is not kept with the sealed bytes binds them to their place.
#[derive(Clone)]
pub(crate) struct Sealer(std::sync::Arc<LessSafeKey>);

impl Sealer {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Sealer {
        let key = UnboundKey::new(&AES_256_GCM, key).unwrap_or_else(|_| unreachable!("{KEY_LEN} bytes are a key of this algorithm"));
        Sealer(std::sync::Arc::new(LessSafeKey::new(key)))
    }

    /// Format, nonce, ciphertext, tag.
    pub(crate) fn close(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| no_random())?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(associated(place));
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| Error::Unusable { path: place.to_owned(), why: "is too large to be sealed".to_owned() })?;
        Ok([&[FORMAT], nonce.as_slice(), &sealed].concat())
    }

    /// `None` where it was sealed with another key, for another place, or was changed since.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (&FORMAT, rest) = sealed.split_first()? else { return None };
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut rest = rest.to_vec();
        let plain = self.0.open_in_place(nonce, Aad::from(associated(place)), &mut rest).ok()?;
        Some(plain.to_vec())
    }
}

fn associated(place: &str) -> Vec<u8> {
    [&[FORMAT], place.as_bytes()].concat()
}

/// A new key.
pub(crate) fn random_key() -> Result<[u8; KEY_LEN]> {
    let mut key = [0; KEY_LEN];
    SystemRandom::new().fill(&mut key).map_err(|_| no_random())?;
    Ok(key)
}

fn no_random() -> Error {
    Error::Unusable { path: "the system's random source".to_owned(), why: "gives nothing".to_owned() }
}
