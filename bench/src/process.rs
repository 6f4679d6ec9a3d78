//! Processes that a benchmark starts: ended when dropped, with their memory and CPU time.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A process of this benchmark; killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts it with its output thrown away.
    pub fn start(command: &mut Command) -> Result<Process> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Process(child.with_context(|| format!("starting {:?}", command.get_program()))?))
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to stop (SIGTERM), and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        Command::new("kill").arg(self.0.id().to_string()).status()?;
        for _ in 0..1000 {
            if self.0.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("process {} did not stop within 10 s", self.0.id())
    }

    /// Resident memory of it and its children, in MB (10^6 bytes).
    pub fn rss(&self) -> Result<f64> {
        Ok(family(self.id())?.iter().map(|pid| rss(*pid)).sum())
    }

    /// CPU time that it and its children have used, in seconds.
    pub fn cpu(&self) -> Result<f64> {
        Ok(family(self.id())?.iter().map(|pid| cpu(*pid)).sum())
    }
}

impl From<Child> for Process {
    fn from(child: Child) -> Process {
        Process(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process and all that descend from it.
fn family(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(fields) = stat(pid) {
            parents.push((pid, fields[1].parse::<u32>().unwrap_or(0)));
        }
    }
    let mut family = vec![root];
    let mut seen = 0;
    while seen < family.len() {
        let parent = family[seen];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        seen += 1;
    }
    Ok(family)
}

/// The fields of /proc/PID/stat from the third (state) on; the second, the name, may hold spaces.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

fn cpu(pid: u32) -> f64 {
    // Fields 14 and 15 of the file, in ticks of 10 ms.
    let ticks = |fields: &[String], at: usize| fields[at].parse::<f64>().unwrap_or(0.0);
    stat(pid).map_or(0.0, |fields| (ticks(&fields, 11) + ticks(&fields, 12)) / 100.0)
}

fn rss(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}
