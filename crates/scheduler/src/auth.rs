//! Who is asking: tokens, identities, and what each may do.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::pki::{random_key, write_private};
use crate::store::{self, Op, Store};

mod roles;

pub use roles::authorize;

/// What every token begins with, so that scanners find one that leaked.
const PREFIX: &str = "wctl";
/// Where tokens are kept: their hashes, by their ids.
const TOKENS: &str = "/tokens/";
/// The id of the token that the first start makes.
const ADMIN: &str = "admin";

const ADMINS: &str = "admin";
const NODES: &str = "nodes";
const VIEWERS: &str = "viewers";
const DEPLOYERS: &str = "deployers:";

/// Who is asking. Roles are given to groups: `admin`, `nodes`, `viewers`, `deployers:NAMESPACE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// As in messages and in `whoami`: `admin`, `node:edge-1`, `alice`.
    pub name: String,
    /// What the name belongs to.
    pub groups: Vec<String>,
}

impl Identity {
    /// May do everything.
    pub fn admin() -> Identity {
        Identity::of("admin", ADMINS)
    }

    /// A node's agent: reads what it runs and routes by, and writes what is its own.
    pub fn node(name: &str) -> Identity {
        Identity::of(&format!("node:{name}"), NODES)
    }

    /// Reads everything but Secrets.
    pub fn viewer(name: &str) -> Identity {
        Identity::of(name, VIEWERS)
    }

    /// Does in one namespace what an app needs, within the namespace's policy.
    pub fn deployer(name: &str, namespace: &str) -> Identity {
        Identity::of(name, &format!("{DEPLOYERS}{namespace}"))
    }

    fn of(name: &str, group: &str) -> Identity {
        Identity { name: name.to_owned(), groups: vec![group.to_owned()] }
    }

    /// Whether it may do everything.
    pub fn is_admin(&self) -> bool {
        self.groups.iter().any(|group| group == ADMINS)
    }

    /// The node whose agent it is. A token may carry any name, so the group decides.
    pub fn node_name(&self) -> Option<&str> {
        self.name.strip_prefix("node:").filter(|_| self.groups.iter().any(|group| group == NODES))
    }
}

/// What can go wrong with tokens.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("reading or writing the tokens: {0}")]
    Store(#[from] store::Error),
    /// The admin's token could not be read from its file or written there.
    #[error(transparent)]
    File(#[from] crate::pki::Error),
    /// Not a name that a token can have.
    #[error("a token cannot be called {0:?}: use letters, digits and dashes")]
    Id(String),
}

/// What is kept of a token.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// HMAC-SHA-256 of the secret part under the id, base64: nobody can use a token that they read in the store.
    hash: String,
    #[serde(flatten)]
    who: Identity,
}

/// The tokens of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    store: Arc<dyn Store>,
}

impl Tokens {
    /// The tokens in a store.
    pub fn new(store: Arc<dyn Store>) -> Tokens {
        Tokens { store }
    }

    /// Whose token this is. Takes as long for a wrong secret as for a right one.
    pub async fn identify(&self, token: &str) -> Result<Option<Identity>, Error> {
        let Some((id, secret)) = parse(token) else { return Ok(None) };
        let (_, item) = self.store.get(&format!("{TOKENS}{id}")).await?;
        let stored = item.and_then(|item| serde_json::from_slice::<Stored>(&item.value).ok());
        let Some(stored) = stored else { return Ok(None) };
        let hash = STANDARD.decode(&stored.hash).unwrap_or_default();
        Ok(hmac::verify(&key(id), secret.as_bytes(), &hash).is_ok().then_some(stored.who))
    }

    /// A new token for somebody; a former one of the same id ends. Nobody can ask for it again.
    pub async fn create(&self, id: &str, who: &Identity) -> Result<String, Error> {
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(Error::Id(id.to_owned()));
        }
        let secret = URL_SAFE_NO_PAD.encode(random_key()?);
        let hash = STANDARD.encode(hmac::sign(&key(id), secret.as_bytes()));
        let value = serde_json::json!(Stored { hash, who: who.clone() }).to_string();
        let put = Op::Put { key: format!("{TOKENS}{id}"), value: value.into(), lease: None };
        self.store.commit(Vec::new(), vec![put]).await?;
        Ok(format!("{PREFIX}_{id}_{secret}"))
    }

    /// Ends a token.
    pub async fn revoke(&self, id: &str) -> Result<(), Error> {
        self.store.commit(Vec::new(), vec![Op::Delete { key: format!("{TOKENS}{id}") }]).await?;
        Ok(())
    }

    /// The ids of all tokens, and whose they are.
    pub async fn list(&self) -> Result<Vec<(String, Identity)>, Error> {
        let page = self.store.list(TOKENS, 0, None).await?;
        let told = page.items.iter().filter_map(|item| {
            let stored: Stored = serde_json::from_slice(&item.value).ok()?;
            Some((item.key.strip_prefix(TOKENS)?.to_owned(), stored.who))
        });
        Ok(told.collect())
    }

    /// The admin's token, kept in a file that only its owner may read; a new one where the file is missing or its token has ended.
    pub async fn admin(&self, file: &Path) -> Result<String, Error> {
        if let Ok(text) = std::fs::read_to_string(file) {
            let token = text.trim();
            if self.identify(token).await?.is_some_and(|who| who.is_admin()) {
                return Ok(token.to_owned());
            }
        }
        let token = self.create(ADMIN, &Identity::admin()).await?;
        write_private(file, format!("{token}\n").as_bytes())?;
        Ok(token)
    }
}

/// `wctl_ID_SECRET`; the secret may hold underscores, the id may not.
fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
    (!id.contains('/')).then_some((id, secret))
}

fn key(id: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, id.as_bytes())
}

/// A kubeconfig that reaches the server at `url` (`https://HOST:PORT`) with a token.
pub fn kubeconfig(url: &str, ca_pem: &str, token: &str) -> String {
    // JSON strings are YAML strings, whatever is in them.
    let (url, token, ca) = (serde_json::json!(url), serde_json::json!(token), STANDARD.encode(ca_pem));
    format!(
        "apiVersion: v1\nkind: Config\n\
         clusters:\n- name: wctl\n  cluster:\n    server: {url}\n    certificate-authority-data: {ca}\n\
         users:\n- name: admin\n  user:\n    token: {token}\n\
         contexts:\n- name: wctl\n  context:\n    cluster: wctl\n    user: admin\n    namespace: default\n\
         current-context: wctl\n"
    )
}

#[cfg(test)]
mod tests {
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
        assert_eq!(tokens.list().await.unwrap(), [("alice".to_owned(), who.clone()), ("edge-1".to_owned(), Identity::node("edge-1"))]);
        let newer = tokens.create("alice", &who).await.unwrap();
        assert_eq!(tokens.identify(&token).await.unwrap(), None, "a new one ends the former");
        tokens.revoke("alice").await.unwrap();
        assert_eq!(tokens.identify(&newer).await.unwrap(), None);
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
        for wrong in ["", "wctl", "wctl__", "wctl_a", "wctl_a_", "wctl_../a_x", cut, &swapped, &format!("{token}x"), &token.to_uppercase()]
        {
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
}
