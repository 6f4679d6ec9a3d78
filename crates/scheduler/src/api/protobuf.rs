//! Kubernetes' protobuf form of an object, read into the same JSON that other clients send.
//!
//! The fields' numbers are those of Kubernetes' public `.proto` files, kept in `protobuf/fields.txt`: one message a line, each field as
//! `number:name:type`. `[]` and `{}` are a list and a map of that type, `!` a field whose zero says something, `^` one whose fields stand
//! beside it in JSON. What a message holds beyond the table is skipped, as protobuf wants it.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

mod wire;

use wire::{Data, Reader};

/// What a body starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Most levels of a message.
const DEEPEST: usize = 64;
/// Most values of a message: each is a few bytes there and a hundred here.
const MOST_VALUES: usize = 200_000;
/// The wire's own description of what is inside.
const ENVELOPE: &str = "Unknown 1:typeMeta:TypeMeta 3:contentEncoding:text 4:contentType:text\nTypeMeta 1:apiVersion:text 2:kind:text\n\
    OlderAutoscaler 1:metadata:ObjectMeta 2:spec:OlderAutoscalerSpec\n\
    OlderAutoscalerSpec 1:scaleTargetRef:CrossVersionObjectReference 2:minReplicas:int! 3:maxReplicas:int! 4:targetCPUUtilizationPercentage:int!";

type Result<T> = std::result::Result<T, String>;

/// One field of the table.
#[derive(Debug, Clone, Copy)]
struct Field {
    name: &'static str,
    of: Type,
    many: Many,
    keeps_zero: bool,
    inline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Many {
    One,
    List,
    Map,
}

#[derive(Debug, Clone, Copy)]
enum Type {
    Text,
    Int,
    Flag,
    Float,
    Bytes,
    Quantity,
    IntOrString,
    /// Seconds and nanoseconds, shown with so many digits of a second.
    Time(usize),
    /// JSON as it is.
    Raw,
    Message(&'static str),
}

type Messages = HashMap<&'static str, HashMap<u32, Field>>;

fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| include_str!("protobuf/fields.txt").lines().chain(ENVELOPE.lines()).filter_map(message).collect())
}

fn message(line: &'static str) -> Option<(&'static str, HashMap<u32, Field>)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    Some((name, words.filter_map(field).collect()))
}

fn field(word: &'static str) -> Option<(u32, Field)> {
    let mut parts = word.splitn(3, ':');
    let (number, name, shape) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let (shape, keeps_zero) = shape.strip_suffix('!').map_or((shape, false), |shape| (shape, true));
    let (shape, inline) = shape.strip_prefix('^').map_or((shape, false), |shape| (shape, true));
    let (shape, many) = match (shape.strip_prefix("[]"), shape.strip_prefix("{}")) {
        (Some(shape), _) => (shape, Many::List),
        (_, Some(shape)) => (shape, Many::Map),
        _ => (shape, Many::One),
    };
    let of = match shape {
        "text" => Type::Text,
        "int" => Type::Int,
        "flag" => Type::Flag,
        "float" => Type::Float,
        "bytes" => Type::Bytes,
        "quantity" => Type::Quantity,
        "intorstring" => Type::IntOrString,
        "time" => Type::Time(0),
        "microtime" => Type::Time(6),
        "raw" => Type::Raw,
        message => Type::Message(message),
    };
    Some((number, Field { name, of, many, keeps_zero, inline }))
}

/// The object that a body holds.
///
/// # Errors
/// A sentence that says what cannot be read.
pub fn read(body: &[u8]) -> Result<Value> {
    let rest = body.strip_prefix(MAGIC).ok_or("it does not start as Kubernetes' protobuf does")?;
    let mut left = MOST_VALUES;
    let mut budget = Budget { left: &mut left };
    let envelope = budget.message("Unknown", rest, 0)?;
    let text = |at: &str| envelope.pointer(at).and_then(Value::as_str).unwrap_or_default();
    if !text("/contentEncoding").is_empty() || !matches!(text("/contentType"), "" | "application/vnd.kubernetes.protobuf") {
        return Err(format!("its content is {:?} {:?}, not plain protobuf", text("/contentEncoding"), text("/contentType")));
    }
    let (version, kind) = (text("/typeMeta/apiVersion"), text("/typeMeta/kind"));
    let message = if (version, kind) == ("autoscaling/v1", "HorizontalPodAutoscaler") { "OlderAutoscaler" } else { kind };
    let Some((known, _)) = messages().get_key_value(message) else { return Err(format!("kind {kind:?} is not known; send it as JSON")) };
    // The bytes themselves, not their JSON.
    let raw = Reader::of(rest).find(2)?;
    let mut object = budget.message(known, raw, 0)?;
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    Ok(object)
}

/// How much more may be made.
struct Budget<'a> {
    left: &'a mut usize,
}

impl Budget<'_> {
    fn take(&mut self) -> Result<()> {
        *self.left = self.left.checked_sub(1).ok_or_else(|| format!("it holds more than {MOST_VALUES} values"))?;
        Ok(())
    }

    fn message(&mut self, name: &'static str, bytes: &[u8], depth: usize) -> Result<Value> {
        if depth > DEEPEST {
            return Err(format!("it has more than {DEEPEST} levels"));
        }
        let fields = messages().get(name).ok_or_else(|| format!("{name} is not known"))?;
        let mut object = Map::new();
        let mut reader = Reader::of(bytes);
        while let Some((number, data)) = reader.next()? {
            let Some(field) = fields.get(&number) else { continue };
            self.take()?;
            self.field(field, data, &mut object, depth).map_err(|why| within(field.name, &why))?;
        }
        Ok(Value::Object(object))
    }

    fn field(&mut self, field: &Field, data: Data<'_>, object: &mut Map<String, Value>, depth: usize) -> Result<()> {
        match (field.many, data) {
            (Many::Map, data) => {
                let (key, value) = self.entry(field, data.bytes()?, depth)?;
                let map = object.entry(field.name).or_insert_with(|| json!({}));
                if let (Some(map), Some(value)) = (map.as_object_mut(), value) {
                    map.insert(key, value);
                }
            }
            // Numbers may come packed.
            (Many::List, Data::Bytes(packed)) if matches!(field.of, Type::Int | Type::Flag) => {
                let mut reader = Reader::of(packed);
                while let Some(number) = reader.packed()? {
                    self.take()?;
                    self.push(field, Data::Number(number), object, depth)?;
                }
            }
            (Many::List, data) => self.push(field, data, object, depth)?,
            (Many::One, data) => match self.value(field.of, data, depth)? {
                Some(Value::Object(inner)) if field.inline => object.extend(inner),
                Some(value) if field.keeps_zero || !is_zero(&value) => drop(object.insert(field.name.to_owned(), value)),
                _ => {}
            },
        }
        Ok(())
    }

    fn push(&mut self, field: &Field, data: Data<'_>, object: &mut Map<String, Value>, depth: usize) -> Result<()> {
        let value = self.value(field.of, data, depth)?.unwrap_or(Value::Null);
        if let Some(list) = object.entry(field.name).or_insert_with(|| json!([])).as_array_mut() {
            list.push(value);
        }
        Ok(())
    }

    /// One entry of a map is a message of a key and a value.
    fn entry(&mut self, field: &Field, bytes: &[u8], depth: usize) -> Result<(String, Option<Value>)> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader::of(bytes);
        while let Some((number, data)) = reader.next()? {
            match number {
                1 => key = text(data.bytes()?)?,
                2 => value = self.value(field.of, data, depth)?,
                _ => {}
            }
        }
        let empty = || matches!(field.of, Type::Text | Type::Bytes).then(|| json!(""));
        Ok((key, value.or_else(empty)))
    }

    /// `None` for what is null in JSON.
    fn value(&mut self, of: Type, data: Data<'_>, depth: usize) -> Result<Option<Value>> {
        Ok(Some(match of {
            Type::Text => json!(text(data.bytes()?)?),
            Type::Int => json!(data.number()?.cast_signed()),
            Type::Flag => json!(data.number()? != 0),
            Type::Float => {
                let number = f64::from_bits(data.number()?);
                serde_json::Number::from_f64(number).map(Value::Number).ok_or("a number is not finite")?
            }
            Type::Bytes => json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, data.bytes()?)),
            Type::Quantity => json!(text(Reader::of(data.bytes()?).find(1)?)?),
            Type::IntOrString => int_or_string(data.bytes()?)?,
            Type::Time(digits) => return time(data.bytes()?, digits),
            Type::Raw => raw(data.bytes()?)?,
            Type::Message(name) => self.message(name, data.bytes()?, depth + 1)?,
        }))
    }
}

fn within(name: &str, why: &str) -> String {
    match why.split_once(": ") {
        Some((path, rest)) if !path.contains(' ') => format!("{name}.{path}: {rest}"),
        _ => format!("{name}: {why}"),
    }
}

/// What JSON leaves out where nothing was said.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(flag) => !flag,
        _ => false,
    }
}

fn text(bytes: &[u8]) -> Result<String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "a text is not UTF-8".to_owned())
}

fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let (mut is_text, mut number, mut word) = (false, 0, String::new());
    let mut reader = Reader::of(bytes);
    while let Some((field, data)) = reader.next()? {
        match field {
            1 => is_text = data.number()? == 1,
            2 => number = data.number()?.cast_signed(),
            3 => word = text(data.bytes()?)?,
            _ => {}
        }
    }
    Ok(if is_text { json!(word) } else { json!(number) })
}

/// An empty time is null.
fn time(bytes: &[u8], digits: usize) -> Result<Option<Value>> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::of(bytes);
    while let Some((field, data)) = reader.next()? {
        match field {
            1 => seconds = data.number()?.cast_signed(),
            2 => nanos = data.number()?.cast_signed(),
            _ => {}
        }
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let nanos = i32::try_from(nanos).map_err(|_| "a time has too many nanoseconds")?;
    let at = jiff::Timestamp::new(seconds, nanos).map_err(|_| "a time is out of range")?;
    Ok(Some(json!(format!("{at:.digits$}"))))
}

fn raw(bytes: &[u8]) -> Result<Value> {
    let inner = Reader::of(bytes).find(1)?;
    if inner.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(inner).map_err(|error| format!("what should be JSON is not: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field_of(number: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = varint(u64::from(number) << 3 | 2);
        out.extend(varint(bytes.len() as u64));
        out.extend_from_slice(bytes);
        out
    }

    fn varint(mut n: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while n >= 0x80 {
            out.push((n as u8 & 0x7f) | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out
    }

    fn number_of(number: u32, n: u64) -> Vec<u8> {
        [varint(u64::from(number) << 3), varint(n)].concat()
    }

    fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field_of(1, version.as_bytes()), field_of(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field_of(1, &meta), field_of(2, raw), field_of(3, b""), field_of(4, b"")].concat()
    }

    /// As a Go client writes a Deployment: with all that is empty, too.
    fn deployment() -> Vec<u8> {
        let label = field_of(1, &[field_of(1, b"app"), field_of(2, b"web")].concat());
        let meta = [field_of(1, b"web"), field_of(3, b""), number_of(7, 0), field_of(8, b""), field_of(11, &label[2..])].concat();
        let port = [field_of(1, b""), number_of(3, 5000)].concat();
        let memory = [field_of(1, b"memory"), field_of(2, &field_of(1, b"64Mi"))].concat();
        let container =
            [field_of(1, b"web"), field_of(2, b"web:1"), field_of(6, &port), field_of(8, &field_of(1, &memory)), number_of(16, 0)];
        let pod = field_of(2, &container.concat());
        let surge = [number_of(1, 1), number_of(2, 0), field_of(3, b"25%")].concat();
        let strategy = [field_of(1, b"RollingUpdate"), field_of(2, &field_of(2, &surge))].concat();
        let spec =
            [number_of(1, 0), field_of(2, &label), field_of(3, &field_of(2, &pod)), field_of(4, &strategy), number_of(5, 0)].concat();
        body("apps/v1", "Deployment", &[field_of(1, &meta), field_of(2, &spec), field_of(3, b"")].concat())
    }

    #[test]
    fn a_deployment_becomes_the_json_that_other_clients_send() {
        let wanted = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "labels": { "app": "web" } },
            "spec": {
                "replicas": 0, "selector": { "matchLabels": { "app": "web" } },
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%" } },
                "template": { "spec": { "containers": [{
                    "name": "web", "image": "web:1", "ports": [{ "containerPort": 5000 }], "resources": { "limits": { "memory": "64Mi" } },
                }] } },
            },
            "status": {},
        });
        assert_eq!(read(&deployment()), Ok(wanted));
    }

    #[test]
    fn what_is_kept_elsewhere_in_json_is_put_there() {
        let reference = [field_of(1, &field_of(1, b"settings")), field_of(2, b"key")].concat();
        let env = [field_of(1, b"A"), field_of(3, &field_of(3, &reference))].concat();
        let pod = body("v1", "Pod", &field_of(2, &field_of(2, &field_of(7, &env))));
        let found = read(&pod).unwrap();
        let wanted = json!({ "name": "settings", "key": "key" });
        assert_eq!(found["spec"]["containers"][0]["env"][0]["valueFrom"]["configMapKeyRef"], wanted);
        let secret = body("v1", "Secret", &field_of(2, &[field_of(1, b"a"), field_of(2, b"hello")].concat()));
        assert_eq!(read(&secret).unwrap()["data"], json!({ "a": "aGVsbG8=" }));
        let at = [number_of(1, 1_767_225_600), number_of(2, 0)].concat();
        let event = body("v1", "Event", &field_of(6, &at));
        assert_eq!(read(&event).unwrap()["firstTimestamp"], "2026-01-01T00:00:00Z");
    }

    #[test]
    fn every_message_that_a_field_names_is_there() {
        for (name, fields) in messages() {
            for field in fields.values() {
                if let Type::Message(of) = field.of {
                    assert!(messages().contains_key(of), "{name}.{} is a {of}", field.name);
                }
            }
        }
    }

    #[test]
    fn a_message_says_where_it_is_wrong() {
        let pod = body("v1", "Pod", &field_of(2, &field_of(2, &field_of(1, &[0xff]))));
        assert_eq!(read(&pod).unwrap_err(), "spec.containers.name: a text is not UTF-8");
        assert!(read(b"{}").is_err() && read(&body("v1", "Nothing", b"")).unwrap_err().contains("\"Nothing\""));
        let many = field_of(2, b"").repeat(MOST_VALUES + 1);
        assert!(read(&body("v1", "Pod", &field_of(2, &many))).unwrap_err().contains("values"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0..20_usize) {
            let names: Vec<&&str> = messages().keys().collect();
            let _ = read(&[MAGIC, &bytes].concat());
            let _ = read(&body("v1", names[kind * names.len() / 20], &bytes));
        }

        #[test]
        fn nor_does_a_body_that_was_damaged(at in 0..10_000_usize, byte: u8, cut in 0..10_000_usize) {
            let mut bytes = deployment();
            let length = bytes.len();
            bytes[at % length] = byte;
            let _ = read(&bytes);
            bytes.truncate(cut % length);
            let _ = read(&bytes);
        }
    }
}
