//! Certificates that nodes show to servers: asked for with a request that proves the key, signed for one name and a short time.

use std::path::Path;

use rcgen::{CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authority, Error, Result, lasting, read, write_private};

/// How long a node's certificate is good for.
const NODE_DAYS: i64 = 30;

/// What a node asks a certificate with, and keeps the key of.
pub struct Request {
    /// The request, PEM.
    pub csr: String,
    /// The key, PEM.
    pub key: String,
}

impl Request {
    /// For a node's name, with the key in this file, made where it is missing.
    pub fn of(name: &str, key_file: &Path) -> Result<Request> {
        let failed = |why: String| Error::Certificate { name: name.to_owned(), why };
        let key = match read(key_file)? {
            Some(pem) => String::from_utf8(pem).map_err(|error| failed(error.to_string()))?,
            None => {
                let key = KeyPair::generate().map_err(|error| failed(error.to_string()))?.serialize_pem();
                write_private(key_file, key.as_bytes())?;
                key
            }
        };
        let pair = KeyPair::from_pem(&key).map_err(|error| failed(format!("{}: {error}", key_file.display())))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("node:{name}"));
        let csr = params.serialize_request(&pair).and_then(|request| request.pem()).map_err(|error| failed(error.to_string()))?;
        Ok(Request { csr, key })
    }
}

impl Authority {
    /// The CA's certificate.
    pub(super) fn ca_der(&self) -> Result<CertificateDer<'static>> {
        let wrong =
            |error: rustls_pki_types::pem::Error| Error::Certificate { name: "the cluster's CA".to_owned(), why: error.to_string() };
        CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).map_err(wrong)
    }

    /// SHA-256 of the CA's certificate, in hex: what a join token names it by.
    pub fn pin(&self) -> String {
        self.ca_der().map(|der| super::pin::of(&der)).unwrap_or_default()
    }

    /// Signs a node's request: whatever it asks to be called, the certificate is for `node:NAME`, of a generation. With SHA-256 of its key.
    pub fn sign_agent(&self, csr: &str, name: &str, generation: u64) -> Result<(String, String)> {
        let failed = |why: String| Error::Certificate { name: format!("node {name}"), why };
        let request = CertificateSigningRequestParams::from_pem(csr).map_err(|error| failed(error.to_string()))?;
        let mut params = CertificateParams::default();
        lasting(&mut params, NODE_DAYS);
        params.distinguished_name.push(DnType::CommonName, format!("node:{name}"));
        params.distinguished_name.push(DnType::OrganizationName, "nodes");
        params.distinguished_name.push(DnType::OrganizationalUnitName, generation.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(|error| failed(error.to_string()))?;
        let key = key_of(certificate.der()).ok_or_else(|| failed("it has no key".to_owned()))?;
        Ok((certificate.pem(), key))
    }
}

fn key_of(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(super::pin::of(certificate.public_key().raw))
}

/// The node that a certificate of our CA is for, and its generation; none for other certificates.
pub fn node_identity(der: &[u8]) -> Option<(String, u64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let first = |mut values: Vec<&str>| (values.len() == 1).then(|| values.remove(0).to_owned());
    let name = first(subject.iter_common_name().filter_map(|value| value.as_str().ok()).collect())?;
    let organisation = first(subject.iter_organization().filter_map(|value| value.as_str().ok()).collect())?;
    let generation = first(subject.iter_organizational_unit().filter_map(|value| value.as_str().ok()).collect())?;
    (organisation == "nodes").then_some(())?;
    Some((name.strip_prefix("node:")?.to_owned(), generation.parse().ok()?))
}

/// The share of its time that a certificate still has: less than a third asks for a new one; 0 when it is over. None where it is none.
pub fn left(pem: &[u8]) -> Option<f64> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let validity = certificate.validity();
    let (begin, end) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    let left = (end - OffsetDateTime::now_utc()).as_seconds_f64().max(0.0);
    Some(left / (end - begin).as_seconds_f64())
}
