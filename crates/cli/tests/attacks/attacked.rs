//! The machine that is attacked, and the app beside the one that attacks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Machine, component};
use crate::guests;

/// A machine with a hostile app and a good one, whose host tells all it can.
pub struct Attacked {
    pub machine: Machine,
    pub address: String,
    _files: tempfile::TempDir,
}

impl Attacked {
    pub fn start() -> Attacked {
        Attacked::with(&[("RUST_BACKTRACE", "1"), ("WCTL_LOG", "debug")])
    }

    /// One whose host has these variables.
    pub fn with(variables: &[(&str, &str)]) -> Attacked {
        let files = tempfile::tempdir().unwrap();
        let wasm = files.path().join("hostile.wasm");
        std::fs::write(&wasm, guests::wasm("hostile")).unwrap();
        let machine = Machine::up_with(variables);
        let bounds = "limits: { time: 20s, concurrency: 1000 }\nuses: { blobs: [c] }\n";
        machine.deploy(&format!("app: bad\nimage: {}\nroute: bad.localhost\n{bounds}", wasm.display()));
        machine.deploy(&format!("app: good\nimage: {}\nroute: good.localhost\n", component("hello").display()));
        let address = machine.http.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Attacked { machine, address, _files: files }
    }

    /// Bytes that the process holds.
    pub fn held(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.machine.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Nothing of an attack is left: the memory, no panic, and both apps answer.
    pub async fn is_as_before(&self, before: u64) {
        let start = Instant::now();
        while self.held() > before + before / 10 + (8 << 20) {
            assert!(start.elapsed() < Duration::from_secs(10), "{} MiB are held, {} before", self.held() >> 20, before >> 20);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for host in ["bad.localhost", "good.localhost"] {
            assert_eq!(self.machine.get(host, "/").await.0, 200, "{host}");
        }
        let said = self.machine.everything();
        assert!(!said.contains("panicked"), "{said}");
    }
}

/// Asks the good app fifty times a second; each must be answered.
pub struct Bystander(Arc<AtomicBool>, tokio::task::JoinHandle<Vec<Duration>>);

impl Bystander {
    pub fn start(attacked: &Attacked) -> Bystander {
        Bystander::waiting(attacked, Duration::from_secs(1))
    }

    /// One that waits so long for an answer.
    pub fn waiting(attacked: &Attacked, most: Duration) -> Bystander {
        let (stop, address) = (Arc::new(AtomicBool::new(false)), attacked.address.clone());
        let stopped = stop.clone();
        let asking = tokio::spawn(async move {
            let mut asked = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let start = Instant::now();
                let mut stream = TcpStream::connect(&address).await.unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nhost: good.localhost\r\nconnection: close\r\n\r\n").await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                assert!(start.elapsed() < most, "{:?}", start.elapsed());
                asked.push(start.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            asked
        });
        Bystander(stop, asking)
    }

    /// How long each of its requests took.
    pub async fn ends_unharmed(self) -> Vec<Duration> {
        self.0.store(true, Ordering::Relaxed);
        let asked = self.1.await.expect("each of its requests is answered in time");
        assert!(!asked.is_empty());
        asked
    }
}
