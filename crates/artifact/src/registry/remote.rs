//! One repository at one registry over HTTP: asking with the right login, and reading answers within bounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Method, StatusCode};
use reqwest::{Response, Url};

use super::Client;
use super::auth::{self, Wanted};
use super::failure::Failure;
use super::location::{origin, shown_url};
use super::wire::{Answer, Ask, Http, unreachable};
use crate::credentials::{Credential, Store};
use crate::digest::Digest;
use crate::manifest::{self, DOCKER_INDEX, DOCKER_MANIFEST, INDEX, LARGEST, MANIFEST, Parsed};
use crate::reference::Reference;

/// The header in which registries repeat a manifest's digest.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// How often a busy registry is asked again.
const WAITS: u32 = 3;

/// A repository at a registry.
pub(super) struct Remote {
    pub http: Arc<Http>,
    /// The registry as people write it; credentials are kept under it.
    pub host: String,
    pub repository: String,
    base: Base,
    login: Login,
}

enum Base {
    Known(Url),
    /// The host to connect to, whose scheme may have to be found out.
    Host(String),
}

enum Login {
    Token(String),
    Store(Store),
}

/// What a request needs to be allowed to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    Pull,
    Push,
}

/// A document that has been fetched and checked.
pub(super) struct Fetched {
    pub digest: Digest,
    pub parsed: Parsed,
}

/// A repository's path on its registry: Docker Hub keeps names without a slash under `library`.
pub(super) fn repository_on(reference: &Reference) -> String {
    let name = reference.repository();
    match reference.registry() {
        Some(host) if is_hub(host) && !name.contains('/') => format!("library/{name}"),
        _ => name.to_string(),
    }
}

fn is_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

impl Remote {
    /// The embedded registry of a server in another process.
    pub fn inside(http: &Arc<Http>, url: &Url, token: &str, repository: &str) -> Remote {
        let mut base = url.clone();
        base.set_path("/v2/");
        let login = Login::Token(token.to_string());
        Remote {
            http: http.clone(),
            host: "the embedded registry".to_string(),
            repository: repository.to_string(),
            base: Base::Known(base),
            login,
        }
    }

    /// A registry or mirror by its host; `path` goes before the repository.
    pub fn outside(client: &Client, host: &str, path: Option<&str>, repository: &str) -> Remote {
        let host = if is_hub(host) { "docker.io" } else { host };
        let connect = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let repository = match path {
            Some(path) => format!("{}/{repository}", path.trim_matches('/')),
            None if host == "docker.io" && !repository.contains('/') => format!("library/{repository}"),
            None => repository.to_string(),
        };
        let login = Login::Store(client.0.options.credentials.clone());
        Remote { http: client.0.outside.clone(), host: host.to_string(), repository, base: Base::Host(connect.to_string()), login }
    }

    pub async fn url(&self, path: &str) -> Result<Url, Failure> {
        let base = match &self.base {
            Base::Known(url) => url.clone(),
            Base::Host(host) => self.http.base(host).await?,
        };
        let path = if path.is_empty() { String::new() } else { format!("{}/{path}", self.repository) };
        base.join(&path).map_err(|error| Failure::Setup(format!("the address of {}: {error}", self.host)))
    }

    /// Sends a request, logs in when asked to, waits when asked to.
    pub async fn ask(&self, ask: &Ask, rights: Rights) -> Result<Answer, Failure> {
        let scope = self.scope(rights);
        let home = origin(&self.url("").await?);
        let at_home = origin(&ask.url) == home;
        let mut secret = match &self.login {
            Login::Token(token) => auth::bearer(token),
            Login::Store(_) => self.http.tokens.get(&self.host, &scope),
        };
        let (mut tried, mut waits) = (false, 0);
        loop {
            let answer = self.http.send(ask, secret.as_ref().filter(|_| at_home)).await?;
            match answer.response.status() {
                // A challenge from where we were sent on to is none of the registry's.
                StatusCode::UNAUTHORIZED if !tried && origin(answer.response.url()) == home => {
                    secret = Some(self.log_in(&answer, &scope).await?);
                    tried = true;
                }
                status if is_busy(status) && waits < WAITS => {
                    let wait = self.wait(&answer.response, waits)?;
                    tokio::time::sleep(wait).await;
                    waits += 1;
                }
                _ => return Ok(answer),
            }
        }
    }

    fn scope(&self, rights: Rights) -> String {
        let actions = if rights == Rights::Push { "pull,push" } else { "pull" };
        format!("repository:{}:{actions}", self.repository)
    }

    async fn log_in(&self, challenged: &Answer, scope: &str) -> Result<HeaderValue, Failure> {
        let Login::Store(store) = &self.login else {
            return Err(Failure::Unauthorized { registry: self.host.clone() });
        };
        let found = store.find(&self.host).await;
        let credential = match found {
            Ok(credential) => credential,
            // Public images need no login, so a broken helper must not stand in their way.
            Err(error) => {
                tracing::warn!(registry = self.host, error = super::failure::sentence(&error), "going on without a login");
                None
            }
        };
        let wanted = Wanted { registry: &self.host, scope, credential };
        auth::answer(&self.http, challenged, &wanted).await
    }

    /// Tries a login: the registry must take it, or want none.
    pub async fn check_login(&self, credential: &Credential) -> Result<(), Failure> {
        let ask = Ask::new(Method::GET, self.url("").await?);
        let answer = self.http.send(&ask, None).await?;
        if answer.response.status() != StatusCode::UNAUTHORIZED {
            return self.succeeded(answer, "registry").await.map(drop);
        }
        let wanted = Wanted { registry: &self.host, scope: "", credential: Some(credential.clone()) };
        let secret = auth::answer(&self.http, &answer, &wanted).await?;
        let answer = self.http.send(&ask, Some(&secret)).await?;
        self.succeeded(answer, "registry").await.map(drop)
    }

    fn wait(&self, response: &Response, waits: u32) -> Result<Duration, Failure> {
        let Some(asked) = response.headers().get(RETRY_AFTER) else {
            return Ok(Duration::from_millis(200 << waits).min(self.http.limits.wait));
        };
        let text = asked.to_str().unwrap_or("an unreadable time");
        match text.parse::<u64>() {
            Ok(seconds) if Duration::from_secs(seconds) <= self.http.limits.wait => Ok(Duration::from_secs(seconds)),
            Ok(seconds) => Err(Failure::Busy { registry: self.host.clone(), wait: format!("{seconds} s") }),
            Err(_) => Err(Failure::Busy { registry: self.host.clone(), wait: format!("until {text}") }),
        }
    }

    /// Lets a success through and makes a failure of everything else.
    pub async fn succeeded(&self, answer: Answer, what: &str) -> Result<Answer, Failure> {
        let (status, url) = (answer.response.status(), shown_url(answer.response.url()));
        if status.is_success() {
            return Ok(answer);
        }
        let registry = self.host.clone();
        Err(match status {
            StatusCode::UNAUTHORIZED => Failure::Unauthorized { registry },
            StatusCode::NOT_FOUND => Failure::NotFound { registry, what: what.to_string() },
            StatusCode::FORBIDDEN => Failure::Denied { registry, message: self.message(answer.response).await },
            _ => Failure::Status { url, status: status.as_u16(), message: self.message(answer.response).await },
        })
    }

    /// What a registry says about its refusal, made safe to print.
    async fn message(&self, response: Response) -> String {
        let reason = response.status().canonical_reason().unwrap_or("no reason").to_lowercase();
        let Ok(body) = read(&self.http, response, 16 << 10, "the error").await else { return reason };
        let said = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let said = said.as_ref().and_then(|body| body.pointer("/errors/0/message")?.as_str());
        said.map_or(reason, |said| said.chars().filter(|character| !character.is_control()).take(300).collect())
    }

    /// Fetches a manifest or index by tag or digest and checks its digest, its type and that it means one thing.
    pub async fn document(&self, name: &str, wanted: Option<&Digest>) -> Result<Fetched, Failure> {
        let what = format!("manifest {}:{name}", self.repository);
        let accept = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(", ");
        let ask = Ask::new(Method::GET, self.url(&format!("manifests/{name}")).await?).header(ACCEPT, &accept);
        let answer = self.succeeded(self.ask(&ask, Rights::Pull).await?, &what).await?;
        let header = |name| answer.response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_string);
        let (content_type, repeated) = (header(CONTENT_TYPE), header(CONTENT_DIGEST));
        let bytes = read(&self.http, answer.response, LARGEST as u64, &what).await?;
        let digest = Digest::of(&bytes);
        // What the registry repeats is worth a look only because a difference means that something is broken on the way.
        let repeated = repeated.and_then(|digest| digest.parse::<Digest>().ok());
        if let Some(wanted) = wanted.or(repeated.as_ref()).filter(|wanted| **wanted != digest) {
            return Err(Failure::Digest { what, wanted: *wanted, got: digest });
        }
        Ok(Fetched { digest, parsed: manifest::parse(&bytes, content_type.as_deref())? })
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Reads a small body: at most `limit` bytes, within the time for an answer.
pub(super) async fn read(http: &Http, mut response: Response, limit: u64, what: &str) -> Result<Bytes, Failure> {
    let too_large = || Failure::TooLarge { what: what.to_string(), limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let url = response.url().clone();
    let all = async {
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| unreachable(&url, error))? {
            if body.len() as u64 + piece.len() as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    };
    let time = http.limits.answer;
    tokio::time::timeout(time, all).await.unwrap_or_else(|_| Err(Failure::Late { url: shown_url(&url), limit: time }))
}
