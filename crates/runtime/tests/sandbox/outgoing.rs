//! What a guest may reach, and that a refusal comes before any connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use runtime::body::{self, Body};
use runtime::sandbox::{CallError, Callee, Calls, Guest, Host, PodIdentity, Spec, Trace};
use runtime::wasi::outgoing::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{code, get, host, read, request, spec, world};

/// A guest with these grants, and the client through which it would go out.
async fn guest(name: &str, connect: &[&str], client: Arc<Client>) -> Guest {
    let spec = Spec { connect: connect.iter().map(|target| target.parse().unwrap()).collect(), ..slow() };
    let host = Host { outbound: client, ..host(&Default::default()) };
    Guest::prepare(&world().engines, code(name).await, spec, host).await.unwrap()
}

fn slow() -> Spec {
    Spec { time: Duration::from_secs(20), ..spec() }
}

/// A client for which each of these names has these addresses.
pub fn resolving(names: &'static [(&'static str, &'static [&'static str])], asked: Arc<AtomicU64>) -> Arc<Client> {
    let lookup = move |name: String| {
        asked.fetch_add(1, Ordering::Relaxed);
        let found = names.iter().find(|(known, _)| *known == name).map(|(_, addresses)| *addresses);
        let found: Option<Vec<SocketAddr>> = found.map(|all| all.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect());
        Box::pin(async move { found.ok_or_else(|| std::io::Error::other("no such name")) }) as _
    };
    Arc::new(Client::with_lookup(Vec::new(), Arc::new(lookup)).unwrap())
}

/// A server on loopback that says how many connections it saw.
async fn server() -> (u16, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicU64::new(0));
    let count = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nthere").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, seen)
}

#[tokio::test]
async fn a_request_to_elsewhere_carries_the_trace_of_the_one_that_is_answered() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let heads = tokio::spawn(async move {
        let mut heads = Vec::new();
        for _ in 0..4 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            let n = stream.read(&mut buffer).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nthere").await.unwrap();
            heads.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
        }
        heads
    });
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let value = |text: &'static str| http::HeaderValue::from_static(text);
    let trace = Trace { id: value("7"), hops: 0, parent: Some(value(parent)), state: Some(value("a=1")) };
    for name in ["hostile", "hostile3"] {
        let guest = guest(name, &[&target], Arc::new(Client::new(Vec::new()).unwrap())).await;
        for trace in [Some(&trace), None] {
            let mut request = request(&format!("/fetch?http|{}|/", target.trim_start_matches("http://")));
            trace.map(|trace| request.extensions_mut().insert(trace.clone()));
            let response = guest.handle(request).await.unwrap();
            assert!(read(response).await.unwrap().starts_with(b"200"));
        }
    }
    let heads = heads.await.unwrap();
    for (at, head) in heads.iter().enumerate() {
        let carries = |line: &str| head.lines().any(|have| have == line);
        let traced = at % 2 == 0;
        assert_eq!((carries(&format!("traceparent: {parent}")), carries("tracestate: a=1")), (traced, traced), "{head}");
    }
}

#[tokio::test]
async fn h25_no_internal_address_is_reached_without_a_literal_grant() {
    let (port, seen) = server().await;
    let asked = Arc::new(AtomicU64::new(0));
    let client = resolving(&[], asked.clone());
    for name in ["hostile", "hostile3"] {
        let guest = guest(name, &["http://api.example:80"], client.clone()).await;
        for host in [
            "127.0.0.1",
            "127.1",
            "[::1]",
            "0.0.0.0",
            "[::ffff:127.0.0.1]",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "localhost",
            "169.254.169.254",
            "10.0.0.1",
            "192.168.0.1",
            "172.16.0.1",
            "[fe80::1]",
            "[fd00::1]",
            "user.internal",
            "api.example@127.0.0.1",
        ] {
            for scheme in ["http", "https"] {
                let answer = get(&guest, &format!("/fetch?{scheme}|{host}:{port}|/")).await;
                assert!(answer.starts_with("error: "), "{name} {scheme}://{host}: {answer}");
            }
        }
    }
    assert_eq!((client.attempts(), asked.load(Ordering::Relaxed), seen.load(Ordering::Relaxed)), (0, 0, 0));
}

#[tokio::test]
async fn h25_a_granted_name_that_resolves_inside_is_refused() {
    let asked = Arc::new(AtomicU64::new(0));
    let names: &[(&str, &[&str])] = &[
        ("inside.example", &["127.0.0.1"]),
        ("private.example", &["10.0.0.1", "192.168.3.4"]),
        ("metadata.example", &["169.254.169.254"]),
        ("six.example", &["::1", "fe80::1", "::ffff:127.0.0.1"]),
        ("localhost", &["127.0.0.1", "::1"]),
    ];
    let client = resolving(names, asked.clone());
    for (host, _) in names {
        let guest = guest("hostile", &[&format!("http://{host}:80"), &format!("https://{host}:443")], client.clone()).await;
        for scheme in ["http", "https"] {
            let answer = get(&guest, &format!("/fetch?{scheme}|{host}|/")).await;
            assert!(answer.contains("DestinationIpProhibited"), "{scheme}://{host}: {answer}");
        }
    }
    assert!(asked.load(Ordering::Relaxed) > 0);
    assert_eq!(client.attempts(), 0);
}

#[tokio::test]
async fn h25_a_literal_grant_reaches_the_address_over_one_pooled_connection() {
    let (port, seen) = server().await;
    let client = resolving(&[], Arc::default());
    for (name, expected) in [("hostile", "200 there"), ("hostile3", "200")] {
        let guest = guest(name, &[&format!("http://127.0.0.1:{port}")], client.clone()).await;
        for _ in 0..3 {
            assert_eq!(get(&guest, &format!("/fetch?http|127.0.0.1:{port}|/")).await, expected);
        }
    }
    assert!(client.attempts() > 0);
    assert!((1..=3).contains(&seen.load(Ordering::Relaxed)), "{} connections", seen.load(Ordering::Relaxed));
}

#[tokio::test]
async fn h25_a_path_that_is_an_address_itself_is_refused() {
    let client = resolving(&[], Arc::default());
    let guest = guest("hostile", &["http://api.example:80"], client.clone()).await;
    let answer = get(&guest, "/fetch?http|api.example|absolute:x").await;
    assert!(answer.contains("unsettable"), "{answer}");
    assert_eq!(client.attempts(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn h25_no_path_of_a_socket_is_reached() {
    use runtime::sandbox::Target;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let (path, asked) = (path.to_str().unwrap(), Arc::new(AtomicU64::new(0)));
    let encoded = path.replace('/', "%2F");
    // No manifest can grant one.
    for target in [format!("unix://{path}"), format!("http+unix://{encoded}"), format!("http://unix:{path}")] {
        assert!(target.parse::<Target>().is_err(), "{target}");
    }
    let client = resolving(&[], asked.clone());
    for name in ["hostile", "hostile3"] {
        let guest = guest(name, &["http://api.example:80"], client.clone()).await;
        for (scheme, authority) in [
            ("unix", path),
            ("unix", &*encoded),
            ("http+unix", &*encoded),
            ("unix", "api.example"),
            ("file", ""),
            ("http", path),
            ("http", &*encoded),
            ("http", &*format!("unix:{path}")),
            ("http", "unix"),
        ] {
            let answer = get(&guest, &format!("/fetch?{scheme}|{authority}|/")).await;
            assert!(answer.starts_with("error: "), "{name} {scheme}://{authority}: {answer}");
        }
    }
    assert_eq!((client.attempts(), asked.load(Ordering::Relaxed)), (0, 0));
    let nobody = tokio::time::timeout(Duration::from_millis(10), listener.accept()).await;
    assert!(nobody.is_err(), "somebody connected");
}

#[tokio::test]
async fn h25_a_redirect_inside_is_followed_by_nobody() {
    let (port, seen) = server().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let granted = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                let head = format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
            }
        }
    });
    let client = resolving(&[], Arc::default());
    for name in ["hostile", "hostile3"] {
        let guest = guest(name, &[&format!("http://{granted}")], client.clone()).await;
        let answer = get(&guest, &format!("/fetch?http|{granted}|/")).await;
        assert_eq!(answer.trim(), "302", "{name}: the host passes a redirect on");
        let before = client.attempts();
        let answer = get(&guest, &format!("/fetch?http|127.0.0.1:{port}|/")).await;
        assert!(answer.contains("HttpRequestDenied"), "{name}: {answer}");
        assert_eq!(client.attempts(), before);
    }
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn h25_a_request_asks_for_its_name_once() {
    // Inside at first and outside whenever it is asked again: a second look would be the one that counts.
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let lookup = move |_| {
        let address = if count.fetch_add(1, Ordering::Relaxed) == 0 { "127.0.0.1" } else { "10.0.0.1" };
        let address = SocketAddr::new(address.parse().unwrap(), 0);
        Box::pin(async move { Ok(vec![address]) }) as _
    };
    let client = Arc::new(Client::with_lookup(Vec::new(), Arc::new(lookup)).unwrap());
    let guest = guest("hostile", &["http://turns.example:80"], client.clone()).await;
    assert!(get(&guest, "/fetch?http|turns.example|/").await.contains("DestinationIpProhibited"));
    assert_eq!((asked.load(Ordering::Relaxed), client.attempts()), (1, 0));
}

#[tokio::test]
async fn h25_no_line_break_gets_into_a_request() {
    let (port, seen) = server().await;
    let client = resolving(&[], Arc::default());
    let target = format!("127.0.0.1:{port}");
    for name in ["hostile", "hostile3"] {
        let guest = guest(name, &[&format!("http://{target}")], client.clone()).await;
        for what in [
            format!("{target}|/%0d%0ahost: evil.example"),
            format!("{target}|/a HTTP/1.1%0d%0a%0d%0aGET /b"),
            format!("{target}|/%0a"),
            format!("{target}|/%0d"),
            format!("{target}%0d%0ax: y|/"),
            format!("{target}|/|x-some|a%0d%0ahost: evil.example"),
            format!("{target}|/|x-some|a%0ab"),
            format!("{target}|/|x-some|a%0db"),
            format!("{target}|/|x-some%0d%0ahost|evil.example"),
            format!("{target}|/|host|evil.example"),
        ] {
            let answer = get(&guest, &format!("/fetch?http|{}", what.replace(' ', "%20"))).await;
            assert!(answer.starts_with("error: "), "{name} {what}: {answer}");
        }
    }
    assert_eq!((client.attempts(), seen.load(Ordering::Relaxed)), (0, 0));
}

#[tokio::test]
async fn h26_only_the_very_host_and_port_are_granted() {
    let asked = Arc::new(AtomicU64::new(0));
    let client = resolving(&[], asked.clone());
    for name in ["hostile", "hostile3"] {
        let guest = guest(name, &["https://api.example:443"], client.clone()).await;
        for (scheme, authority) in [
            ("https", "www.api.example"),
            ("https", "example"),
            ("https", "api.example."),
            ("https", "api.example:444"),
            ("http", "api.example"),
            ("http", "api.example:443"),
            ("https", "user@api.example"),
            ("https", "api.example@evil.example"),
            ("https", "api.example.evil.example"),
            ("https", "xn--pi-7ka.example"),
            ("https", "evilapi.example"),
        ] {
            let answer = get(&guest, &format!("/fetch?{scheme}|{authority}|/")).await;
            assert!(answer.starts_with("error: "), "{name} {scheme}://{authority}: {answer}");
        }
        assert_eq!((client.attempts(), asked.load(Ordering::Relaxed)), (0, 0), "{name}");
        // The host itself, in whatever case, gets as far as its name.
        let answer = get(&guest, "/fetch?https|API.example|/").await;
        assert!(answer.contains("DestinationUnavailable"), "{answer}");
        assert!(asked.swap(0, Ordering::Relaxed) > 0);
    }
}

/// Answers with who called what.
struct Echo;

#[async_trait]
impl Calls for Echo {
    async fn call(
        &self,
        caller: &PodIdentity,
        service: &Callee,
        request: Request<Body>,
        remaining: Duration,
    ) -> Result<Response<Body>, CallError> {
        if *service == Callee::Internal("busy".into()) {
            return Err(CallError::Unavailable(service.to_string()));
        }
        assert!(remaining <= slow().time);
        Ok(Response::new(body::full(format!("{} calls {service}{}", caller.service, request.uri().path()))))
    }
}

#[tokio::test]
async fn services_of_the_app_are_called_only_when_granted() {
    let client = resolving(&[], Arc::default());
    let spec = Spec { call: vec!["stock".into(), "busy".into()], ..slow() };
    let host = Host { outbound: client.clone(), calls: Arc::new(Echo), ..host(&Default::default()) };
    let guest = Guest::prepare(&world().engines, code("hostile").await, spec, host).await.unwrap();
    assert_eq!(get(&guest, "/fetch?http|stock.internal|/apple").await, "200 user calls stock.internal/apple");
    assert!(get(&guest, "/fetch?http|busy.internal|/").await.contains("DestinationUnavailable"));
    for refused in
        ["http|user.internal|/", "http|stock.other.internal|/", "https|stock.internal|/", "http|stock.internal:81|/", "http|.internal|/"]
    {
        let answer = get(&guest, &format!("/fetch?{refused}")).await;
        assert!(answer.contains("HttpRequestDenied"), "{refused}: {answer}");
    }
    assert_eq!(client.attempts(), 0);
}
