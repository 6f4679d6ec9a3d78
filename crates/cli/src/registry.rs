//! Registries: the server's own, and all others with the credentials that this user has for them.

/// A client of registries. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {}
