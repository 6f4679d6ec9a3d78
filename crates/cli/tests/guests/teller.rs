//! A guest that does what its first argument says.

use std::io::Read;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("args") => println!("{args:?}"),
        Some("env") => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        Some("read") => match std::fs::read_to_string(&args[1]) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("teller: {error}");
                std::process::exit(3);
            }
        },
        Some("exit") => std::process::exit(args[1].parse().unwrap()),
        Some("upper") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).unwrap();
            print!("{}", text.to_uppercase());
        }
        Some("sleep") => loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
        },
        _ => panic!("as asked"),
    }
}
