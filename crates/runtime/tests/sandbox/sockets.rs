//! Bare connections: where they may go, where they may come from, and how many there are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::ports::Ports;
use runtime::sandbox::{Guest, Host, PodIdentity, Spec};
use runtime::wasi::outgoing::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::outgoing::resolving;
use crate::support::{Seen, client, code, get, host, spec, world};

struct Place {
    seen: Arc<Seen>,
    client: Arc<Client>,
    ports: Arc<Ports>,
}

impl Place {
    fn new(client: Arc<Client>) -> Place {
        Place { seen: Arc::default(), client, ports: Arc::default() }
    }

    async fn guest(&self, name: &str, spec: Spec) -> Result<Guest, runtime::sandbox::Error> {
        let host = Host { outbound: self.client.clone(), ports: self.ports.clone(), ..host(&self.seen) };
        Guest::prepare(&world().engines, code(name).await, spec, host).await
    }

    /// What a command prints with these arguments.
    async fn run(&self, spec: &Spec, args: &[&str]) -> String {
        let args = ["command"].iter().chain(args).map(ToString::to_string).collect();
        let guest = self.guest("command", Spec { args, ..spec.clone() }).await.unwrap();
        assert_eq!(guest.run().await, Ok(0), "{:?}", String::from_utf8_lossy(&self.seen.stderr.lock()));
        String::from_utf8(std::mem::take(&mut self.seen.stdout.lock())).unwrap().trim().to_owned()
    }

    /// What a 0.3 guest answers.
    async fn act(&self, spec: &Spec, act: &str) -> String {
        get(&self.guest("hostile3", spec.clone()).await.unwrap(), &format!("/sockets?{act}")).await
    }

    fn told(&self) -> String {
        self.seen.entries.lock().iter().map(|(_, _, message)| message.as_str()).collect::<Vec<_>>().join("\n")
    }
}

fn connecting(targets: &[&str]) -> Spec {
    Spec { connect: targets.iter().map(|target| target.parse().unwrap()).collect(), time: Duration::from_secs(20), ..spec() }
}

fn listening(port: u16) -> Spec {
    Spec { listen: vec![port], time: Duration::from_secs(20), concurrency: 2, ..spec() }
}

/// Says back what it hears, until the other side is done.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

fn free() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_guest_connects_to_exactly_what_is_granted() {
    let (granted, other) = (echo().await, echo().await);
    let place = Place::new(client());
    let spec = connecting(&[&format!("tcp://{granted}"), "https://api.example:443"]);
    assert_eq!(place.run(&spec, &["talk", &granted.to_string(), "hello"]).await, "hello");
    assert_eq!(place.act(&spec, &format!("talk|{granted}|hello")).await, "hello");
    let before = place.client.attempts();
    assert_eq!(place.run(&spec, &["talk", &other.to_string(), "hello"]).await, "PermissionDenied");
    assert_eq!(place.act(&spec, &format!("talk|{other}|hello")).await, "denied");
    assert_eq!(place.client.attempts(), before, "a refusal comes before any connection");
    let why = format!("connecting to {other} was refused; grant tcp://HOST:{} in uses.connect", other.port());
    assert_eq!(place.told(), format!("{why}\n{why}"), "each of the two says so once");
    // A grant for HTTP is none for bare connections.
    let http = connecting(&[&format!("http://{granted}")]);
    assert_eq!(place.run(&http, &["talk", &granted.to_string(), "hello"]).await, "PermissionDenied");
}

#[tokio::test]
async fn h32_without_a_grant_everything_is_denied() {
    let address = echo().await.to_string();
    let place = Place::new(client());
    for spec in [spec(), connecting(&["tcp://db.example:5432"])] {
        let act = async |act: &str| place.act(&spec, act).await;
        assert_eq!(place.run(&spec, &["talk", &address, "hello"]).await, "PermissionDenied");
        assert_eq!(place.run(&spec, &["bind", "127.0.0.1:0"]).await, "Err(PermissionDenied)");
        assert_eq!(place.run(&spec, &["bind", "0.0.0.0:0"]).await, "Err(PermissionDenied)");
        assert_eq!(place.run(&spec, &["udp", "0.0.0.0:0"]).await, "Err(PermissionDenied)");
        assert!(place.run(&spec, &["lookup", "localhost"]).await.starts_with("refused"));
        assert_eq!(act(&format!("talk|{address}|hello")).await, "denied");
        assert_eq!(act("listen|0.0.0.0:0").await, "denied");
        assert_eq!(act("udp|0.0.0.0:0").await, "denied");
        assert_eq!(act("lookup|localhost").await, "ErrorCode::AccessDenied");
    }
    assert_eq!(place.client.attempts(), 0);
}

#[tokio::test]
async fn h25_a_name_leads_to_public_addresses_only_and_they_to_its_port() {
    const NAMES: &[(&str, &[&str])] =
        &[("db.example", &["192.0.2.1", "1.1.1.1", "2606:4700::1111"]), ("inside.example", &["127.0.0.1", "10.0.0.1", "169.254.169.254"])];
    let place = Place::new(resolving(NAMES, Arc::default()));
    let spec = connecting(&["tcp://db.example:5432", "tcp://inside.example:80"]);
    assert_eq!(place.run(&spec, &["lookup", "db.example"]).await, "1.1.1.1,2606:4700::1111");
    assert_eq!(place.run(&spec, &["lookup", "DB.example"]).await, "1.1.1.1,2606:4700::1111");
    assert_eq!(place.act(&spec, "lookup|db.example").await, "2 found");
    for refused in ["inside.example", "sub.db.example", "db.example.", "db.example.evil.example", "1.1.1.1", "127.0.0.1"] {
        // Rust's library reads an address itself.
        if refused.ends_with("example") {
            assert!(place.run(&spec, &["lookup", refused]).await.starts_with("refused"), "{refused}");
        }
        assert_eq!(place.act(&spec, &format!("lookup|{refused}")).await, "ErrorCode::AccessDenied", "{refused}");
    }
    // Not for another port, and not without having asked for the name.
    assert_eq!(place.run(&spec, &["talk", "db.example:80", "x"]).await, "PermissionDenied");
    assert_eq!(place.run(&spec, &["talk", "1.1.1.1:5432", "x"]).await, "PermissionDenied");
    assert_eq!(place.client.attempts(), 0);
    assert!(
        place.told().contains("1.1.1.1:80") || place.told().contains("inside.example resolves to no public address"),
        "{}",
        place.told()
    );
}

#[tokio::test]
async fn h24_connections_of_a_pod_have_a_bound() {
    let address = echo().await;
    let place = Place::new(client());
    let spec = connecting(&[&format!("tcp://{address}")]);
    assert_eq!(place.run(&spec, &["many", &address.to_string(), "200"]).await, "128 200");
    assert!(place.told().contains("all 128 connections and requests that the pod may have under way at a time are"), "{}", place.told());
    // What is left of a connection counts, also when its socket is gone.
    assert_eq!(place.act(&spec, &format!("many|{address}|200")).await, "128 128");
}

#[tokio::test]
async fn a_worker_listens_on_the_port_that_it_was_granted() {
    let place = Place::new(client());
    let port = free();
    let args = ["command", "serve", &format!("0.0.0.0:{port}")].map(str::to_owned).to_vec();
    let guest = place.guest("command", Spec { args, ..listening(port) }).await.unwrap();
    let running = tokio::spawn({
        let guest = guest.clone();
        async move { guest.run().await }
    });
    assert_eq!(said(port, "hello").await, "hello");

    // Two are held; a third is turned away, and taken once they are gone.
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(port).await;
        stream.write_all(b"hold").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        held.push(stream);
    }
    let mut third = connect(port).await;
    assert!(matches!(third.read(&mut [0; 4]).await, Ok(0) | Err(_)), "nobody speaks to it");
    assert!(place.told().contains("all 2 connections that the pod takes at a time are open"), "{}", place.told());

    let refused = |other: &str| PodIdentity { name: other.into(), uid: other.into(), ..spec().pod };
    let second = place.guest("command", Spec { pod: refused("user-2"), ..listening(port) }).await.err().unwrap();
    let why = std::error::Error::source(&second).unwrap().to_string();
    assert_eq!(why, format!("port {port}/tcp of this node belongs to pod default/user-1; two pods cannot listen on one port of a node"));

    running.abort();
    let _ = running.await;
    drop(guest);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "it listens no more");
    place.guest("command", Spec { pod: refused("user-2"), ..listening(port) }).await.unwrap();
    assert_eq!(place.run(&listening(free()), &["bind", &format!("0.0.0.0:{port}")]).await, "Err(PermissionDenied)");
}

#[tokio::test]
async fn a_guest_of_0_3_listens_too() {
    let place = Place::new(client());
    let port = free();
    let guest = place.guest("hostile3", listening(port)).await.unwrap();
    let answer = tokio::spawn(async move { get(&guest, &format!("/sockets?listen|0.0.0.0:{port}")).await });
    let mut stream = connect(port).await;
    stream.write_all(b"hello").await.unwrap();
    drop(stream);
    assert_eq!(answer.await.unwrap(), "5 heard");
}

/// A connection to a guest that may still be starting.
async fn connect(port: u16) -> TcpStream {
    for _ in 0..500 {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody listens on {port}");
}

async fn said(port: u16, text: &str) -> String {
    let mut stream = connect(port).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).await.unwrap();
    String::from_utf8(heard).unwrap()
}
