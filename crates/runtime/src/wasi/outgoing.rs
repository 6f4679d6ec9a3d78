//! Outgoing HTTP: granted targets only, addresses checked before any connection.

/// A pooled HTTP client that connects only where it was told to. One for a node.
pub struct Client {
    roots: Vec<rustls::pki_types::CertificateDer<'static>>,
}

impl Client {
    /// A client that trusts the public web's certificate authorities and `roots`.
    pub fn new(roots: Vec<rustls::pki_types::CertificateDer<'static>>) -> Self {
        Self { roots }
    }

    /// Authorities that are trusted besides the public ones.
    pub fn extra_roots(&self) -> usize {
        self.roots.len()
    }
}
