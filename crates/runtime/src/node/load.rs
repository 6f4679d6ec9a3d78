//! What the busy pods of this node have to do, told with the node's Lease.
//!
//! A pod that did nothing lately is left out, so thousands of them cost a look and no word.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::local::{Local, Locals};

/// Most pods that are told, the busiest first.
const MOST: usize = 500;
/// How much of what is told is new: a burst of a second shows, and passes in a few.
const NEW: f64 = 0.4;
/// Over how many seconds requests and failures are counted for the comparison of revisions: what is older fades.
const TRIED: f64 = 120.0;
/// What is smaller, in thousandths, is nothing.
const NOTHING: f64 = 10.0;

/// Looks at pods a few times and tells the averages.
#[derive(Default)]
pub struct Meter {
    looks: u32,
    told: Option<Instant>,
    /// By UID: those that were busy lately, and counts of the others.
    pods: HashMap<String, Seen>,
    /// Whether something was told the last time.
    said: bool,
}

#[derive(Default)]
struct Seen {
    /// Requests in flight, added up over the looks.
    in_flight: u64,
    asked: u32,
    cpu: Duration,
    /// Requests in flight, requests in a second and cores, in thousandths.
    load: [f64; 3],
    failed: u32,
    /// Requests and failures of about the last [`TRIED`] seconds.
    tried: [f64; 2],
    here: bool,
}

impl Meter {
    /// One look.
    pub fn look(&mut self, locals: &Locals) {
        self.looks += 1;
        locals.each(|local| {
            let in_flight = local.in_flight();
            if in_flight > 0 {
                self.seen(local).in_flight += u64::from(in_flight);
            }
        });
    }

    /// What was told last may not have come through: if there is nothing to say next time, that is said.
    pub fn lost(&mut self) {
        self.said = true;
    }

    /// Whether there were so many looks.
    pub fn is_due(&self, looks: u32) -> bool {
        self.looks >= looks
    }

    fn seen(&mut self, local: &Local) -> &mut Seen {
        // What it did before the first look is nobody's load.
        let new = || Seen { asked: local.asked(), failed: local.failed(), cpu: local.cpu().unwrap_or_default(), ..Seen::default() };
        self.pods.entry(local.identity.uid.clone()).or_insert_with(new)
    }

    /// The loads since the last time; none where there is nothing to say. An empty text takes back what was said before.
    pub fn tell(&mut self, locals: &Locals) -> Option<Value> {
        let now = Instant::now();
        let passed = self.told.replace(now).map_or(Duration::from_secs(1), |before| now.duration_since(before));
        let looks = f64::from(std::mem::take(&mut self.looks).max(1));
        locals.each(|local| {
            self.seen(local).update(local, looks, passed.as_secs_f64().max(0.1));
        });
        self.pods.retain(|_, seen| std::mem::take(&mut seen.here));
        let mut busy: Vec<(&String, &Seen)> = self.pods.iter().filter(|(_, seen)| seen.is_busy()).collect();
        if busy.len() > MOST {
            busy.sort_by(|(_, a), (_, b)| b.load[0].total_cmp(&a.load[0]).then(b.load[1].total_cmp(&a.load[1])));
            busy.truncate(MOST);
        }
        let said = std::mem::replace(&mut self.said, !busy.is_empty());
        if busy.is_empty() {
            return said.then_some(Value::Null);
        }
        let whole =
            |seen: &Seen| [&seen.load[..], &seen.tried].concat().into_iter().map(|value| value.round().max(0.0) as u64).collect::<Vec<_>>();
        let loads: Value = busy.into_iter().map(|(uid, seen)| (uid.clone(), json!(whole(seen)))).collect();
        Some(json!(loads.to_string()))
    }
}

impl Seen {
    fn update(&mut self, local: &Local, looks: f64, seconds: f64) {
        self.here = true;
        let (asked, cpu) = (local.asked(), local.cpu().unwrap_or_default());
        let failed = local.failed();
        let new = [asked.wrapping_sub(self.asked), failed.wrapping_sub(self.failed)].map(f64::from);
        let fades = (-seconds / TRIED).exp();
        self.tried.iter_mut().zip(new).for_each(|(tried, new)| *tried = *tried * fades + new);
        self.failed = failed;
        let requests = f64::from(asked.wrapping_sub(self.asked)) / seconds;
        // A new instance counts from nothing.
        let used = cpu.checked_sub(self.cpu).unwrap_or(cpu).as_secs_f64() / seconds;
        let in_flight = std::mem::take(&mut self.in_flight) as f64 / looks;
        (self.asked, self.cpu) = (asked, cpu);
        for (load, new) in self.load.iter_mut().zip([in_flight, requests, used]) {
            *load = *load * (1.0 - NEW) + 1000.0 * new * NEW;
            if *load < NOTHING && new == 0.0 {
                *load = 0.0;
            }
        }
    }

    fn is_busy(&self) -> bool {
        // Failures are told for longer than loads: few requests may be all that a new revision gets.
        self.load.iter().any(|load| *load > 0.0) || self.tried[1] >= 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::local::Identity;
    use std::sync::Arc;

    #[test]
    fn idle_pods_are_no_word_worth_and_what_was_said_is_taken_back_once() {
        let locals = Locals::default();
        let identity = |uid: &str| Arc::new(Identity { uid: uid.to_owned(), ..Identity::default() });
        locals.enter(&identity("idle"));
        let busy = locals.enter(&identity("busy"));
        let mut meter = Meter::default();
        meter.look(&locals);
        assert_eq!(meter.tell(&locals), None);
        // Without an instance a request is turned away, and counts all the same: it wanted one.
        for _ in 0..100 {
            assert!(busy.hold().is_none());
        }
        meter.look(&locals);
        let told = meter.tell(&locals).expect("a load").to_string();
        assert!(told.contains("busy") && !told.contains("idle"), "{told}");
        let mut last = meter.tell(&locals);
        for _ in 0..60 {
            if last == Some(Value::Null) {
                break;
            }
            last = meter.tell(&locals);
        }
        assert_eq!(last, Some(Value::Null), "it comes to rest");
        assert_eq!(meter.tell(&locals), None, "and that is said once");
    }
}
