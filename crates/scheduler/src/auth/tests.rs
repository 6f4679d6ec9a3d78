//! Who is let in, and what they may do.

use super::*;
use crate::store::memory::Memory;

#[tokio::test]
async fn n32_a_token_is_known_until_it_ends() {
    let tokens = Tokens::new(Arc::new(Memory::new()));
    let who = Identity::deployer("alice", "shop");
    let token = tokens.create("alice", &who).await.unwrap();
    assert_eq!(tokens.identify(&token).await.unwrap(), Some(who.clone()));
    let node = tokens.create("edge-1", &Identity::node("edge-1")).await.unwrap();
    assert_eq!(tokens.identify(&node).await.unwrap().unwrap().node_name(), Some("edge-1"));
    let listed: Vec<_> = tokens.list().await.unwrap().into_iter().map(|known| (known.id, known.who, known.expired)).collect();
    assert_eq!(listed, [("alice".to_owned(), who.clone(), false), ("edge-1".to_owned(), Identity::node("edge-1"), false)]);
    let newer = tokens.create("alice", &who).await.unwrap();
    assert_eq!(tokens.identify(&token).await.unwrap(), None, "a new one ends the former");
    tokens.revoke("alice").await.unwrap();
    assert_eq!(tokens.identify(&newer).await.unwrap(), None);
}

#[tokio::test]
async fn n32_a_token_ends_by_itself() {
    let tokens = Tokens::new(Arc::new(Memory::new()));
    let (id, over) = tokens.make(New { ttl: Some(0), ..New::of(Identity::joiner()) }).await.unwrap();
    assert_eq!(tokens.identify(&over).await.unwrap(), None, "it was good for no time at all");
    let known = tokens.list().await.unwrap().remove(0);
    assert!(known.id == id && known.expired && known.expires.is_some());
    let (_, good) = tokens.make(New::of(Identity::joiner())).await.unwrap();
    assert!(tokens.identify(&good).await.unwrap().unwrap().is_joiner());
    assert!(tokens.identify(&format!("{good}.abcdef")).await.unwrap().is_some(), "with the CA's hash behind it");
    let expires = tokens.list().await.unwrap().into_iter().find(|known| !known.expired).unwrap().expires;
    assert!(expires.is_some(), "nobody can join for ever");
    assert!(tokens.revoke(&id).await.unwrap() && !tokens.revoke(&id).await.unwrap());
}

#[tokio::test]
async fn n32_a_nodes_name_belongs_to_its_key_and_its_certificate_can_be_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(&folder.path().join("pki")).unwrap();
    let tokens = Tokens::new(Arc::new(Memory::new()));
    let one = crate::pki::Request::of("edge-1", &folder.path().join("one.key")).unwrap();
    let certificate = tokens.sign(&authority, "edge-1", &one.csr).await.unwrap();
    let der = |pem: &str| {
        use rustls_pki_types::pem::PemObject;
        rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    };
    let (name, generation) = crate::pki::node_identity(&der(&certificate)).unwrap();
    assert_eq!((name.as_str(), generation), ("edge-1", 0));
    assert_eq!(tokens.node("edge-1", 0).await.unwrap(), Some(Identity::node("edge-1")));
    // Renewed with the same key; whatever the request says, the name is the one that was asked for.
    let other_name = crate::pki::Request::of("admin", &folder.path().join("one.key")).unwrap();
    let renewed = tokens.sign(&authority, "edge-1", &other_name.csr).await.unwrap();
    assert_eq!(crate::pki::node_identity(&der(&renewed)).unwrap().0, "edge-1");
    let thief = crate::pki::Request::of("edge-1", &folder.path().join("thief.key")).unwrap();
    assert!(matches!(tokens.sign(&authority, "edge-1", &thief.csr).await, Err(Error::OtherKey(_))));
    tokens.revoke_node("edge-1").await.unwrap();
    assert_eq!(tokens.node("edge-1", 0).await.unwrap(), None);
    let anew = tokens.sign(&authority, "edge-1", &thief.csr).await.unwrap();
    assert_eq!(crate::pki::node_identity(&der(&anew)).unwrap().1, 1, "a new machine has the name now");
    assert!(tokens.sign(&authority, "edge-1", "no request").await.is_err());
    assert_eq!(crate::pki::node_identity(&der(authority.ca_pem())), None, "the CA is no node");
}

#[test]
fn n32_a_name_alone_makes_nobody_a_node() {
    assert_eq!(Identity::node("edge-1").node_name(), Some("edge-1"));
    assert_eq!(Identity::viewer("node:edge-1").node_name(), None);
    assert_eq!(Identity::deployer("node:edge-1", "shop").node_name(), None);
    assert_eq!(Identity::of("edge-1", NODES).node_name(), None);
}

#[tokio::test]
async fn what_is_no_token_is_nobody() {
    let tokens = Tokens::new(Arc::new(Memory::new()));
    let token = tokens.create("a", &Identity::admin()).await.unwrap();
    let cut = &token[..token.len() - 1];
    let swapped = token.replace("wctl_a_", "wctl_b_");
    tokens.create("b", &Identity::admin()).await.unwrap();
    for wrong in ["", "wctl", "wctl__", "wctl_a", "wctl_a_", "wctl_../a_x", cut, &swapped, &format!("{token}x"), &token.to_uppercase()] {
        assert_eq!(tokens.identify(wrong).await.unwrap(), None, "{wrong}");
    }
    for id in ["", "a_b", "a/b", "ä"] {
        assert!(matches!(tokens.create(id, &Identity::admin()).await, Err(Error::Id(_))), "{id}");
    }
}

#[tokio::test]
async fn the_store_does_not_hold_the_token() {
    let store = Arc::new(Memory::new());
    let token = Tokens::new(store.clone()).create("a", &Identity::admin()).await.unwrap();
    let secret = token.strip_prefix("wctl_a_").unwrap();
    let value = store.get("/tokens/a").await.unwrap().1.unwrap().value;
    assert!(!String::from_utf8_lossy(&value).contains(secret));
}

#[tokio::test]
async fn the_admins_token_is_made_once_and_again_when_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pki/admin.token");
    let tokens = Tokens::new(Arc::new(Memory::new()));
    let token = tokens.admin(&file).await.unwrap();
    assert_eq!(tokens.admin(&file).await.unwrap(), token);
    assert_eq!(tokens.identify(&token).await.unwrap(), Some(Identity::admin()));
    std::fs::remove_file(&file).unwrap();
    let newer = tokens.admin(&file).await.unwrap();
    assert_ne!(newer, token);
    assert_eq!(tokens.identify(&token).await.unwrap(), None);
    assert_eq!(tokens.identify(&newer).await.unwrap(), Some(Identity::admin()));
}

#[test]
fn a_kubeconfig_is_read_as_it_was_meant() {
    #[derive(Deserialize)]
    struct User {
        user: UserToken,
    }
    #[derive(Deserialize)]
    struct UserToken {
        token: String,
    }
    #[derive(Deserialize)]
    struct Config {
        users: Vec<User>,
        clusters: Vec<serde_json::Value>,
    }
    let config: Config = serde_saphyr::from_str(&kubeconfig("https://[::1]:6443", "PEM", "wctl_admin_x: y#z")).unwrap();
    assert_eq!(config.users[0].user.token, "wctl_admin_x: y#z");
    assert_eq!(config.clusters[0]["cluster"]["server"], "https://[::1]:6443");
    assert_eq!(config.clusters[0]["cluster"]["certificate-authority-data"], STANDARD.encode("PEM"));
}
