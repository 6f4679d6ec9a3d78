//! Amounts with units: memory, CPU, times and shares, as Kubernetes writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::problem::{Problem, shown};
use crate::quantity::Quantity;

/// An amount of memory in bytes: `64Mi`, `64M`, `1.5Gi`, `67108864`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(pub u64);

/// A share of CPU in thousandths of a core: `200m`, `0.5`, `2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(pub u32);

/// A length of time: `500ms`, `5s`, `1m30s`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

/// How many of a service's pods: `2`, or `25%` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// So many pods.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

/// The first and the longest wait of a crashed instance: `100ms..30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// The first wait; it doubles from crash to crash.
    pub first: Time,
    /// The longest wait.
    pub most: Time,
}

const MEMORY_UNITS: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

impl Memory {
    /// The least that a pod may have: less does not hold one sandbox.
    pub const LEAST: Memory = Memory(1 << 20);
    /// The most that a pod may have.
    pub const MOST: Memory = Memory(1 << 40);
}

impl FromStr for Memory {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Memory::read(text, "memory that a pod may have")
    }
}

impl Memory {
    /// Reads an amount of what `what` names.
    pub(super) fn read(text: &str, what: &str) -> Result<Memory, Problem> {
        let (number, unit) = split(text);
        let wrong = || Problem::new(format!("`{}` is not an amount of memory; write it like 64Mi, 64M or 1Gi", shown(text)));
        if number.is_empty() {
            return Err(wrong());
        }
        if !unit.is_empty() && !MEMORY_UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(memory_unit_meant(number, unit).map_or_else(wrong, |meant| Problem { meant: Some(meant), ..wrong() }));
        }
        let too_much = || Problem::new(format!("`{}` is more than the most {what}, {}", shown(text), Memory::MOST));
        if !is_plain(number) {
            return Err(wrong());
        }
        // What is written well and still cannot be read has more digits than any amount that could be meant.
        let bytes = Quantity::parse(text).ok_or_else(too_much)?.exactly(1).ok_or_else(wrong)?;
        let bytes = u64::try_from(bytes).map_err(|_| too_much())?;
        if bytes > Memory::MOST.0 {
            return Err(too_much());
        }
        if bytes < Memory::LEAST.0 {
            let message = format!("`{}` is {bytes} bytes, less than the least {what}, {}", shown(text), Memory::LEAST);
            return Err(Problem { meant: unit.is_empty().then(|| format!("{number}Mi")), ..Problem::new(message) });
        }
        Ok(Memory(bytes))
    }
}

/// `64MB`, `64 mb`, `64m` and the like: what their author probably meant.
fn memory_unit_meant(number: &str, unit: &str) -> Option<String> {
    let letter = unit.trim().chars().next()?.to_ascii_uppercase();
    let known = matches!(
        unit.trim().to_ascii_lowercase().as_str(),
        "kb" | "mb" | "gb" | "tb" | "kib" | "mib" | "gib" | "tib" | "k" | "m" | "g" | "t" | "ki" | "mi" | "gi" | "ti"
    );
    known.then(|| format!("{number}{letter}i"))
}

/// Digits and at most one point, and what follows them.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// Whether it is written as people write decimal numbers: no zero before it, nothing missing around the point.
fn is_plain(number: &str) -> bool {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    !whole.is_empty() && !leading_zero && !fraction.is_empty() && !fraction.contains('.') && fraction.len() <= 9
}

impl fmt::Display for Memory {
    /// In the unit that makes it shortest, always exact: `64Mi`, `64M`, `67108865`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_unit = |(name, factor): &(&str, u64)| self.0.is_multiple_of(*factor).then(|| format!("{}{name}", self.0 / factor));
        let shortest = MEMORY_UNITS.iter().filter_map(in_unit).min_by_key(String::len);
        f.write_str(&shortest.filter(|_| self.0 > 0).unwrap_or_else(|| self.0.to_string()))
    }
}

impl FromStr for Cpu {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        const MOST: u128 = 1024 * 1000;
        let wrong = || Problem::new(format!("`{}` is not an amount of CPU; write it like 200m (a fifth of a core), 0.5 or 2", shown(text)));
        let (number, unit) = split(text);
        if !matches!(unit, "" | "m") || !is_plain(number) {
            return Err(wrong());
        }
        let too_much = || Problem::new(format!("`{}` is more than the most CPU that a pod may have, 1024", shown(text)));
        match Quantity::parse(text).ok_or_else(too_much)?.exactly(1000).ok_or_else(wrong)? {
            0 => Err(Problem::new(format!("`{}` is no CPU at all; the least is 1m", shown(text)))),
            milli if milli > MOST => Err(too_much()),
            milli => u32::try_from(milli).map(Cpu).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for Time {
    type Err = Problem;

    /// Whole numbers with units, largest first: `1h`, `1m30s`, `500ms`; and `0s`.
    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = || Problem::new(format!("`{}` is not a time; write it like 500ms, 5s, 1m or 1h", shown(text)));
        let (mut rest, mut total, mut last) = (text, 0u64, u64::MAX);
        if !text.is_empty() && text.len() < 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            let message = format!("`{text}` has no unit; write it like 500ms, 5s, 1m or 1h");
            return Err(Problem::meant(message, format!("{text}s")));
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
            let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == &rest[digits..unit_end]).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            if *factor >= last {
                return Err(wrong());
            }
            total = number.checked_mul(*factor).and_then(|ms| ms.checked_add(total)).ok_or_else(wrong)?;
            (rest, last) = (&rest[unit_end..], *factor);
        }
        if last == u64::MAX { Err(wrong()) } else { Ok(Time(Duration::from_millis(total))) }
    }
}

impl fmt::Display for Time {
    /// As it is read: `1m30s`, `500ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (name, factor) in TIME_UNITS {
            if left >= factor {
                write!(f, "{}{name}", left / factor)?;
                left %= factor;
            }
        }
        Ok(())
    }
}

impl Time {
    /// A time of so many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Time(Duration::from_secs(seconds))
    }
}

impl FromStr for Share {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = || Problem::new(format!("`{}` is not a number of pods; write it like 2 or 25%", shown(text)));
        let digits = text.strip_suffix('%').unwrap_or(text);
        let number: u32 =
            if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
        match (text.ends_with('%'), number) {
            (true, 0..=100) => Ok(Share::Percent(number)),
            (true, _) => Err(Problem::new(format!("`{text}` is more than all pods; the most is 100%"))),
            (false, 0..=10_000) => Ok(Share::Count(number)),
            (false, _) => Err(wrong()),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Count(count) => write!(f, "{count}"),
            Share::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Backoff {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let (first, most) = text.split_once("..").ok_or_else(|| {
            Problem::new(format!("`{}` is not a back-off; write the first and the longest wait like 100ms..30s", shown(text)))
        })?;
        let (first, most): (Time, Time) = (first.parse()?, most.parse()?);
        if first.0.is_zero() || first > most || most > Time::seconds(3600) {
            return Err(Problem::new(format!("`{}` does not go from a wait above 0 up to a longer one of at most 1h", shown(text))));
        }
        Ok(Backoff { first, most })
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.most)
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Memory, Cpu, Time, Share, Backoff);
