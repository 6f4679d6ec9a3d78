//! A guest that listens on a port of its own speaks what the gateway does not: WebSocket.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use common::{Machine, build};

fn socket() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/socket/app.yaml")))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn read(stream: &mut TcpStream, until: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut read = Vec::new();
    while !until(&read) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&read)));
        read.push(byte[0]);
    }
    read
}

#[test]
fn a_guest_with_a_port_speaks_websocket() {
    let (machine, port) = (Machine::up(&[]), free_port());
    machine.deploy(&format!("app: socket\nimage: {}\nenv: {{ PORT: \"{port}\" }}\nuses: {{ listen: [{port}/tcp] }}\n", socket().display()));
    // Key, answer and frames are the examples of RFC 6455, sections 1.3 and 5.7.
    for _ in 0..2 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let answer = String::from_utf8(read(&mut stream, |read| read.ends_with(b"\r\n\r\n"))).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 101 ") && answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
        stream.write_all(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").unwrap();
        assert_eq!(read(&mut stream, |read| read.len() == 7), b"\x81\x05Hello");
    }
    assert!(machine.ok(&["logs", "socket"]).contains(&format!("listening on {port}")));
    // With its pod the port goes.
    machine.ok(&["delete", "app", "socket"]);
    let gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        TcpStream::connect(("127.0.0.1", port)).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    assert!(gone, "somebody still listens on {port}");
}

#[test]
fn without_the_grant_nothing_listens() {
    let (machine, port) = (Machine::up(&[]), free_port());
    let file = machine.data.join("socket.yaml");
    let text = format!("app: socket\nimage: {}\nenv: {{ PORT: \"{port}\" }}\nrollout: {{ deadline: 2s }}\n", socket().display());
    std::fs::write(&file, text).unwrap();
    machine.fails(&["deploy", file.to_str().unwrap(), "--wait"]);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(machine.ok(&["logs", "socket"]).contains("the port is granted"), "its own words say what failed");
}
