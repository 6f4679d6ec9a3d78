//! Packs WASI components as OCI artifacts, moves them to and from registries, keeps them on disk, and says what they can do.

pub mod blobs;
pub mod credentials;
pub mod digest;
mod disk;
pub mod files;
pub mod inspect;
pub mod manifest;
pub mod pack;
pub mod reference;
pub mod registry;
pub mod s3;
pub mod server;

pub use digest::Digest;
pub use reference::Reference;
