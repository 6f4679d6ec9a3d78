//! Who is asking: tokens, identities, and what each may do.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::freeze;
use crate::pki::{Authority, random_key, write_private};
use crate::store::{self, Commit, Guard, Op, Store};

mod roles;

pub use roles::{authorize, authorize_part};

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
/// Viewers of one namespace.
const VIEWERS_OF: &str = "viewers:";
/// Machines that may become nodes, and do nothing else.
const JOINERS: &str = "joiners";
/// What is known of each node's certificate.
const CERTIFICATES: &str = "/certificates/";
/// How long a token is good for unless another time is asked for, in seconds: none for people, an hour to join with.
const JOIN_FOR: u64 = 3600;

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

    /// Reads everything but Secrets in one namespace.
    pub fn viewer_of(name: &str, namespace: &str) -> Identity {
        Identity::of(name, &format!("{VIEWERS_OF}{namespace}"))
    }

    /// Asks for the certificate of a node, and nothing else.
    pub fn joiner() -> Identity {
        Identity::of("join", JOINERS)
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

    /// Whether it may become a node.
    pub fn is_joiner(&self) -> bool {
        self.groups.iter().any(|group| group == JOINERS)
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
    /// The node is known by another key.
    #[error("node {0} is known by another key: choose another --name, or, if that machine is gone, run `wctl token revoke node:{0}` first")]
    OtherKey(String),
    /// A node's request for a certificate cannot be signed.
    #[error("signing the certificate: {0}")]
    Certificate(String),
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
    /// Seconds since 1970 after which it is good for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    created: String,
}

impl Stored {
    fn is_over(&self) -> bool {
        self.expires.is_some_and(|expires| jiff::Timestamp::now().as_second() >= expires)
    }
}

/// A token that is asked for.
#[derive(Debug, Clone)]
pub struct New {
    /// Its id; one that nobody has where none is named.
    pub id: Option<String>,
    /// Whose it is.
    pub who: Identity,
    /// How many seconds it is good for; for ever where none is named, except for joining.
    pub ttl: Option<u64>,
}

impl New {
    /// For somebody, with an id that nobody has.
    pub fn of(who: Identity) -> New {
        New { id: None, who, ttl: None }
    }
}

/// What may be told of a token.
#[derive(Debug, Clone, Serialize)]
pub struct Known {
    /// Its id: `wctl token revoke ID`.
    pub id: String,
    /// Whose it is.
    #[serde(flatten)]
    pub who: Identity,
    /// When it ends or ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// When it was made, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// Whether it is good for nothing any more.
    pub expired: bool,
}

/// What is kept of a node's certificate.
#[derive(Default, Serialize, Deserialize)]
struct Certificate {
    /// Certificates of another one are good for nothing.
    generation: u64,
    /// SHA-256 of the key that it is for; empty once it was revoked.
    key: String,
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
        Ok((hmac::verify(&key(id), secret.as_bytes(), &hash).is_ok() && !stored.is_over()).then_some(stored.who))
    }

    /// The node that shows a certificate of a generation, unless that was revoked.
    pub async fn node(&self, name: &str, generation: u64) -> Result<Option<Identity>, Error> {
        let (_, known) = self.certificate(name).await?;
        Ok((known.generation == generation).then(|| Identity::node(name)))
    }

    /// Signs the certificate of a node that a joining machine, or the node itself, asks for. A name belongs to the key that first
    /// had it, until it is revoked: no machine becomes another one.
    pub async fn sign(&self, authority: &Authority, name: &str, csr: &str) -> Result<String, Error> {
        let (guard, known) = self.certificate(name).await?;
        let signed = authority.sign_agent(csr, name, known.generation).map_err(|error| Error::Certificate(error.to_string()))?;
        let (certificate, key) = signed;
        if known.key == key {
            return Ok(certificate);
        }
        if !known.key.is_empty() {
            return Err(Error::OtherKey(name.to_owned()));
        }
        match self.know(guard, name, &Certificate { key, ..known }).await? {
            Commit::Done(_) => Ok(certificate),
            Commit::Conflict(_) => Err(Error::OtherKey(name.to_owned())),
        }
    }

    /// A token with which a node that joins asks the registry; it ends when the node's certificate is revoked, or when it joins again.
    pub async fn of_node(&self, name: &str) -> Result<String, Error> {
        self.create(&id_of_node(name), &Identity::node(name)).await
    }

    /// Ends every certificate of a node, and its token; it can join again with a token to join.
    pub async fn revoke_node(&self, name: &str) -> Result<(), Error> {
        self.revoke(&id_of_node(name)).await?;
        loop {
            let (guard, known) = self.certificate(name).await?;
            let next = Certificate { generation: known.generation + 1, key: String::new() };
            if let Commit::Done(_) = self.know(guard, name, &next).await? {
                return Ok(());
            }
        }
    }

    async fn certificate(&self, name: &str) -> Result<(Guard, Certificate), Error> {
        let place = format!("{CERTIFICATES}{name}");
        Ok(match self.store.get(&place).await?.1 {
            Some(item) => (Guard::Modified(place, item.modified), serde_json::from_slice(&item.value).unwrap_or_default()),
            None => (Guard::Absent(place), Certificate::default()),
        })
    }

    async fn know(&self, guard: Guard, name: &str, known: &Certificate) -> Result<Commit, Error> {
        let put = Op::Put { key: format!("{CERTIFICATES}{name}"), value: serde_json::json!(known).to_string().into(), lease: None };
        Ok(self.store.commit(vec![guard], vec![put]).await?)
    }

    /// A new token for somebody; a former one of the same id ends. Nobody can ask for it again.
    pub async fn create(&self, id: &str, who: &Identity) -> Result<String, Error> {
        Ok(self.make(New { id: Some(id.to_owned()), ..New::of(who.clone()) }).await?.1)
    }

    /// A new token, and its id.
    pub async fn make(&self, new: New) -> Result<(String, String), Error> {
        let id = match new.id {
            Some(id) => id,
            None => {
                let name: String = new.who.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
                format!("{name}-{}", hex::encode(&random_key()?[..4]))
            }
        };
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(Error::Id(id));
        }
        let now = jiff::Timestamp::now();
        let ttl = new.ttl.or(new.who.is_joiner().then_some(JOIN_FOR));
        let expires = ttl.map(|ttl| now.as_second().saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX)));
        let secret = URL_SAFE_NO_PAD.encode(random_key()?);
        let hash = STANDARD.encode(hmac::sign(&key(&id), secret.as_bytes()));
        let value = serde_json::json!(Stored { hash, who: new.who, expires, created: now.to_string() }).to_string();
        let put = Op::Put { key: format!("{TOKENS}{id}"), value: value.into(), lease: None };
        self.store.commit(Vec::new(), vec![put]).await?;
        Ok((id.clone(), format!("{PREFIX}_{id}_{secret}")))
    }

    /// Ends a token; false if there was none.
    pub async fn revoke(&self, id: &str) -> Result<bool, Error> {
        let key = format!("{TOKENS}{id}");
        let done = self.store.commit(vec![Guard::Exists(key.clone())], vec![Op::Delete { key }]).await?;
        Ok(matches!(done, Commit::Done(_)))
    }

    /// All tokens, by id.
    pub async fn list(&self) -> Result<Vec<Known>, Error> {
        let page = self.store.list(TOKENS, 0, None).await?;
        let told = page.items.iter().filter_map(|item| {
            let stored: Stored = serde_json::from_slice(&item.value).ok()?;
            let expires = stored.expires.and_then(|at| jiff::Timestamp::from_second(at).ok()).map(|at| at.to_string());
            let (id, expired) = (item.key.strip_prefix(TOKENS)?.to_owned(), stored.is_over());
            Some(Known { id, expired, expires, created: stored.created, who: stored.who })
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
        // Servers that share a store have a token each, and a restored cluster's admins have theirs: a new one must not end them.
        let restored = freeze::get(&*self.store).await?.is_some_and(|frozen| frozen.restored);
        let id = if self.store.shared() || restored { format!("{ADMIN}-{}", hex::encode(&random_key()?[..4])) } else { ADMIN.to_owned() };
        let token = self.create(&id, &Identity::admin()).await?;
        write_private(file, format!("{token}\n").as_bytes())?;
        Ok(token)
    }
}

/// `wctl_ID_SECRET`, behind which a point and the CA's hash may stand; the secret may hold underscores, the id may not.
fn parse(token: &str) -> Option<(&str, &str)> {
    let token = token.split_once('.').map_or(token, |(token, _)| token);
    let (id, secret) = token.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
    (!id.contains('/')).then_some((id, secret))
}

/// Names may hold points, ids may not.
fn id_of_node(name: &str) -> String {
    format!("node-{}", hex::encode(name))
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
mod tests;
