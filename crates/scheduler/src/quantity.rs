//! Kubernetes' quantities: `64Mi`, `200m`, `1.5`, `2e3`.

/// An amount of something, exactly: so many parts of which so many are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    parts: u128,
    of_one: u128,
}

impl Quantity {
    /// Reads a number and a suffix; `None` for what is no quantity, is negative or far too large.
    pub fn parse(text: &str) -> Option<Quantity> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 24 {
            return None;
        }
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let (up, down) = unit(suffix)?;
        Some(Quantity { parts: digits.checked_mul(up)?, of_one: scale.checked_mul(down)? })
    }

    /// In so many parts of one, a part of these counted as a whole one.
    pub fn rounded_up(self, parts_of_one: u128) -> Option<u128> {
        Some(self.parts.checked_mul(parts_of_one)?.div_ceil(self.of_one))
    }

    /// In so many parts of one, where it is a whole number of these.
    pub fn exactly(self, parts_of_one: u128) -> Option<u128> {
        let parts = self.parts.checked_mul(parts_of_one)?;
        parts.is_multiple_of(self.of_one).then(|| parts / self.of_one)
    }
}

/// Factor and divisor of a suffix.
fn unit(suffix: &str) -> Option<(u128, u128)> {
    Some(match suffix {
        "" => (1, 1),
        "m" => (1, 1000),
        "u" => (1, 1_000_000),
        "n" => (1, 1_000_000_000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10u128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (1, size) } else { (size, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m10_quantities_are_exact() {
        let bytes = |text: &str| Quantity::parse(text).and_then(|quantity| quantity.rounded_up(1));
        let cases = [("64Mi", 64 << 20), ("64M", 64_000_000), ("64", 64), ("1.5Gi", 3 << 29), ("2e3", 2000), ("0.5", 1), ("1Ki", 1024)];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        assert_eq!(Quantity::parse("200m").and_then(|cpu| cpu.exactly(1000)), Some(200));
        assert_eq!(Quantity::parse("0.0001").and_then(|cpu| cpu.exactly(1000)), None);
        for wrong in ["", "Mi", "-1", "64mi", "1..2", "1.2.3", "1e99", "６４Mi", "64 Mi", "much", "NaN", "inf", "1e"] {
            assert_eq!(Quantity::parse(wrong), None, "{wrong}");
        }
        assert_eq!(bytes("99999999999999999999Ei").and_then(|bytes| u64::try_from(bytes).ok()), None);
    }
}
