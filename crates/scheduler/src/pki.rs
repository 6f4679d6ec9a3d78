//! The cluster CA and the certificates it signs.
