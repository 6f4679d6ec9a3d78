//! How two nodes prove to each other who they are.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use scheduler::pki::{NodeIdentity, node_host, node_of};

/// A node's identity, ready for both ends of a connection: certificates of the cluster's CA on both sides, HTTP/2 alone.
pub struct Tls {
    /// For the end that dials.
    pub client: Arc<ClientConfig>,
    /// For the end that answers.
    pub server: Arc<ServerConfig>,
}

impl Tls {
    /// Of this identity.
    ///
    /// # Errors
    /// When key and certificate do not belong together.
    pub fn new(identity: &NodeIdentity) -> Result<Tls, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(identity.ca.clone())?;
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![identity.certificate.clone()];
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), identity.key.clone_key())?;
        // A session that is resumed would skip the look at a certificate that has ended since.
        client.resumption = Resumption::disabled();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, identity.key.clone_key())?;
        server.send_tls13_tickets = 0;
        client.alpn_protocols = vec![b"h2".to_vec()];
        server.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Tls { client: Arc::new(client), server: Arc::new(server) })
    }
}

/// The name that a node's certificate must have.
pub fn name(node: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(node_host(node)).ok()
}

/// The node at the other end of a connection, by the certificate that the handshake has checked.
pub fn node(certificates: Option<&[CertificateDer<'_>]>) -> Option<String> {
    node_of(certificates?.first()?)
}
