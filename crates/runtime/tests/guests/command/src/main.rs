//! A command that does what its first argument says.

mod socket;

use std::io::{Read, Write};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let rest: Vec<&str> = args.iter().skip(2).map(String::as_str).collect();
    match args.get(1).map(String::as_str) {
        Some("args") => println!("{}", rest.join(",")),
        Some("env") => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        Some("cat") => print!("{}", std::fs::read_to_string(rest[0]).unwrap_or_else(|error| format!("refused: {error}"))),
        Some("write") => println!("{:?}", std::fs::write(rest[0], "written").map_err(|error| error.kind())),
        Some("connect") => println!("{:?}", std::net::TcpStream::connect(rest[0]).map(drop).map_err(|error| error.kind())),
        Some("talk") => println!("{}", socket::talk(rest[0], rest[1])),
        Some("lookup") => println!("{}", socket::lookup(rest[0])),
        Some("bind") => println!("{:?}", std::net::TcpListener::bind(rest[0]).map(drop).map_err(|error| error.kind())),
        Some("udp") => println!("{:?}", std::net::UdpSocket::bind(rest[0]).map(drop).map_err(|error| error.kind())),
        Some("many") => println!("{}", socket::many(rest[0], rest[1].parse().unwrap())),
        Some("serve") => socket::serve(rest[0]),
        Some("stdin") => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            println!("{read:?} {text}");
        }
        Some("exit") => std::process::exit(rest[0].parse().unwrap()),
        Some("panic") => panic!("as asked"),
        _ => std::io::stderr().write_all(b"what?\n").unwrap(),
    }
}
