//! Quantities in JSON, where `64` and `"64"` are one.

use serde_json::Value;

use crate::quantity::Quantity;

/// What a quantity is worth, in thousandths of its unit; `None` for what is no quantity, is negative or too large.
pub fn of(value: &Value) -> Option<u128> {
    let quantity = match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    };
    quantity?.rounded_up(1000).filter(|milli| *milli <= u128::from(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn m10_numbers_and_strings_are_quantities() {
        assert_eq!((of(&json!(64)), of(&json!("64")), of(&json!("200m"))), (Some(64_000), Some(64_000), Some(200)));
        for wrong in [json!("64mi"), json!(-1), json!(true), json!("99999999999999999999Ei"), json!(null)] {
            assert_eq!(of(&wrong), None, "{wrong}");
        }
    }
}
