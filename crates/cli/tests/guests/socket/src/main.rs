//! Speaks WebSocket on a port of its own and gives back what it hears.

use std::net::TcpListener;

use tungstenite::Message;

fn main() {
    let port: u16 = std::env::var("PORT").expect("PORT").parse().expect("a port");
    let listener = TcpListener::bind(("0.0.0.0", port)).expect("the port is granted");
    println!("listening on {port}");
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let Ok(mut socket) = tungstenite::accept(stream) else { continue };
        loop {
            match socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).unwrap_or_default(),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}
