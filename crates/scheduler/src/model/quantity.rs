//! Memory and CPU: `64Mi` is bytes, `200m` thousandths of a core.

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

const UNITS: [(&str, f64); 12] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("m", 1e-3),
    ("", 1.0),
];

/// Bytes of a Kubernetes quantity; `None` where it is none.
pub fn parse_memory(text: &str) -> Option<u64> {
    number(text).map(|bytes| bytes.ceil() as u64)
}

/// Thousandths of a core of a Kubernetes quantity; `None` where it is none.
pub fn parse_cpu(text: &str) -> Option<u64> {
    number(text).map(|cores| (cores * 1000.0).ceil() as u64)
}

fn number(text: &str) -> Option<f64> {
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let value: f64 = text[..text.len() - unit.len()].parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value * factor)
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
    fn quantities_read_as_kubernetes_reads_them() {
        assert_eq!(parse_memory("64Mi"), Some(64 << 20));
        assert_eq!(parse_memory("64M"), Some(64_000_000));
        assert_eq!(parse_memory("1.5Gi"), Some(3 << 29));
        assert_eq!(parse_memory("1024"), Some(1024));
        assert_eq!(parse_memory("1e3"), Some(1000));
        assert_eq!(parse_memory("-1"), None);
        assert_eq!(parse_memory("much"), None);
        assert_eq!(parse_cpu("200m"), Some(200));
        assert_eq!(parse_cpu("0.5"), Some(500));
        assert_eq!(parse_cpu("2"), Some(2000));
    }

    #[test]
    fn memory_reads_well() {
        assert_eq!(memory_text(64 << 20), "64Mi");
        assert_eq!(memory_text(3 << 29), "1.5Gi");
        assert_eq!(memory_text(100), "100");
    }
}
