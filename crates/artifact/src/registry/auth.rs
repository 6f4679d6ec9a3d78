//! Who we are to a registry: challenges, tokens and the services that hand these out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use parking_lot::Mutex;
use reqwest::Url;
use serde::Deserialize;

use super::failure::Failure;
use super::location::{join, shown_url};
use super::remote::read;
use super::wire::{Answer, Ask, Http};
use crate::credentials::Credential;
use crate::digest::shown;

/// A token service's answer needs no more bytes.
const LARGEST: u64 = 256 << 10;

/// Tokens are not kept longer, whatever the service says.
const LONGEST: Duration = Duration::from_secs(3600);

/// Tokens by registry and what they are good for.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<(String, String), Token>>);

#[derive(Clone)]
struct Token {
    secret: HeaderValue,
    until: Instant,
}

impl Tokens {
    pub fn get(&self, registry: &str, scope: &str) -> Option<HeaderValue> {
        let tokens = self.0.lock();
        let token = tokens.get(&(registry.to_string(), scope.to_string()))?;
        (token.until > Instant::now()).then(|| token.secret.clone())
    }

    fn keep(&self, registry: &str, scope: &str, secret: HeaderValue, time: Duration) {
        let mut tokens = self.0.lock();
        let now = Instant::now();
        tokens.retain(|_, token| token.until > now);
        tokens.insert((registry.to_string(), scope.to_string()), Token { secret, until: now + time.min(LONGEST) });
    }
}

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password, to the registry itself.
    Basic,
    /// A token from a service.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// What a login is for.
pub(super) struct Wanted<'a> {
    pub registry: &'a str,
    pub scope: &'a str,
    pub credential: Option<Credential>,
}

/// Turns a 401 into something to send along next time.
pub(super) async fn answer(http: &Http, challenged: &Answer, wanted: &Wanted<'_>) -> Result<HeaderValue, Failure> {
    let unauthorized = || Failure::Unauthorized { registry: wanted.registry.to_string() };
    let (secret, time) = match (challenge(challenged.response.headers()), &wanted.credential) {
        (Some(Challenge::Bearer { realm, service, scope }), _) => {
            let service = Service { realm: &realm, service: service.as_deref(), scope: scope.as_deref().unwrap_or(wanted.scope) };
            token(http, challenged, &service, wanted).await?
        }
        (Some(Challenge::Basic), Some(Credential::Password { user, password })) => {
            (basic(user, password).ok_or_else(unauthorized)?, LONGEST)
        }
        _ => return Err(unauthorized()),
    };
    http.tokens.keep(wanted.registry, wanted.scope, secret.clone(), time);
    Ok(secret)
}

struct Service<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    scope: &'a str,
}

async fn token(http: &Http, challenged: &Answer, service: &Service<'_>, wanted: &Wanted<'_>) -> Result<(HeaderValue, Duration), Failure> {
    let fail = |why: String| Failure::Token { registry: wanted.registry.to_string(), realm: shown(service.realm), why };
    let realm = HeaderValue::from_str(service.realm).map_err(|_| fail("its address is malformed".to_string()))?;
    let url = join(challenged.response.url(), &realm).map_err(|failure| fail(failure.to_string()))?;
    let (mut ask, secret) = request(url, service, wanted.credential.as_ref());
    ask.named_by = Some(challenged.class);
    // A token service has no reason to send us elsewhere, and every reason to be distrusted if it does.
    let answer = http.send_once(&ask, secret.as_ref()).await?;
    let status = answer.response.status();
    if status.is_redirection() {
        return Err(fail("it redirects".to_string()));
    }
    if matches!(status.as_u16(), 400 | 401 | 403) {
        return Err(Failure::Unauthorized { registry: wanted.registry.to_string() });
    }
    if !status.is_success() {
        return Err(fail(format!("it answered {status}")));
    }
    let bytes = read(http, answer.response, LARGEST, "the token").await?;
    let parsed: TokenAnswer = serde_json::from_slice(&bytes).map_err(|_| fail(format!("{} gave no token", shown_url(&ask.url))))?;
    let token = parsed.token.or(parsed.access_token).unwrap_or_default();
    let secret = bearer(&token).filter(|_| !token.is_empty()).ok_or_else(|| fail("its token is empty or malformed".to_string()))?;
    // 60 s is what the protocol says when the service does not.
    Ok((secret, Duration::from_secs(parsed.expires_in.unwrap_or(60).saturating_sub(5))))
}

fn request(mut url: Url, service: &Service<'_>, credential: Option<&Credential>) -> (Ask, Option<HeaderValue>) {
    let mut fields: Vec<(&str, &str)> = service.service.map(|service| ("service", service)).into_iter().collect();
    if !service.scope.is_empty() {
        fields.push(("scope", service.scope));
    }
    match credential {
        Some(Credential::Identity(token)) => {
            fields.extend([("grant_type", "refresh_token"), ("client_id", "wctl"), ("refresh_token", token)]);
            let mut form = url.clone();
            form.query_pairs_mut().clear().extend_pairs(fields);
            let body = Bytes::from(form.query().unwrap_or_default().to_string());
            let ask = Ask::new(Method::POST, url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
            (ask, None)
        }
        other => {
            url.query_pairs_mut().extend_pairs(fields);
            let secret = match other {
                Some(Credential::Password { user, password }) => basic(user, password),
                _ => None,
            };
            (Ask::new(Method::GET, url), secret)
        }
    }
}

pub(super) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The best challenge of an answer: a token before a password.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut all =
        headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|header| header.to_str().ok()).flat_map(challenges).collect::<Vec<_>>();
    all.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    all.into_iter().next()
}

/// Reads `Scheme key="value", key=value, Scheme …` (RFC 9110, 11.6.1). What is malformed ends the reading.
fn challenges(mut text: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, HashMap<String, String>)> = Vec::new();
    loop {
        text = text.trim_start_matches([' ', ',', '\t']);
        let end = text.find(|character: char| !character.is_ascii_alphanumeric() && !matches!(character, '-' | '_')).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        if word.is_empty() {
            break;
        }
        match (rest.strip_prefix('='), found.last_mut()) {
            (Some(rest), Some((_, parameters))) => {
                let Some((value, rest)) = value(rest) else { break };
                parameters.entry(word.to_ascii_lowercase()).or_insert(value);
                text = rest;
            }
            (Some(_), None) => break,
            (None, _) => {
                found.push((word.to_ascii_lowercase(), HashMap::new()));
                text = rest;
            }
        }
    }
    found.into_iter().filter_map(|(scheme, parameters)| known(&scheme, parameters)).collect()
}

fn known(scheme: &str, mut parameters: HashMap<String, String>) -> Option<Challenge> {
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope"),
        }),
        _ => None,
    }
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return Some((text[..end].to_string(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer_challenge(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), scope: scope.map(Into::into) }
    }

    #[test]
    fn challenges_are_read_in_all_their_forms() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(
            challenges(hub),
            [bearer_challenge("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push"))]
        );
        assert_eq!(challenges(r#"Basic realm="a, \"b\" c""#), [Challenge::Basic]);
        assert_eq!(challenges(r#"Basic realm=x, bearer realm=y"#), [Challenge::Basic, bearer_challenge("y", None, None)]);
        assert_eq!(challenges("Negotiate, Basic"), [Challenge::Basic]);
        for broken in ["", "=", "Bearer", "Bearer realm=\"open", "Bearer realm=\"a\\", ",,,", "Bearer =x", "\u{1F600}"] {
            assert_eq!(challenges(broken), [], "{broken}");
        }
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=a"));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=b"));
        assert_eq!(challenge(&headers), Some(bearer_challenge("b", None, None)));
    }

    #[test]
    fn tokens_end() {
        let tokens = Tokens::default();
        tokens.keep("a", "s", bearer("1").unwrap(), Duration::ZERO);
        tokens.keep("b", "s", bearer("2").unwrap(), LONGEST);
        assert_eq!(tokens.get("a", "s"), None);
        assert_eq!(tokens.get("b", "s"), bearer("2"));
        assert_eq!(tokens.get("b", "other"), None);
    }
}
