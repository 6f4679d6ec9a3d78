//! The authority on disk: made once, found again, refused when it is not whole.

use std::path::Path;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

fn open(folder: &Path) -> Authority {
    Authority::open_or_create(folder).unwrap()
}

fn refused(folder: &Path) -> String {
    match Authority::open_or_create(folder) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

/// What a client that trusts `ca_pem` negotiates with this server under a name.
async fn connect(server: &Authority, ca_pem: &str, name: &str) -> std::io::Result<Option<Vec<u8>>> {
    let acceptor = TlsAcceptor::from(server.server_config(&["edge.example".to_owned(), "[2001:db8::1]".to_owned()]).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = builder.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let (near, far) = tokio::io::duplex(1 << 16);
    let served = tokio::spawn(async move { acceptor.accept(far).await.map(drop) });
    let connected = TlsConnector::from(Arc::new(client)).connect(ServerName::try_from(name.to_owned()).unwrap(), near).await;
    let _ = served.await.unwrap();
    connected.map(|stream| stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
}

#[tokio::test]
async fn a_client_that_trusts_the_ca_reaches_the_server_under_each_name() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path());
    for name in ["localhost", "127.0.0.1", "::1", "edge.example", "2001:db8::1"] {
        assert_eq!(connect(&authority, authority.ca_pem(), name).await.unwrap(), Some(b"h2".to_vec()), "{name}");
    }
    assert!(connect(&authority, authority.ca_pem(), "other.example").await.is_err());
    let other = open(tempfile::tempdir().unwrap().path());
    assert!(connect(&authority, other.ca_pem(), "localhost").await.is_err());
}

#[test]
fn it_is_found_again_and_the_certificate_is_kept_while_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let made = first.server_certificate(&names(&["a.example", "10.0.0.1"])).unwrap();
    let again = open(folder.path());
    assert_eq!(again.ca_pem(), first.ca_pem());
    assert_eq!(again.server_certificate(&names(&["10.0.0.1", "A.example"])).unwrap().chain, made.chain);
    let renamed = again.server_certificate(&names(&["b.example"])).unwrap();
    assert_ne!(renamed.chain, made.chain, "a new name needs a new certificate");
}

#[test]
fn a_certificate_near_its_end_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path());
    let names = server_names(&[]);
    let mut params = CertificateParams::new(names.clone()).unwrap();
    let signed = |params: &CertificateParams| params.signed_by(&KeyPair::generate().unwrap(), &authority.issuer).unwrap().pem();
    lasting(&mut params, RENEW_DAYS + 1);
    assert!(still_good(signed(&params).as_bytes(), &names).is_some());
    lasting(&mut params, RENEW_DAYS - 1);
    assert!(still_good(signed(&params).as_bytes(), &names).is_none());
}

#[test]
fn half_a_folder_is_refused_unharmed() {
    let folder = tempfile::tempdir().unwrap();
    let ca = open(folder.path()).ca_pem().to_owned();
    for (file, word) in [("cluster.key", "cluster.key is missing"), ("ca.key", "ca.key is missing")] {
        let (path, aside) = (folder.path().join(file), folder.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        assert!(refused(folder.path()).contains(word), "{}", refused(folder.path()));
        assert!(!path.exists(), "nothing new may stand in its place");
        std::fs::rename(&aside, &path).unwrap();
    }
    let key = folder.path().join("cluster.key");
    let right = std::fs::read(&key).unwrap();
    std::fs::write(&key, "wctl-cluster-key-1 00").unwrap();
    assert!(refused(folder.path()).contains("is no cluster key"));
    let other = tempfile::tempdir().unwrap();
    open(other.path());
    std::fs::copy(other.path().join("cluster.key"), &key).unwrap();
    assert!(refused(folder.path()).contains("was not wrapped with this cluster key"));
    std::fs::write(&key, right).unwrap();
    assert_eq!(open(folder.path()).ca_pem(), ca);
}

#[test]
fn keys_on_disk_are_wrapped_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path());
    let der = authority.server_certificate(&[]).unwrap().key.secret_der().to_vec();
    for file in ["cluster.key", "ca.key", "server.key"] {
        let path = folder.path().join(file);
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(32).any(|part| der.windows(32).any(|key| key == part)), "{file} holds the server's key in the clear");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        }
    }
}

#[test]
fn what_is_wrapped_opens_only_for_its_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let key = ClusterKey::open_or_create(&folder.path().join("cluster.key")).unwrap();
    let wrapped = key.wrap("one", b"secret").unwrap();
    assert_eq!(key.unwrap("one", &wrapped).unwrap(), b"secret");
    assert_ne!(wrapped, key.wrap("one", b"secret").unwrap(), "each time another nonce");
    assert!(key.unwrap("other", &wrapped).is_err());
    for bit in 0..wrapped.len() * 8 {
        let mut flipped = wrapped.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(key.unwrap("one", &flipped).is_err(), "bit {bit}");
    }
}
