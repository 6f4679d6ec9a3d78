//! The JSON Schema of app.yaml, for editors: made from the table of keys, so that it cannot say anything else.

use serde_json::{Map, Value, json};

use super::MOST_SERVICES;
use super::keys::{self, Form, Key, ORIGINS};
use super::word::{self, Word};

/// The schema of an app file. It accepts whatever the reader accepts; what takes more than one value to see it leaves to the reader.
pub fn schema() -> Value {
    let mut top = map(keys::TOP);
    let mut properties = top["properties"].take();
    properties["services"]["propertyNames"] = json!({ "pattern": word::SERVICE.pattern });
    properties["services"]["minProperties"] = json!(1);
    properties["services"]["maxProperties"] = json!(MOST_SERVICES);
    let short = map(keys::SERVICE)["properties"].take();
    let service_only: Vec<Value> =
        keys::SERVICE.iter().filter(|key| key.name != "env").map(|key| json!({ "required": [key.name] })).collect();
    if let (Value::Object(properties), Value::Object(short)) = (&mut properties, short) {
        short.into_iter().for_each(|(name, value)| {
            properties.entry(name).or_insert(value);
        });
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://wctl.dev/app.schema.json",
        "title": "app.yaml of wctl",
        "type": "object",
        "properties": properties,
        "required": ["app"],
        "additionalProperties": false,
        "oneOf": [
            { "title": "several services", "required": ["services"], "not": { "anyOf": service_only } },
            { "title": "one service, named like the app", "not": { "required": ["services"] }, "oneOf": origins() },
        ],
        "$defs": { "service": service() },
    })
}

fn origins() -> Value {
    ORIGINS.iter().map(|origin| json!({ "required": [origin] })).collect()
}

fn service() -> Value {
    let mut service = map(keys::SERVICE);
    service["oneOf"] = origins();
    service
}

fn map(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut map = json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        map["type"] = json!("object");
        map["required"] = json!(required);
    }
    map
}

fn property(key: &Key) -> Value {
    let mut schema = if key.name == "services" {
        json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/service" } })
    } else {
        form(&key.form)
    };
    let later = if key.later { " Not yet: this version refuses it." } else { "" };
    let default = if key.default.is_empty() { String::new() } else { format!(" Default: {}.", key.default.replace('`', "")) };
    schema["description"] = json!(format!("{}{default}{later}", key.about));
    schema
}

/// A value that holds a variable is looked at once that is replaced.
const VARIABLE: &str = r"\$\{";

fn form(form: &Form) -> Value {
    match form {
        Form::Scalar(word) => scalar(word),
        Form::Whole(least, most) => {
            json!({ "anyOf": [{ "type": "integer", "minimum": least, "maximum": most }, { "type": "string", "pattern": VARIABLE }] })
        }
        Form::Map(keys) => map(keys),
        Form::Named(word, below) => {
            json!({ "type": ["object", "null"], "propertyNames": { "pattern": word.pattern }, "additionalProperties": self::form(below) })
        }
        Form::List(below) => json!({ "type": ["array", "null"], "items": self::form(below) }),
        Form::OneOrMore(below) => json!({ "anyOf": [self::form(below), { "type": "array", "items": self::form(below) }] }),
        Form::Short(word, keys) => json!({ "anyOf": [scalar(word), map(keys)] }),
        Form::Either(first, second) => json!({ "anyOf": [self::form(first), self::form(second)] }),
    }
}

/// A text, and a number or a boolean where the reader would read that as text.
fn scalar(word: &Word) -> Value {
    let reads = |text: &str| (word.read)(text).is_ok();
    let mut types = vec!["string"];
    if ["1", "503", "1073741824"].into_iter().any(reads) {
        types.push("number");
    }
    if reads("true") {
        types.push("boolean");
    }
    if word.pattern.is_empty() {
        return json!({ "type": types });
    }
    json!({ "type": types, "anyOf": [{ "pattern": word.pattern }, { "pattern": VARIABLE }] })
}
