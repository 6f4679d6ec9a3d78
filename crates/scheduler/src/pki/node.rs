//! Certificates of nodes: who may ask and answer on the port between nodes.

use std::path::Path;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use super::{Authority, Error, Result, SKEW, read, unusable, write_private};

/// How long a node's certificate is good for.
const NODE_DAYS: i64 = 90;
/// A node asks for the next one when less than this is left.
const NODE_RENEW_DAYS: i64 = 60;
/// What Kubernetes calls the group of all nodes' credentials.
const GROUP: &str = "system:nodes";
const USER: &str = "system:node:";

/// The DNS name in a node's certificate, which nobody resolves: whoever calls a node expects that node and no other.
pub fn node_host(node: &str) -> String {
    format!("{node}.node")
}

/// The name of the node that this certificate is for. The CA's signature must have been checked.
pub fn node_of(certificate: &CertificateDer<'_>) -> Option<String> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let mut groups = subject.iter_organization();
    let member = groups.any(|group| group.as_str() == Ok(GROUP));
    let user = subject.iter_common_name().next().and_then(|name| name.as_str().ok())?;
    user.strip_prefix(USER).filter(|_| member).map(str::to_owned)
}

impl Authority {
    /// The certificate (PEM) of a node for the key of its signing request; of the request nothing else counts.
    ///
    /// # Errors
    /// When the request cannot be read.
    pub fn sign_node(&self, node: &str, request: &str) -> Result<String> {
        let failed = |error: rcgen::Error| Error::Certificate { name: format!("node {node}"), why: error.to_string() };
        let mut signing = CertificateSigningRequestParams::from_pem(request).map_err(failed)?;
        let mut params = CertificateParams::default();
        let now = OffsetDateTime::now_utc();
        params.not_before = now - SKEW;
        params.not_after = now + Duration::days(NODE_DAYS);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, GROUP);
        params.distinguished_name.push(DnType::CommonName, format!("{USER}{node}"));
        params.subject_alt_names = vec![SanType::DnsName(node_host(node).try_into().map_err(failed)?)];
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        signing.params = params;
        Ok(signing.signed_by(&self.issuer).map_err(failed)?.pem())
    }
}

/// A node's key and what the cluster says of it.
pub struct NodeIdentity {
    /// The cluster's CA.
    pub ca: CertificateDer<'static>,
    /// The node's certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for NodeIdentity {
    fn clone(&self) -> NodeIdentity {
        NodeIdentity { ca: self.ca.clone(), certificate: self.certificate.clone(), key: self.key.clone_key() }
    }
}

/// A new key and the request (both PEM) to sign it for a node.
///
/// # Errors
/// When the system has no randomness.
pub fn node_request(node: &str) -> Result<(String, String)> {
    let failed = |error: rcgen::Error| Error::Certificate { name: format!("node {node}"), why: error.to_string() };
    let key = KeyPair::generate().map_err(failed)?;
    let params = CertificateParams::new(vec![node_host(node)]).map_err(failed)?;
    let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(failed)?;
    Ok((key.serialize_pem(), request))
}

impl NodeIdentity {
    /// The identity in a folder (`DIR/node/pki`: `ca.crt`, `node.crt`, `node.key`), if one is there, whole, and this node's.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn open(folder: &Path, node: &str) -> Result<Option<NodeIdentity>> {
        let parts = ["ca.crt", "node.crt", "node.key"].map(|name| read(&folder.join(name)));
        let [Some(ca), Some(certificate), Some(key)] =
            [parts[0].as_ref(), parts[1].as_ref(), parts[2].as_ref()].map(|part| part.ok().and_then(Option::as_ref))
        else {
            let [ca, certificate, key] = parts;
            return ca.and(certificate).and(key).map(|_| None);
        };
        Ok(NodeIdentity::of(ca, certificate, key).ok().filter(|identity| node_of(&identity.certificate).as_deref() == Some(node)))
    }

    /// Of these three PEM texts, which are also written into the folder.
    ///
    /// # Errors
    /// When one is no PEM text of its kind, or the folder cannot be written.
    pub fn keep(folder: &Path, ca: &str, certificate: &str, key: &str) -> Result<NodeIdentity> {
        let identity = NodeIdentity::of(ca.as_bytes(), certificate.as_bytes(), key.as_bytes())?;
        for (name, text) in [("ca.crt", ca), ("node.key", key), ("node.crt", certificate)] {
            write_private(&folder.join(name), text.as_bytes())?;
        }
        Ok(identity)
    }

    fn of(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<NodeIdentity> {
        let bad =
            |name: &'static str| move |error: rustls_pki_types::pem::Error| unusable(Path::new(name), &format!("is no PEM text ({error})"));
        Ok(NodeIdentity {
            ca: CertificateDer::from_pem_slice(ca).map_err(bad("ca.crt"))?,
            certificate: CertificateDer::from_pem_slice(certificate).map_err(bad("node.crt"))?,
            key: PrivateKeyDer::from_pem_slice(key).map_err(bad("node.key"))?,
        })
    }

    /// Whether it is time to ask for the next certificate.
    pub fn is_due(&self) -> bool {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let Ok((_, certificate)) = X509Certificate::from_der(&self.certificate) else { return true };
        let validity = certificate.validity();
        let now = OffsetDateTime::now_utc();
        validity.not_after.to_datetime() - now < Duration::days(NODE_RENEW_DAYS) || validity.not_before.to_datetime() > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gets_a_certificate_of_its_own_name_whatever_it_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(folder.path()).unwrap();
        let (key, request) = node_request("edge-2").unwrap();
        let signed = authority.sign_node("edge-1", &request).unwrap();
        let home = tempfile::tempdir().unwrap();
        let identity = NodeIdentity::keep(home.path(), authority.ca_pem(), &signed, &key).unwrap();
        assert_eq!(node_of(&identity.certificate).as_deref(), Some("edge-1"));
        assert!(!identity.is_due());
        assert!(NodeIdentity::open(home.path(), "edge-1").unwrap().is_some());
        assert!(NodeIdentity::open(home.path(), "edge-2").unwrap().is_none(), "a folder that was another node's");
        assert!(NodeIdentity::open(folder.path(), "edge-1").unwrap().is_none());
        let server = authority.server_certificate(&[]).unwrap();
        assert_eq!(node_of(&server.chain[0]), None, "a server is no node");
        assert!(authority.sign_node("edge-1", "nonsense").is_err());
    }
}
