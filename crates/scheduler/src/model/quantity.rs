//! Memory and CPU: `64Mi` is bytes, `200m` thousandths of a core.

use crate::quantity::Quantity;
use std::ops::{Add, AddAssign, SubAssign};

/// Memory in bytes, CPU in thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct Resources {
    /// Bytes.
    pub memory: u64,
    /// Thousandths of a core.
    pub cpu: u64,
}

impl Resources {
    /// Whether this has room for `need`.
    pub fn fits(self, need: Resources) -> bool {
        need.memory <= self.memory && need.cpu <= self.cpu
    }

    /// What is left; nothing where more was taken than there is.
    pub fn less(self, taken: Resources) -> Resources {
        Resources { memory: self.memory.saturating_sub(taken.memory), cpu: self.cpu.saturating_sub(taken.cpu) }
    }
}

impl Add for Resources {
    type Output = Resources;

    fn add(self, other: Resources) -> Resources {
        Resources { memory: self.memory.saturating_add(other.memory), cpu: self.cpu.saturating_add(other.cpu) }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Resources) {
        *self = *self + other;
    }
}

impl SubAssign for Resources {
    fn sub_assign(&mut self, other: Resources) {
        *self = self.less(other);
    }
}

/// Bytes of a Kubernetes quantity; `None` where it is none.
pub fn parse_memory(text: &str) -> Option<u64> {
    Quantity::parse(text)?.rounded_up(1).and_then(|bytes| u64::try_from(bytes).ok())
}

/// Thousandths of a core of a Kubernetes quantity; `None` where it is none.
pub fn parse_cpu(text: &str) -> Option<u64> {
    Quantity::parse(text)?.rounded_up(1000).and_then(|milli| u64::try_from(milli).ok())
}

/// As a person writes it: `64Mi`, `1.5Gi`.
pub fn memory_text(bytes: u64) -> String {
    let units = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let Some((unit, shift)) = units.into_iter().find(|(_, shift)| bytes >> shift > 0) else { return bytes.to_string() };
    let tenths = (bytes as f64 / (1u64 << shift) as f64 * 10.0).floor() as u64;
    if tenths.is_multiple_of(10) { format!("{}{unit}", tenths / 10) } else { format!("{}.{}{unit}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_bytes_and_cpu_in_thousandths() {
        assert_eq!((parse_memory("64Mi"), parse_memory("1.5"), parse_memory("much")), (Some(64 << 20), Some(2), None));
        assert_eq!((parse_cpu("200m"), parse_cpu("0.5"), parse_cpu("2")), (Some(200), Some(500), Some(2000)));
    }

    #[test]
    fn memory_reads_well() {
        assert_eq!(memory_text(64 << 20), "64Mi");
        assert_eq!(memory_text(3 << 29), "1.5Gi");
        assert_eq!(memory_text(100), "100");
    }
}
