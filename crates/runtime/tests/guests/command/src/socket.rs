//! Bare connections, both ways.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};

/// What comes back for a text, or why nothing does.
pub fn talk(address: &str, text: &str) -> String {
    let spoken = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(text.as_bytes())?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    spoken().unwrap_or_else(|error| format!("{:?}", error.kind()))
}

/// The addresses of a name.
pub fn lookup(name: &str) -> String {
    match (name, 0).to_socket_addrs() {
        Ok(found) => found.map(|address| address.ip().to_string()).collect::<Vec<_>>().join(","),
        Err(error) => format!("refused: {:?}", error.kind()),
    }
}

/// How many of `n` connections there can be at once, and then one after the other.
pub fn many(address: &str, n: usize) -> String {
    let at_once = (0..n).filter_map(|_| TcpStream::connect(address).ok()).collect::<Vec<_>>().len();
    let in_turn = (0..n).map_while(|_| TcpStream::connect(address).ok()).count();
    format!("{at_once} {in_turn}")
}

/// Says back what comes, to one after the other; those that wait are held open.
pub fn serve(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    let mut held = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut heard = [0; 64];
        let n = stream.read(&mut heard).unwrap_or(0);
        let _ = stream.write_all(&heard[..n]);
        if heard.starts_with(b"hold") {
            held.push(stream);
        }
        if heard.starts_with(b"release") {
            held.clear();
        }
    }
}
