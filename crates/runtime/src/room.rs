//! What a node may run out of before its memory is full: how much of it is used, how much there is, and when new work is refused.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub mod pressure;

/// One thing that runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// As people and metrics call it.
    pub name: &'static str,
    /// What is used now.
    pub used: u64,
    /// What there is.
    pub limit: u64,
}

/// How much of anything new code may leave unused at least, in hundredths: what runs already needs some to go on.
const SPARE: u64 = 10;
/// How long a look holds: counting mappings takes milliseconds.
const HOLDS: Duration = Duration::from_secs(1);

/// What this process has left, looked at now and then.
#[derive(Debug, Default)]
pub struct Room(Mutex<Option<(Instant, Vec<Budget>)>>);

impl Room {
    /// Whether there is room for one more component.
    ///
    /// # Errors
    /// A sentence with what is short, and by how much.
    pub fn check(&self) -> Result<(), String> {
        let mut seen = self.0.lock();
        let budgets = match &mut *seen {
            Some((at, budgets)) if at.elapsed() < HOLDS => budgets,
            old => &mut old.insert((Instant::now(), of_process())).1,
        };
        budgets.iter().find_map(|budget| refusal(*budget)).map_or(Ok(()), Err)
    }
}

fn refusal(Budget { name, used, limit }: Budget) -> Option<String> {
    let most = limit - limit / 100 * SPARE;
    let raise = match name {
        MAPPINGS => "vm.max_map_count",
        FILES => "the limit of open files",
        _ => "the machine's memory",
    };
    (used > most)
        .then(|| format!("this node has no room for more code: {used} of {limit} {name} are in use; raise {raise} or use another node"))
}

const MAPPINGS: &str = "memory mappings";
const FILES: &str = "open files";
const MEMORY: &str = "bytes of memory";

/// What this process uses of what the system gives it.
#[cfg(target_os = "linux")]
pub fn of_process() -> Vec<Budget> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let mappings = read("/proc/self/maps").map(|maps| maps.lines().count() as u64);
    let most = read("/proc/sys/vm/max_map_count").and_then(|most| most.trim().parse().ok());
    let files = std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
    let most_files = rlimit::Resource::NOFILE.get_soft().ok();
    let resident = resident();
    let memory = Some(memory());
    let all = [(MAPPINGS, mappings, most), (FILES, files, most_files), (MEMORY, resident, memory)];
    all.into_iter().filter_map(|(name, used, limit)| Some(Budget { name, used: used?, limit: limit? })).collect()
}

/// Bytes of memory that this process holds, where that can be had cheaply.
#[cfg(target_os = "linux")]
pub fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Bytes of memory that this process holds, where that can be had cheaply.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn resident() -> Option<u64> {
    None
}

/// Other systems give a process as much as there is, or do not tell.
#[cfg(not(target_os = "linux"))]
pub fn of_process() -> Vec<Budget> {
    Vec::new()
}

/// Bytes of memory that there are for this process.
pub fn memory() -> u64 {
    // A system that does not tell how much it has gets what the smallest of machines has.
    let Ok(mut system) = sysinfo::System::new() else { return 1 << 30 };
    system.refresh_memory();
    let group = system.cgroup_limits().map(|limits| limits.total_memory).filter(|total| *total > 0);
    group.map_or(system.total_memory(), |group| group.min(system.total_memory()))
}

/// The budgets in Prometheus' text format.
pub fn render(budgets: &[Budget]) -> String {
    let mut out = String::new();
    for (family, help, value) in [
        ("used", "What is used of what runs out.", (|budget| budget.used) as fn(&Budget) -> u64),
        ("limit", "How much there is of it.", |budget| budget.limit),
    ] {
        let _ = writeln!(out, "# HELP wctl_budget_{family} {help}\n# TYPE wctl_budget_{family} gauge");
        for budget in budgets {
            let _ = writeln!(out, "wctl_budget_{family}{{of=\"{}\"}} {}", budget.name, value(budget));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_a_limit_the_sentence_says_which() {
        let budget = |used| Budget { name: MAPPINGS, used, limit: 1000 };
        assert_eq!(refusal(budget(900)), None);
        let sentence = refusal(budget(901)).expect("a refusal");
        assert_eq!(
            sentence,
            "this node has no room for more code: 901 of 1000 memory mappings are in use; raise vm.max_map_count or use another node"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_what_it_uses() {
        let budgets = of_process();
        assert_eq!(budgets.iter().map(|budget| budget.name).collect::<Vec<_>>(), [MAPPINGS, FILES, MEMORY]);
        assert!(budgets.iter().all(|budget| budget.used > 0 && budget.used < budget.limit), "{budgets:?}");
        let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/dev/null").expect("a file")).collect();
        assert!(of_process()[1].used >= budgets[1].used + files.len() as u64);
        assert!(render(&budgets).contains("wctl_budget_limit{of=\"open files\"} "));
        assert_eq!(Room::default().check(), Ok(()));
    }
}
