//! A server and three nodes on a network, and what tests ask of them.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{LONG, Process, stderr, stdout, wctl};
use crate::load::Load;
use crate::net::{Machine, Net};

pub const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Where nodes answer clients.
pub const HTTP: u16 = 8080;

/// A cluster of four machines, and a fifth that its clients are on; or one with a second server, and an etcd below both.
pub struct Fleet {
    // Dropped first: processes go before what they run on.
    pub server: Option<Process>,
    pub second: Option<Process>,
    pub nodes: Vec<Option<Process>>,
    etcd: Option<Etcd>,
    /// What nodes join with.
    token: String,
    pub net: Net,
    folder: tempfile::TempDir,
}

/// Debian's etcd, of one member.
struct Etcd {
    child: Child,
    url: String,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Fleet {
    /// All of it up and ready; none where that cannot be.
    pub fn up() -> Option<Fleet> {
        Fleet::with(&[None, None, None])
    }

    /// The same with nodes that tell these addresses to the others.
    pub fn with(advertise: &[Option<&str>; 3]) -> Option<Fleet> {
        let net = Net::of(&["server", "n1", "n2", "n3", "client"])?;
        let folder = tempfile::tempdir().unwrap();
        Some(Fleet::none(None, net, folder).begun(advertise))
    }

    /// Two servers over one etcd, and nodes that know both.
    pub fn of_two_servers() -> Option<Fleet> {
        let net = Net::of(&["server", "n1", "n2", "n3", "client", "second", "etcd"])?;
        let folder = tempfile::tempdir().unwrap();
        let (machine, data) = (net.machine(6), folder.path().join("etcd"));
        let url = |port: u16| format!("http://{}:{port}", machine.address);
        let mut etcd = Command::new("etcd");
        etcd.arg("--data-dir").arg(&data).args(["--listen-client-urls", &url(2379), "--advertise-client-urls", &url(2379)]);
        etcd.args(["--listen-peer-urls", &url(2380), "--initial-advertise-peer-urls", &url(2380)]);
        etcd.args(["--initial-cluster", &format!("default={}", url(2380))]);
        let mut inside = machine.command(&etcd);
        let child = match inside.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => panic!("etcd cannot be started: {error}"),
        };
        let etcd = Etcd { child, url: format!("etcd://{}:2379", machine.address) };
        Some(Fleet::none(Some(etcd), net, folder).begun(&[None, None, None]))
    }

    /// One whose last node is where nobody can dial it, as behind a router at home.
    pub fn with_one_behind_nat() -> Option<Fleet> {
        let net = Net::of(&["server", "n1", "n2", "n3", "client"])?;
        net.machine(3).only_outward();
        Some(Fleet::none(None, net, tempfile::tempdir().unwrap()).begun(&[None, None, None]))
    }

    fn none(etcd: Option<Etcd>, net: Net, folder: tempfile::TempDir) -> Fleet {
        Fleet { server: None, second: None, nodes: vec![None, None, None], etcd, token: String::new(), net, folder }
    }

    fn begun(mut self, advertise: &[Option<&str>; 3]) -> Fleet {
        let fleet = &mut self;
        fleet.start_server();
        if fleet.etcd.is_some() {
            fleet.start_second();
        }
        let made = fleet.json(&["token", "create", "--ttl", "1h", "-o", "json"]);
        fleet.token = made["token"].as_str().unwrap_or_else(|| panic!("no token in {made}")).to_owned();
        for (n, advertise) in advertise.iter().enumerate() {
            fleet.start_node(n, *advertise);
        }
        fleet.until("three ready nodes", |fleet| {
            let nodes = fleet.json(&["get", "nodes", "-o", "json"]);
            let ready = |node: &&Value| {
                node["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
            };
            nodes["items"].as_array().map_or(0, |nodes| nodes.iter().filter(ready).count()) == 3
        });
        self
    }

    pub fn machine(&self, n: usize) -> &Machine {
        self.net.machine(n + 1)
    }

    fn client(&self) -> &Machine {
        self.net.machine(4)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn start_server(&mut self) {
        self.server = Some(self.serving("server", 0));
    }

    /// The other server, which has the key of the first.
    fn start_second(&mut self) {
        let keys = ["server", "second"].map(|name| self.data(name).join("pki"));
        std::fs::create_dir_all(&keys[1]).unwrap();
        std::fs::copy(keys[0].join("cluster.key"), keys[1].join("cluster.key")).unwrap();
        self.second = Some(self.serving("second", 5));
    }

    fn serving(&self, name: &str, machine: usize) -> Process {
        let (data, machine) = (self.data(name), self.net.machine(machine));
        let mut command = wctl();
        command.arg("--data").arg(&data).args(["--api", &format!("{}:6443", machine.address), "server"]);
        if let Some(etcd) = &self.etcd {
            command.args(["--store", &etcd.url]);
        }
        Process::start(machine.command(&command), &data)
    }

    /// `https://…` of each server.
    fn servers(&self) -> String {
        let machines = if self.etcd.is_some() { vec![0, 5] } else { vec![0] };
        machines.into_iter().map(|n| format!("https://{}:6443", self.net.machine(n).address)).collect::<Vec<_>>().join(",")
    }

    /// Starts a node and does not wait: without a server it may take a moment.
    pub fn start_node(&mut self, n: usize, advertise: Option<&str>) {
        let (data, machine) = (self.data(NODES[n]), self.machine(n).clone());
        let mut command = wctl();
        command.arg("--data").arg(&data).args(["--http", &format!("0.0.0.0:{HTTP}"), "node", "--name", NODES[n]]);
        command.args(["--join", &self.servers(), "--token", &self.token]);
        if let Some(address) = advertise {
            command.args(["--advertise", address]);
        }
        self.nodes[n] = Some(Process::start(machine.command(&command), &data.join("node")));
    }

    /// Ends a node's process with no chance to say goodbye.
    pub fn kill_node(&mut self, n: usize) {
        drop(self.nodes[n].take());
    }

    pub fn kill_server(&mut self) {
        drop(self.server.take());
    }

    /// A verb, as somebody on the clients' machine types it.
    pub fn verb(&self, args: &[&str]) -> Command {
        self.verb_at("server", args)
    }

    /// The same at one of two servers: `server` or `second`.
    pub fn verb_at(&self, server: &str, args: &[&str]) -> Command {
        let mut command = wctl();
        command.arg("--data").arg(self.data(server)).args(args);
        self.client().command(&command)
    }

    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.verb(args).output().unwrap();
        assert!(output.status.success(), "wctl {args:?}\n{}\n{}\n{}", stdout(&output), stderr(&output), self.everything());
        stdout(&output)
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).expect("JSON")
    }

    /// Writes an app of the hostile guest with these further lines, and deploys it; done when it is ready.
    pub fn deploy(&self, name: &str, replicas: u32, more: &str) {
        let wasm = self.data("hostile.wasm");
        if !wasm.exists() {
            std::fs::write(&wasm, crate::guests::wasm("hostile")).unwrap();
        }
        let limits = "limits: { memory: 64Mi, time: 20s, concurrency: 100 }";
        let yaml = format!("app: {name}\nimage: {}\nreplicas: {replicas}\nroute: {name}.localhost\n{limits}\n{more}", wasm.display());
        let file = self.data(&format!("{name}.yaml"));
        std::fs::write(&file, yaml).unwrap();
        self.ok(&["deploy", file.to_str().unwrap(), "--wait"]);
    }

    /// An app of the hostile guest that sleeps while nobody asks.
    pub fn deploy_sleeper(&self, name: &str) {
        let (wasm, file) = (self.data("hostile.wasm"), self.data(&format!("{name}.yaml")));
        std::fs::write(&wasm, crate::guests::wasm("hostile")).unwrap();
        let yaml = format!("app: {name}\nimage: {}\nroute: {name}.localhost\nscale: {{ min: 0, max: 1, window: 1s }}\n", wasm.display());
        std::fs::write(&file, yaml).unwrap();
        self.ok(&["deploy", file.to_str().unwrap(), "--wait"]);
    }

    /// How many pods of an app are ready on each node.
    pub fn ready(&self, app: &str) -> [usize; 3] {
        let pods = self.json(&["get", "pods", "-l", &format!("wctl.dev/app={app}"), "-o", "json"]);
        let is_ready = |pod: &Value| {
            let conditions = pod["status"]["conditions"].as_array();
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        };
        let on = |node: &str| {
            pods["items"].as_array().into_iter().flatten().filter(|pod| pod["spec"]["nodeName"] == node && is_ready(pod)).count()
        };
        NODES.map(on)
    }

    /// Waits until something holds; how long that took.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&Fleet) -> bool) -> Duration {
        let since = Instant::now();
        while !holds(self) {
            assert!(since.elapsed() < LONG, "{what} never came\n{}", self.everything());
            std::thread::sleep(Duration::from_millis(50));
        }
        since.elapsed()
    }

    /// One GET at a node's gateway from the clients' machine: the status and what came.
    pub fn get(&self, n: usize, app: &str, path: &str) -> (u16, String) {
        Load::one(self.client(), &self.gateway(n), app, path)
    }

    /// Waits until a node's gateway answers with 200.
    #[track_caller]
    pub fn answers(&self, n: usize, app: &str) {
        self.until(&format!("an answer of {app} at {}", NODES[n]), |fleet| fleet.get(n, app, "/").0 == 200);
    }

    pub fn gateway(&self, n: usize) -> String {
        format!("http://{}:{HTTP}", self.machine(n).address)
    }

    /// Requests at all gateways (or those named) until it is stopped.
    pub fn load(&self, app: &str, rate: u32, nodes: &[usize]) -> Load {
        let gateways: Vec<String> = nodes.iter().map(|n| self.gateway(*n)).collect();
        Load::start(self.client(), &gateways, app, rate)
    }

    /// One request of 10 s that is under way.
    pub fn slow(&self, app: &str, n: usize) -> Load {
        Load::slow(self.client(), &self.gateway(n), app, "/sleep?10000000000")
    }

    /// Tells a node to stop, and waits until it has.
    pub fn stop_node(&mut self, n: usize) {
        let process = self.nodes[n].take().unwrap();
        let pid = process.running["pid"].to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let gone = || {
            !PathBuf::from(format!("/proc/{pid}/stat")).exists()
                || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
        };
        self.until("the node's end", |_| gone());
    }

    /// What all processes printed, for a test that fails.
    pub fn everything(&self) -> String {
        let processes = self.server.iter().chain(&self.second).chain(self.nodes.iter().flatten());
        processes.map(|process| process.everything()).collect::<Vec<_>>().join("\n---\n")
    }
}
