//! Network namespaces that stand for machines, on one bridge in a namespace of its own. All goes when it is dropped.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// One network with its machines. Nothing of it can be reached from outside, and nothing outside from it.
pub struct Net {
    hub: String,
    machines: Vec<Machine>,
}

/// A namespace and where it is on the network.
#[derive(Clone)]
pub struct Machine {
    pub namespace: String,
    pub address: String,
    /// The bridge's end of its cable.
    port: String,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Net {
    /// With machines of these names, at 10.77.0.1 and up. None, with a word, where namespaces cannot be made.
    pub fn of(names: &[&str]) -> Option<Net> {
        let id = format!("wctl{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let hub = format!("{id}-hub");
        if let Err(why) = ip(&["netns", "add", &hub]) {
            assert!(std::env::var_os("WCTL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "network namespaces are required: {why}");
            println!("skipped: network namespaces cannot be made here ({why}); they need root and iproute2");
            return None;
        }
        let mut net = Net { hub, machines: Vec::new() };
        let made = || -> Result<(), String> {
            ip(&["-n", &net.hub, "link", "add", "br0", "type", "bridge"])?;
            ip(&["-n", &net.hub, "link", "set", "br0", "up"])?;
            for (n, name) in names.iter().enumerate() {
                let machine = Machine { namespace: format!("{id}-{name}"), address: format!("10.77.0.{}", n + 1), port: format!("p{n}") };
                ip(&["netns", "add", &machine.namespace])?;
                net.machines.push(machine.clone());
                let (inside, hub) = (&machine.namespace, &net.hub);
                ip(&["-n", hub, "link", "add", &machine.port, "type", "veth", "peer", "name", "eth0", "netns", inside])?;
                ip(&["-n", hub, "link", "set", &machine.port, "master", "br0", "up"])?;
                ip(&["-n", inside, "addr", "add", &format!("{}/24", machine.address), "dev", "eth0"])?;
                ip(&["-n", inside, "link", "set", "eth0", "up"])?;
                ip(&["-n", inside, "link", "set", "lo", "up"])?;
            }
            Ok(())
        }();
        made.expect("a network of namespaces");
        Some(net)
    }

    /// One of its machines.
    pub fn machine(&self, n: usize) -> &Machine {
        &self.machines[n]
    }

    /// Cuts a machine's cable, or mends it: what is sent is lost without a word.
    pub fn link(&self, machine: &Machine, up: bool) {
        ip(&["-n", &self.hub, "link", "set", &machine.port, if up { "up" } else { "down" }]).expect("the link is set");
    }
}

impl Machine {
    /// Nothing gets to it any more but answers to what it asked itself, as behind a router at home. For good.
    pub fn only_outward(&self) {
        let rules = "add table inet outward; add chain inet outward in { type filter hook input priority 0 ; policy drop ; }; \
                     add rule inet outward in ct state established,related accept; add rule inet outward in iif lo accept; \
                     add rule inet outward in icmp type echo-request accept";
        let output = Command::new("ip").args(["netns", "exec", &self.namespace, "nft", rules]).output().expect("nft");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A command that runs on this machine with what `command` has set.
    pub fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.namespace]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(Path::new(folder));
        }
        inside
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for namespace in self.machines.iter().map(|machine| &machine.namespace).chain([&self.hub]) {
            // What is left of a namespace goes with the last process in it.
            let _ = ip(&["netns", "del", namespace]);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|error| format!("running ip: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
