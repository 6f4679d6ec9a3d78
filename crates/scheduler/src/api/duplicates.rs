//! Keys that a JSON body names twice, of which a reader takes the last: `fieldValidation` tells of them.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Most that are told of one body.
const MOST: usize = 20;

/// Paths of the fields that stand there twice: `spec.containers[0].name`. None of what is no JSON.
pub(super) fn of(body: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(body);
    // What cannot be read is told by whoever reads it.
    let _ = Walk { at: String::new(), found: &mut found }.deserialize(&mut reader);
    found
}

struct Walk<'a> {
    at: String,
    found: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        while items.next_element_seed(Walk { at: format!("{}[{index}]", self.at), found: self.found })?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.at.is_empty() { key.clone() } else { format!("{}.{key}", self.at) };
            if !seen.insert(key) && self.found.len() < MOST {
                self.found.push(path.clone());
            }
            map.next_value_seed(Walk { at: path, found: self.found })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_there_twice_is_named() {
        let body = br#"{"a":1,"spec":{"b":[{"c":1,"c":2},{"c":1}],"b":null},"a":{"a":1},"s":"x","f":1.5,"n":-1}"#;
        assert_eq!(of(body), ["spec.b[0].c", "spec.b", "a"]);
        assert!(of(br#"{"a":{"b":1},"c":{"b":1}}"#).is_empty() && of(b"{\"a\":1,").is_empty() && of(b"").is_empty());
    }
}
