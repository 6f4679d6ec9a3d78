//! Whether this machine, or the control group that we run in, is short of memory.

/// Hundredths of the time that somebody waited for memory lately: from here on it is short.
const STALLED: f64 = 10.0;

/// Hundredths of the machine's memory that can still be had: below it is short.
const AVAILABLE: u64 = 10;

/// Looks at the system. What it does not tell is not short.
pub fn is_short() -> bool {
    let (available, total) = available().unwrap_or((1, 1));
    judged(available, total, stalled())
}

fn judged(available: u64, total: u64, stalled: Option<f64>) -> bool {
    available < total / 100 * AVAILABLE || stalled.is_some_and(|stalled| stalled >= STALLED)
}

/// Bytes that can be had without swapping, and all there are.
fn available() -> Option<(u64, u64)> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    // Some systems do not tell what is available.
    Some((system.available_memory(), system.total_memory())).filter(|(available, _)| *available > 0)
}

/// How much of the last ten seconds somebody waited for memory: in our control group, or anywhere on the machine where that does not tell.
fn stalled() -> Option<f64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let group = read("/proc/self/cgroup").and_then(|groups| Some(groups.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned()));
    let ours = group.and_then(|group| read(&format!("/sys/fs/cgroup{group}/memory.pressure")));
    ours.or_else(|| read("/proc/pressure/memory")).as_deref().and_then(some)
}

/// The number in `some avg10=1.25 avg60=…`.
fn some(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_when_little_can_be_had_or_somebody_waits_for_it() {
        assert!(!judged(1 << 30, 4 << 30, None) && !judged(1 << 30, 4 << 30, Some(9.9)));
        assert!(judged(1 << 28, 4 << 30, None) && judged(4 << 30, 4 << 30, Some(10.0)));
        let text = "some avg10=12.50 avg60=0.10 avg300=0.00 total=42\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!((some(text), some("full avg10=1.00"), some("")), (Some(12.5), None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_tells_what_it_has() {
        let (available, total) = available().expect("numbers");
        assert!(available <= total && total > 1 << 26);
    }
}
