//! Debian's etcd, started by a test on loopback ports and ended with it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use scheduler::store::etcd::{Etcd, Options};
use tokio::sync::{Semaphore, SemaphorePermit};

/// An etcd takes a core while it starts.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

/// Whether etcd is here; tests say so and pass where it is not.
pub fn is_here() -> bool {
    let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("WCTL_REQUIRE_TOOLS").is_none(), "etcd is missing: run scripts/setup");
    if !found {
        eprintln!("skipped: etcd is not installed (scripts/setup installs it)");
    }
    found
}

/// Members of one cluster.
pub struct Servers {
    members: Vec<Member>,
    _folder: tempfile::TempDir,
    _permit: Option<SemaphorePermit<'static>>,
}

struct Member {
    child: Child,
    client: u16,
    command: Vec<String>,
}

impl Drop for Member {
    fn drop(&mut self) {
        // What has ended cannot be ended again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(command: &[String]) -> Child {
    Command::new("etcd").args(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn command(folder: &Path, n: usize, client: u16, peers: &[u16]) -> Vec<String> {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let cluster: Vec<String> = peers.iter().enumerate().map(|(n, port)| format!("m{n}={}", url(*port))).collect();
    let (client, peer) = (url(client), url(peers[n]));
    let folder = folder.join(format!("m{n}")).display().to_string();
    let name = format!("m{n}");
    let options = [
        ("name", name.as_str()),
        ("data-dir", &folder),
        ("listen-client-urls", &client),
        ("advertise-client-urls", &client),
        ("listen-peer-urls", &peer),
        ("initial-advertise-peer-urls", &peer),
        ("initial-cluster", &cluster.join(",")),
        // Quicker than on a real network, so that tests need not wait.
        ("heartbeat-interval", if peers.len() == 1 { "20" } else { "100" }),
        ("election-timeout", if peers.len() == 1 { "200" } else { "1000" }),
    ]
    .map(|(name, value)| format!("--{name}={value}"));
    options.into()
}

impl Servers {
    /// As many members as asked for, that answer. Ports that somebody takes in between are drawn anew.
    pub async fn start(count: usize) -> Servers {
        let permit = AT_ONCE.acquire().await.ok();
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let (peers, clients): (Vec<u16>, Vec<u16>) = (0..count).map(|_| (free_port(), free_port())).unzip();
            let members = (0..count).map(|n| {
                let command = command(folder.path(), n, clients[n], &peers);
                Member { child: spawn(&command), client: clients[n], command }
            });
            let mut servers = Servers { members: members.collect(), _folder: folder, _permit: None };
            if servers.answer().await {
                servers._permit = permit;
                return servers;
            }
        }
        panic!("etcd does not start");
    }

    async fn answer(&mut self) -> bool {
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(30) {
            if Etcd::open(&self.options()).await.is_ok() {
                return true;
            }
            if self.members.iter_mut().any(|member| !matches!(member.child.try_wait(), Ok(None))) {
                return false;
            }
        }
        false
    }

    /// Where all of them are.
    pub fn options(&self) -> Options {
        Options::parse(&self.address()).unwrap()
    }

    /// `etcd://…`
    pub fn address(&self) -> String {
        let members: Vec<String> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.client)).collect();
        format!("etcd://{}", members.join(","))
    }

    /// `kill -9`.
    pub fn kill(&mut self, member: usize) {
        self.members[member].child.kill().unwrap();
        self.members[member].child.wait().unwrap();
    }

    /// Starts one again that was killed.
    pub fn restart(&mut self, member: usize) {
        let member = &mut self.members[member];
        // Its peers know it by now; it finds them in its folder.
        member.child = spawn(&member.command);
    }

    /// Sends a signal, such as `STOP` or `CONT`.
    pub fn signal(&self, member: usize, signal: &str) {
        let pid = self.members[member].child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }
}
