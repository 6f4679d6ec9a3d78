//! What this machine has for pods.

use super::Capacity;
use crate::room;

/// What pods of a node may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Bytes of memory.
    pub memory: u64,
    /// Thousandths of a core.
    pub cpu: u64,
    /// How many pods.
    pub pods: u64,
}

/// Pods that a node takes when nobody says otherwise; idle ones cost kilobytes.
const PODS: u64 = 10_000;

impl Machine {
    /// What `capacity` says, and where it is silent what the machine (or the control group that this process is in) has.
    pub fn of(capacity: &Capacity) -> Machine {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        Machine {
            memory: capacity.memory.unwrap_or_else(room::memory),
            cpu: capacity.cpu.unwrap_or(cores * 1000),
            pods: capacity.pods.unwrap_or(PODS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_memory_and_what_is_told_wins() {
        let machine = Machine::of(&Capacity::default());
        assert!(machine.memory > 64 << 20 && machine.cpu >= 1000, "{machine:?}");
        assert_eq!(
            Machine::of(&Capacity { memory: Some(1 << 30), cpu: Some(500), pods: Some(3) }),
            Machine { memory: 1 << 30, cpu: 500, pods: 3 }
        );
    }
}
