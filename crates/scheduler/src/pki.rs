//! The cluster CA and the certificates it signs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

mod agent;
mod file;
mod key;
mod node;
mod pin;
mod shared;
#[cfg(test)]
mod tests;

pub use agent::{Request, left, node_identity};
pub(crate) use file::write_private;
pub use key::{CLUSTER_KEY, ClusterKey};
pub(crate) use key::{Sealer, random_key};
pub use node::{NodeIdentity, node_host, node_of, node_request};
pub use pin::authority_at;
pub use shared::{CA as SHARED_CA, Error as ShareError, kept, share};

/// How long the CA and what it signs are good for.
const CA_DAYS: i64 = 3650;
const SERVER_DAYS: i64 = 365;
/// A certificate is made anew on start when less than this is left of it.
const RENEW_DAYS: i64 = 60;
/// Certificates begin in the past, for machines whose clock is behind.
const SKEW: Duration = Duration::days(1);

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

/// The cluster's CA: whom it signs for, every part of the cluster believes.
pub struct Authority {
    folder: PathBuf,
    key: ClusterKey,
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as a TLS endpoint needs them.
pub struct Certified {
    /// The certificate; whoever trusts the CA needs no other.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key, PKCS #8.
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    /// The authority in a folder (`DIR/pki`), made on first use: `cluster.key`, `ca.crt`, and `ca.key` wrapped by the first.
    pub fn open_or_create(folder: &Path) -> Result<Authority> {
        let (key_file, ca_file, wrapped_file) = (folder.join(CLUSTER_KEY), folder.join("ca.crt"), folder.join("ca.key"));
        let (ca_pem, wrapped) = (read(&ca_file)?, read(&wrapped_file)?);
        if wrapped.is_some() && !key_file.exists() {
            // A new key could not open what the old one closed.
            return Err(unusable(&key_file, "is missing: restore it from the backup that belongs to this data folder"));
        }
        let key = ClusterKey::open_or_create(&key_file)?;
        // The certificate is written last: without it the CA was never finished, and nobody has seen it.
        let (ca_pem, ca_key) = match (ca_pem, wrapped) {
            (Some(pem), Some(wrapped)) => (text(&ca_file, pem)?, unwrap(&key, &wrapped_file, &wrapped)?),
            (Some(_), None) => {
                return Err(unusable(&wrapped_file, "is missing: restore it from the backup that belongs to this data folder"));
            }
            (None, _) => create_ca(&key, &ca_file, &wrapped_file)?,
        };
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key)
            .map_err(|error| unusable(&ca_file, &format!("is no CA certificate ({error}): restore it from a backup")))?;
        Ok(Authority { folder: folder.to_owned(), key, ca_pem, issuer })
    }

    /// The key that wraps the others.
    pub fn cluster_key(&self) -> &ClusterKey {
        &self.key
    }

    /// The CA's certificate, PEM: what clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server's certificate for these DNS names and addresses, besides `localhost`, the loopback addresses and this machine's
    /// name. The one on disk is kept while it is for all of them and not near its end.
    pub fn server_certificate(&self, names: &[String]) -> Result<Certified> {
        let names = server_names(names);
        let (certificate_file, key_file) = (self.folder.join("server.crt"), self.folder.join("server.key"));
        if let (Some(pem), Some(wrapped)) = (read(&certificate_file)?, read(&key_file)?)
            && let (Some(der), Ok(key)) = (still_good(&pem, &names), unwrap(&self.key, &key_file, &wrapped))
        {
            // A crash between writing the two may have left the key of another certificate.
            let certified = Certified { chain: vec![der], key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() };
            if config(&certified, None).is_ok() {
                return Ok(certified);
            }
        }
        let (pem, key) = self.sign_server(&names)?;
        write_private(&key_file, &self.key.wrap(&purpose(&key_file), key.serialized_der())?)?;
        write_private(&certificate_file, pem.as_bytes())?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| unusable(&certificate_file, &error.to_string()))?;
        Ok(Certified { chain: vec![der], key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }

    /// TLS for the server under these names (see [`Authority::server_certificate`]): HTTP/2 and HTTP/1.1.
    pub fn server_config(&self, names: &[String]) -> Result<Arc<ServerConfig>> {
        let mut certified = self.server_certificate(names)?;
        // Who knows nothing but the CA's hash can check the certificate with it.
        certified.chain.push(self.ca_der()?);
        let mut config = config(&certified, Some(self.ca_der()?))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn sign_server(&self, names: &[String]) -> Result<(String, KeyPair)> {
        let failed = |error: rcgen::Error| Error::Certificate { name: names.join(", "), why: error.to_string() };
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
        lasting(&mut params, SERVER_DAYS);
        params.distinguished_name.push(DnType::CommonName, "wctl server");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((certificate.pem(), key))
    }
}

/// With a CA, clients may show a certificate of it, and need not.
fn config(certified: &Certified, clients: Option<CertificateDer<'static>>) -> Result<ServerConfig> {
    let failed = |why: String| Error::Certificate { name: "the server".to_owned(), why };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(error.to_string()))?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca).map_err(|error| failed(error.to_string()))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| failed(error.to_string()))?)
        }
    };
    builder.with_single_cert(certified.chain.clone(), certified.key.clone_key()).map_err(|error| failed(error.to_string()))
}

fn create_ca(key: &ClusterKey, ca_file: &Path, wrapped_file: &Path) -> Result<(String, KeyPair)> {
    let failed = |error: rcgen::Error| Error::Certificate { name: "the cluster's CA".to_owned(), why: error.to_string() };
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    lasting(&mut params, CA_DAYS);
    // Two clusters' CAs must not share a name: clients that know both would take one for the other.
    let id = hex::encode(&random_key()?[..4]);
    params.distinguished_name.push(DnType::CommonName, format!("wctl cluster {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let ca_key = KeyPair::generate().map_err(failed)?;
    let pem = params.self_signed(&ca_key).map_err(failed)?.pem();
    write_private(wrapped_file, &key.wrap(&purpose(wrapped_file), ca_key.serialized_der())?)?;
    write_private(ca_file, pem.as_bytes())?;
    Ok((pem, ca_key))
}

fn lasting(params: &mut CertificateParams, days: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - SKEW;
    params.not_after = now + Duration::days(days);
    params.distinguished_name = rcgen::DistinguishedName::new();
}

/// The certificate in the PEM text, if it is for all of these names and not near its end.
fn still_good(pem: &[u8], names: &[String]) -> Option<CertificateDer<'static>> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let now = OffsetDateTime::now_utc();
    let validity = certificate.validity();
    if validity.not_after.to_datetime() - now < Duration::days(RENEW_DAYS) || validity.not_before.to_datetime() > now {
        return None;
    }
    let alternatives = certificate.subject_alternative_name().ok()??;
    let name = |general: &GeneralName<'_>| match general {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    let there: Vec<String> = alternatives.value.general_names.iter().filter_map(name).collect();
    names.iter().all(|name| there.contains(name)).then_some(der)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// The names as a certificate spells them, each once.
fn server_names(given: &[String]) -> Vec<String> {
    let machine = hostname::get().ok().and_then(|name| name.into_string().ok());
    let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let spelled = |name: &str| {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string())
    };
    let mut names = Vec::new();
    for name in always.iter().chain(&machine).chain(given).map(|name| spelled(name)) {
        // What the machine calls itself may be no DNS name; nobody could connect to it by that.
        let usable = !name.is_empty() && name.is_ascii() && !name.contains(char::is_whitespace);
        if usable && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What a wrapped file is wrapped for: its name, so that no file can stand in for another, and the folder may move.
fn purpose(file: &Path) -> String {
    format!("pki/{}", file.file_name().unwrap_or_default().to_string_lossy())
}

fn unwrap(key: &ClusterKey, file: &Path, wrapped: &[u8]) -> Result<KeyPair> {
    let der = key.unwrap(&purpose(file), wrapped)?;
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &rcgen::PKCS_ECDSA_P256_SHA256);
    pair.map_err(|error| unusable(file, &format!("holds no usable key ({error}): restore it from a backup")))
}

/// A certificate as text.
fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { act: "reading", path: file.display().to_string(), source }),
    }
}

fn text(file: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| unusable(file, "is no PEM file: restore it from a backup"))
}

fn unusable(file: &Path, why: &str) -> Error {
    Error::Unusable { path: file.display().to_string(), why: why.to_owned() }
}
