//! HTTP with a distrust: guarded addresses, redirects followed by hand, secrets that never leave their host, bounded waiting.

use std::collections::{BTreeSet, HashMap};
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::failure::Failure;
use super::guard::{Allowed, Class, Guard, Refused};
use super::location::{address, host_and_port, is_loopback, join, origin, parse_url, shown_url};
use super::{Limits, Options};

/// How often a request is sent on to another place.
const REDIRECTS: usize = 5;

/// Whose certificates are believed.
pub(super) enum Trust {
    /// The system's, and these in PEM.
    System(Vec<String>),
    /// This authority in PEM alone.
    Only(String),
}

/// Connections to registries that share one trust.
pub(super) struct Http {
    trust: Trust,
    pub limits: Limits,
    plain_http: BTreeSet<String>,
    /// One client for each set of allowed addresses, since a resolver does not hear for whom it resolves. Made when first needed:
    /// reading the system's certificates takes longer than all else here.
    clients: Mutex<HashMap<Allowed, reqwest::Client>>,
    tls: Mutex<Option<ClientConfig>>,
    /// The scheme that a host with a choice turned out to speak.
    schemes: Mutex<HashMap<String, &'static str>>,
    pub tokens: super::auth::Tokens,
}

/// A request that can be sent again.
#[derive(Clone)]
pub(super) struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    /// The class of the registry that named the URL; none when the user or the configuration did.
    pub named_by: Option<Class>,
}

/// An answer's head, its body still to be read, and the class of the machine that gave it.
pub(super) struct Answer {
    pub response: reqwest::Response,
    pub class: Class,
}

impl Ask {
    pub fn new(method: Method, url: Url) -> Ask {
        Ask { method, url, headers: HeaderMap::new(), body: None, named_by: None }
    }

    pub fn header(mut self, name: http::HeaderName, value: &str) -> Ask {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub fn body(mut self, body: Bytes) -> Ask {
        self.body = Some(body);
        self
    }
}

impl Http {
    pub fn new(trust: Trust, options: &Options) -> Result<Http, Failure> {
        // Read once now, so that a mistake in a certificate is told at the start.
        match &trust {
            Trust::System(pems) => pems.iter().try_for_each(|pem| certificates(pem).map(drop))?,
            Trust::Only(pem) => drop(certificates(pem)?),
        }
        Ok(Http {
            trust,
            limits: options.limits.clone(),
            plain_http: options.plain_http.clone(),
            clients: Mutex::default(),
            tls: Mutex::default(),
            schemes: Mutex::default(),
            tokens: super::auth::Tokens::default(),
        })
    }

    /// Sends a request and follows where it is sent on to. `secret` goes only to the origin of the first URL.
    pub async fn send(&self, ask: &Ask, secret: Option<&HeaderValue>) -> Result<Answer, Failure> {
        let mut ask = ask.clone();
        let home = origin(&ask.url);
        for _ in 0..=REDIRECTS {
            let secret = secret.filter(|_| origin(&ask.url) == home);
            let answer = self.send_once(&ask, secret).await?;
            let Some(next) = next(&ask, &answer)? else { return Ok(answer) };
            ask.url = next;
            // The class of the first registry decides for the whole chain.
            ask.named_by.get_or_insert(answer.class);
        }
        Err(Failure::Redirect { to: shown_url(&ask.url), why: "there were more than 5 redirects" })
    }

    /// Sends a request and takes the answer as it is, a redirect too.
    pub async fn send_once(&self, ask: &Ask, secret: Option<&HeaderValue>) -> Result<Answer, Failure> {
        let allowed = self.allowed(ask)?;
        if let Some(address) = address(&ask.url)
            && let Some(why) = allowed.refusal(address)
        {
            return Err(Failure::Address { host: ask.url.host_str().unwrap_or_default().to_string(), address, why });
        }
        let mut request = self.client(allowed)?.request(ask.method.clone(), ask.url.clone()).headers(ask.headers.clone());
        if let Some(secret) = secret {
            request = request.header(AUTHORIZATION, secret.clone());
        }
        let mut limit = self.limits.answer;
        if let Some(body) = &ask.body {
            // Sending takes its time as well.
            limit += Duration::from_secs(body.len() as u64 / self.limits.slowest.max(1)).min(self.limits.transfer);
            request = request.body(body.clone());
        }
        let response = match tokio::time::timeout(limit, request.send()).await {
            Err(_) => return Err(Failure::Late { url: shown_url(&ask.url), limit }),
            // Connecting has the time for an answer too, and may be the first to see it end.
            Ok(Err(error)) if error.is_timeout() => return Err(Failure::Late { url: shown_url(&ask.url), limit: self.limits.answer }),
            Ok(Err(error)) => return Err(unreachable(&ask.url, error)),
            Ok(Ok(response)) => response,
        };
        let class = response.remote_addr().map_or(Class::Public, |address| Class::of(address.ip()));
        Ok(Answer { response, class })
    }

    fn allowed(&self, ask: &Ask) -> Result<Allowed, Failure> {
        let plain = ask.url.scheme() == "http";
        if plain && is_loopback(&ask.url) {
            // A place that is named by a registry elsewhere is refused by its class all the same.
            return Ok(ask.named_by.map_or(Allowed::LoopbackOnly, Allowed::Within));
        }
        if plain && !self.plain_http.contains(&host_and_port(&ask.url)) {
            return Err(Failure::Redirect { to: shown_url(&ask.url), why: "it is not https" });
        }
        Ok(ask.named_by.map_or(Allowed::Named, Allowed::Within))
    }

    fn client(&self, allowed: Allowed) -> Result<reqwest::Client, Failure> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&allowed) {
            return Ok(client.clone());
        }
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls()?)
            .dns_resolver(Arc::new(Guard(allowed)))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(self.limits.answer)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("wctl/", env!("CARGO_PKG_VERSION")));
        let client = builder.build().map_err(|error| Failure::Setup(super::failure::sentence(&error)))?;
        clients.insert(allowed, client.clone());
        Ok(client)
    }

    fn tls(&self) -> Result<ClientConfig, Failure> {
        let mut kept = self.tls.lock();
        if let Some(config) = &*kept {
            return Ok(config.clone());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Failure::Setup(error.to_string()))?;
        let mut config = builder.with_root_certificates(self.roots()?).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(kept.insert(config).clone())
    }

    fn roots(&self) -> Result<RootCertStore, Failure> {
        let mut roots = RootCertStore::empty();
        let own = match &self.trust {
            Trust::Only(pem) => certificates(pem)?,
            Trust::System(pems) => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    // A small container often has none.
                    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                }
                pems.iter().map(|pem| certificates(pem)).collect::<Result<Vec<_>, _>>()?.concat()
            }
        };
        own.into_iter()
            .try_for_each(|certificate| roots.add(certificate))
            .map_err(|error| Failure::Setup(format!("a certificate cannot be used: {error}")))?;
        Ok(roots)
    }

    /// The base address of a registry. https, except where plain http is allowed and https is not spoken.
    pub async fn base(&self, host: &str) -> Result<Url, Failure> {
        let secure = parse_url(&format!("https://{host}/v2/"))?;
        if !is_loopback(&secure) && !self.plain_http.contains(host) {
            return Ok(secure);
        }
        let known = self.schemes.lock().get(host).copied();
        let scheme = match known {
            Some(scheme) => scheme,
            None => {
                let scheme = self.spoken(&secure).await?;
                self.schemes.lock().insert(host.to_string(), scheme);
                scheme
            }
        };
        if scheme == "https" { Ok(secure) } else { parse_url(&format!("http://{host}/v2/")) }
    }

    // A bad certificate is an answer in TLS: there is no falling back from that.
    async fn spoken(&self, url: &Url) -> Result<&'static str, Failure> {
        match self.send_once(&Ask::new(Method::GET, url.clone()), None).await {
            Ok(_) => Ok("https"),
            Err(Failure::Unreachable { source, .. }) if speaks_no_tls(&source) => Ok("http"),
            Err(failure) => Err(failure),
        }
    }
}

/// Where an answer sends us on to.
fn next(ask: &Ask, answer: &Answer) -> Result<Option<Url>, Failure> {
    let status = answer.response.status();
    let location = answer.response.headers().get(LOCATION);
    let (true, Some(location)) = (status.is_redirection() && status != StatusCode::NOT_MODIFIED, location) else { return Ok(None) };
    let next = join(&ask.url, location)?;
    let safe = matches!(ask.method, Method::GET | Method::HEAD);
    if !safe && !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return Err(Failure::Redirect { to: shown_url(&next), why: "the request would become another one" });
    }
    Ok(Some(next))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Failure::Setup("a file of certificates holds none: it must have -----BEGIN CERTIFICATE----- in it".to_string())),
        Err(error) => Err(Failure::Setup(format!("a certificate cannot be read: {error}"))),
    }
}

pub(super) fn unreachable(url: &Url, error: reqwest::Error) -> Failure {
    match cause::<Refused>(&error) {
        Some(refused) => Failure::Address { host: refused.host.clone(), address: refused.address, why: refused.why },
        None => Failure::Unreachable { url: shown_url(url), source: error.without_url() },
    }
}

fn speaks_no_tls(error: &reqwest::Error) -> bool {
    match cause::<rustls::Error>(error) {
        Some(error) => matches!(error, rustls::Error::InvalidMessage(_)),
        None => cause::<io::Error>(error).is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionAborted
            )
        }),
    }
}

/// Finds an error of one type in a chain of causes, also inside an `io::Error`, whose own source skips what it wraps.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| cause::<E>(wrapped)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http() -> Http {
        Http::new(Trust::System(Vec::new()), &Options::default()).unwrap()
    }

    /// A port of this machine, and how many have connected to it.
    async fn recorder() -> (u16, Arc<std::sync::atomic::AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let count = seen.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        (port, seen)
    }

    #[tokio::test]
    async fn r12_a_public_registry_never_leads_to_this_machine() {
        let (port, seen) = recorder().await;
        for scheme in ["http", "https"] {
            for host in ["localhost", "127.0.0.1", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
                for class in [Class::Public, Class::Private] {
                    let mut ask = Ask::new(Method::GET, parse_url(&format!("{scheme}://{host}:{port}/")).unwrap());
                    ask.named_by = Some(class);
                    let refused = http().send_once(&ask, None).await.map(|_| ()).unwrap_err();
                    assert!(matches!(refused, Failure::Address { .. }), "{scheme}://{host}: {refused:?}");
                }
            }
        }
        assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 0, "a connection was tried");
    }

    #[tokio::test]
    async fn plain_http_is_refused_but_for_this_machine_and_configured_hosts() {
        let ask = |url: &str| Ask::new(Method::GET, parse_url(url).unwrap());
        assert!(matches!(http().send_once(&ask("http://registry.example/"), None).await, Err(Failure::Redirect { .. })));
        assert_eq!(http().allowed(&ask("http://localhost:1/")).unwrap(), Allowed::LoopbackOnly);
        let options = Options { plain_http: ["lan.example:5000".to_string()].into(), ..Options::default() };
        let lan = Http::new(Trust::System(Vec::new()), &options).unwrap();
        assert_eq!(lan.allowed(&ask("http://lan.example:5000/")).unwrap(), Allowed::Named);
        assert!(lan.allowed(&ask("http://lan.example:5001/")).is_err());
    }

    #[test]
    fn mistakes_in_certificates_are_told_at_once() {
        for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"] {
            assert!(Http::new(Trust::System(vec![pem.to_string()]), &Options::default()).is_err(), "{pem:?}");
            assert!(Http::new(Trust::Only(pem.to_string()), &Options::default()).is_err(), "{pem:?}");
        }
    }
}
