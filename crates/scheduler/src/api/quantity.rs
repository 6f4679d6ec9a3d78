//! Kubernetes' quantities: `64Mi`, `200m`, `1.5`, `2e3`.

use serde_json::Value;

/// What a quantity is worth, in thousandths of its unit; `None` for what is no quantity, is negative or too large.
pub fn of(value: &Value) -> Option<u128> {
    match value {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

/// Bytes of a memory quantity.
pub fn bytes(value: &Value) -> Option<u64> {
    of(value).and_then(|milli| u64::try_from(milli.div_ceil(1000)).ok())
}

/// Thousandths of a CPU.
pub fn milli(value: &Value) -> Option<u64> {
    of(value).and_then(|milli| u64::try_from(milli).ok())
}

fn parse(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 24 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (up, down) = unit(suffix)?;
    let milli = digits.checked_mul(1000)?.checked_mul(up)?.div_ceil(scale.checked_mul(down)?);
    (milli <= u128::from(u64::MAX)).then_some(milli)
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
    use serde_json::json;

    #[test]
    fn m10_quantities() {
        let cases = [("64Mi", 64 << 20), ("64M", 64_000_000), ("64", 64), ("1.5Gi", 3 << 29), ("2e3", 2000), ("0.5", 1), ("1Ki", 1024)];
        for (text, expected) in cases {
            assert_eq!(bytes(&json!(text)), Some(expected), "{text}");
        }
        assert_eq!(bytes(&json!(64)), Some(64));
        assert_eq!(milli(&json!("200m")), Some(200));
        assert_eq!(milli(&json!(2)), Some(2000));
        for wrong in ["", "Mi", "-1", "64mi", "1..2", "1.2.3", "99999999999999999999Ei", "1e99", "６４Mi", "64 Mi"] {
            assert_eq!(of(&json!(wrong)), None, "{wrong}");
        }
        assert_eq!(of(&json!(true)), None);
    }
}
