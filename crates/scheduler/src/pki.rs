//! The cluster CA and the certificates it signs.

mod file;
mod key;

pub use key::ClusterKey;
pub(crate) use key::{Sealer, random_key};

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{act} {path}: {source}")]
    File {
        /// `reading` or `writing`.
        act: &'static str,
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{path} {why}")]
    Unusable {
        /// Which file or value.
        path: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A certificate could not be made.
    #[error("making the certificate of {name}: {why}")]
    Certificate {
        /// For whom.
        name: String,
        /// Why.
        why: String,
    },
}

/// A `Result` about keys and certificates.
pub type Result<T> = std::result::Result<T, Error>;
