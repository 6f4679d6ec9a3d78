//! Which fields of an object are wanted: the rest is skipped as it is read, not made and thrown away.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

/// A field, and which of its own fields are wanted; none named: all. The items of a list are read alike.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    of: &'static [Part],
}

impl Part {
    /// A field with all that it holds.
    pub const fn whole(name: &'static str) -> Part {
        Part { name, of: &[] }
    }

    /// These fields of a field.
    pub const fn of(name: &'static str, of: &'static [Part]) -> Part {
        Part { name, of }
    }
}

/// The wanted parts of a value in JSON; no part named: all of it.
pub(super) fn read(json: &[u8], parts: &[Part]) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = Wanted(parts).deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

struct Wanted<'p>(&'p [Part]);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        if self.0.is_empty() { Value::deserialize(reader) } else { reader.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(wanted) = fields.next_key_seed(Name(self.0))? {
            match wanted {
                Some(part) => drop(out.insert(part.name.to_owned(), fields.next_value_seed(Wanted(part.of))?)),
                None => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(out))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(Wanted(self.0))? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// The name of a field, as the part that it is.
struct Name<'p>(&'p [Part]);

impl<'de, 'p> DeserializeSeed<'de> for Name<'p> {
    type Value = Option<&'p Part>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Name<'p> {
    type Value = Option<&'p Part>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|part| part.name == name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_wanted_is_skipped_and_what_is_no_json_is_refused() {
        const PARTS: &[Part] = &[Part::whole("a"), Part::of("b", &[Part::whole("c"), Part::of("d", &[Part::whole("e")])])];
        let text = r#"{"a":{"x":[1,-2,0.5,null,true]},"z":{"y":[{}]},"b":{"c":"\u00fc","q":1,"d":[{"e":1,"f":2},{"f":3},7]}}"#;
        let wanted = json!({ "a": { "x": [1, -2, 0.5, null, true] }, "b": { "c": "ü", "d": [{ "e": 1 }, {}, 7] } });
        assert_eq!(read(text.as_bytes(), PARTS).unwrap(), wanted);
        assert_eq!(read(text.as_bytes(), &[]).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        for bad in [&text[..text.len() - 1], "", "{\"z\":nul}", "{} {}"] {
            assert!(read(bad.as_bytes(), PARTS).is_err(), "{bad}");
        }
    }
}
