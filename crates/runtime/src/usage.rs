//! What this node and its pods use: looked at now and then, told when the server asks.
//!
//! Between two looks nothing is done for a pod, and one that used nothing is not spoken of: whoever asks takes it for zero.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::gateway::Gateway;
use crate::gateway::local::{Local, Locals};

/// How long lies between two looks, and so over how long CPU time is averaged.
const EVERY: Duration = Duration::from_secs(5);
/// In place of a number that is not there.
const NONE: u64 = u64::MAX;

/// What one pod used, as far as the looks go: kept with the pod, so that it comes and goes with it.
#[derive(Debug)]
pub struct Sample {
    /// Nanoseconds of CPU time that its instance had used at the last look.
    spent: AtomicU64,
    /// Nanoseconds between the last two looks.
    used: AtomicU64,
    /// Bytes that its sandboxes held at the last look.
    holds: AtomicU64,
}

impl Default for Sample {
    fn default() -> Sample {
        Sample { spent: AtomicU64::new(NONE), used: AtomicU64::new(NONE), holds: AtomicU64::new(0) }
    }
}

impl Sample {
    fn look(&self, spent: Duration, holds: u64) {
        let spent = nanos(spent);
        let before = self.spent.swap(spent, Ordering::Relaxed);
        if before != NONE {
            // A new instance counts from nothing.
            self.used.store(spent.checked_sub(before).unwrap_or(spent), Ordering::Relaxed);
        }
        self.holds.store(holds, Ordering::Relaxed);
    }

    /// Nanoseconds and bytes; none before the second look.
    fn told(&self) -> Option<(u64, u64)> {
        let used = self.used.load(Ordering::Relaxed);
        (used != NONE).then(|| (used, self.holds.load(Ordering::Relaxed)))
    }
}

/// The looks at a node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Usage(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: Option<Look>,
    /// Between the last two looks.
    told: Option<Told>,
}

struct Look {
    at: Instant,
    /// CPU time of the process.
    spent: Duration,
}

#[derive(Clone, Copy)]
struct Told {
    at: Timestamp,
    window: Duration,
    used: Duration,
    holds: u64,
}

impl Usage {
    /// Looks at the pods again and again until it is dropped.
    pub async fn run(self, gateway: Arc<Gateway>) {
        let mut looks = tokio::time::interval(EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look(&gateway.locals);
        }
    }

    fn look(&self, pods: &Locals) {
        let mut state = self.0.lock();
        let (at, (spent, holds)) = (Instant::now(), process());
        let now = Look { at, spent };
        pods.each(|pod: &Local| pod.sample.look(pod.spent(), pod.holds()));
        let before = state.last.as_ref();
        state.told = before.map(|before| Told {
            at: Timestamp::now(),
            window: now.at.duration_since(before.at),
            used: now.spent.saturating_sub(before.spent),
            holds,
        });
        state.last = Some(now);
    }

    /// What the last two looks say: `at`, `window` (milliseconds), `cpu` (billionths of a core) and `memory` (bytes) of the node, the same of each of
    /// `pods` that used anything, and in `young` those that have not been looked at twice.
    ///
    /// # Errors
    /// A sentence, before the second look.
    pub fn tell(&self, pods: &Locals) -> Result<String, String> {
        let state = self.0.lock();
        let told = state.told.ok_or("this node has not measured yet")?;
        let cores = |used: u64| (u128::from(used) * 1_000_000_000 / told.window.as_nanos().max(1)) as u64;
        let (mut busy, mut young) = (Map::new(), Vec::new());
        pods.each(|pod: &Local| match pod.sample.told() {
            None => young.push(pod.identity.uid.clone()),
            Some((0, 0)) => {}
            Some((used, holds)) => drop(busy.insert(pod.identity.uid.clone(), json!({ "cpu": cores(used), "memory": holds }))),
        });
        let node = json!({
            "at": told.at.to_string(), "window": told.window.as_millis() as u64, "cpu": cores(nanos(told.used)), "memory": told.holds,
            "pods": Value::Object(busy), "young": young,
        });
        Ok(node.to_string())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NONE - 1)
}

/// CPU time that this process has had, and bytes of memory that it holds.
#[cfg(unix)]
fn process() -> (Duration, u64) {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let spent = Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
    (spent, crate::room::resident().or_else(|| as_the_system_tells().map(|(_, holds)| holds)).unwrap_or(0))
}

/// CPU time that this process has had, and bytes of memory that it holds.
#[cfg(not(unix))]
fn process() -> (Duration, u64) {
    as_the_system_tells().unwrap_or_default()
}

fn as_the_system_tells() -> Option<(Duration, u64)> {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
    let (pid, mut system) = (sysinfo::get_current_pid().ok()?, System::new().ok()?);
    let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
    let own = system.process(pid)?;
    Some((Duration::from_millis(own.accumulated_cpu_time()), own.memory()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::local::Identity;

    fn told(usage: &Usage, pods: &Locals) -> Value {
        serde_json::from_str(&usage.tell(pods).expect("told")).expect("JSON")
    }

    #[test]
    fn a_pod_is_told_of_once_it_was_looked_at_twice_and_used_something() {
        let pods = Locals::default();
        let enter = |uid: &str| pods.enter(&Arc::new(Identity { uid: uid.to_owned(), ..Identity::default() }));
        let (_idle, busy, usage) = (enter("idle"), enter("busy"), Usage::default());
        usage.look(&pods);
        assert_eq!(usage.tell(&pods).expect_err("one look says nothing"), "this node has not measured yet");
        enter("young");
        std::thread::sleep(Duration::from_millis(20));
        usage.look(&pods);
        // As if its instance had run half of the time.
        let window = usage.0.lock().told.expect("two looks").window;
        busy.sample.look(window / 2, 5);
        let seen = told(&usage, &pods);
        assert_eq!(seen["young"], json!(["young"]));
        assert_eq!(seen["pods"].as_object().expect("pods").len(), 1, "{seen}");
        let (cpu, memory) = (seen["pods"]["busy"]["cpu"].as_u64(), seen["pods"]["busy"]["memory"].as_u64());
        assert!(cpu.is_some_and(|cpu| (499_000_000..=500_000_000).contains(&cpu)) && memory == Some(5), "{seen}");
        assert!(seen["memory"].as_u64().expect("bytes") > 1 << 20 && seen["window"].as_u64().expect("milliseconds") >= 20, "{seen}");
        assert!(seen["at"].as_str().expect("a time").parse::<Timestamp>().is_ok());
    }

    #[test]
    fn a_new_instance_counts_from_nothing() {
        let sample = Sample::default();
        for (spent, used) in [(100, None), (130, Some(30)), (130, Some(0)), (7, Some(7))] {
            sample.look(Duration::from_nanos(spent), 1);
            assert_eq!(sample.told(), used.map(|used| (used, 1)));
        }
    }

    #[test]
    fn the_time_of_the_process_goes_on_as_it_works() {
        let (before, holds) = process();
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(50) {}
        assert!(process().0 > before && holds > 0);
    }
}
