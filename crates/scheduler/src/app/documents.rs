//! YAML documents as JSON: how Kubernetes' manifests, Compose files and applied bodies are read.

use serde_json::{Map, Value};

use super::mistake::{Found, Mistakes};
use super::source::{Source, Text};
use super::tree::{self, Kind, Node};

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The file's name.
    pub file: String,
    /// The line on which it begins, from 1.
    pub line: usize,
    /// What it holds.
    pub value: Value,
}

/// Every document of the files but the empty ones, in order. JSON files are YAML too.
///
/// # Errors
/// All syntax errors, with their places; a key that is given twice is one.
pub fn documents(sources: &[Source]) -> Result<Vec<Document>, Mistakes> {
    let mut all = Vec::new();
    let mut mistakes = Vec::new();
    for source in sources {
        match read(source) {
            Ok(documents) => all.extend(documents),
            Err(found) => mistakes.extend(found.0),
        }
    }
    if mistakes.is_empty() { Ok(all) } else { Err(Mistakes(mistakes)) }
}

fn read(source: &Source) -> Result<Vec<Document>, Mistakes> {
    let text = Text::of(source).map_err(|mistake| Mistakes(vec![*mistake]))?;
    let texts = [text];
    let mut found = Found::new(&texts);
    let nodes = tree::read(0, &mut found);
    found.done()?;
    let line = |node: &Node| node.at.map_or(1, |at| 1 + texts[0].text[..at.start.min(texts[0].text.len())].matches('\n').count());
    let documents = nodes.unwrap_or_default().into_iter().filter(|node| !matches!(node.kind, Kind::Null));
    Ok(documents.map(|node| Document { file: source.name.clone(), line: line(&node), value: json(&node) }).collect())
}

/// The first document of a text.
///
/// # Errors
/// A sentence.
pub(crate) fn json_of_yaml(body: &[u8]) -> Result<Value, String> {
    let documents = documents(&[Source::new("body", body)]).map_err(|mistakes| format!("the body is not YAML: {mistakes}"))?;
    match <[Document; 1]>::try_from(documents) {
        Ok([one]) => Ok(one.value),
        Err(other) => Err(format!("the body holds {} documents, not one", other.len())),
    }
}

fn json(node: &Node) -> Value {
    match &node.kind {
        Kind::Null | Kind::Faulty => Value::Null,
        Kind::List(items) => items.iter().map(json).collect(),
        Kind::Map(entries) => Value::Object(entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect::<Map<_, _>>()),
        Kind::Scalar { text, plain: false } => Value::from(text.as_str()),
        Kind::Scalar { text, plain: true } => plain(text),
    }
}

/// A word without quotes, as YAML's core schema and Kubernetes' reader understand it.
fn plain(text: &str) -> Value {
    match text {
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.contains(|c: char| c.is_ascii_digit());
    if !number {
        return Value::from(text);
    }
    let radix = |prefix: &str, radix| digits.strip_prefix(prefix).and_then(|rest| i64::from_str_radix(rest, radix).ok());
    // `0644`, a file's mode, is octal in YAML 1.1, which Kubernetes reads.
    let old_octal = || digits.strip_prefix('0').filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    if let Some(whole) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| i64::from_str_radix(old_octal()?, 8).ok()) {
        return Value::from(if text.starts_with('-') { -whole } else { whole });
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Ok(whole) = unsigned.parse::<i64>() {
        return Value::from(whole);
    }
    match unsigned.parse::<f64>() {
        Ok(fraction) if fraction.is_finite() => Value::from(fraction),
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_json_with_their_lines() {
        let text = "a: 1\nb: \"1\"\nc: [yes, true, ~, 1.5, 0644, 0x10, 1.2.3, -3, 1e3x]\n---\n---\n# none\n---\nd: {e: f}\n";
        let found = documents(&[Source::new("x.yaml", text)]).unwrap();
        let wanted = json!({ "a": 1, "b": "1", "c": ["yes", true, null, 1.5, 420, 16, "1.2.3", -3, "1e3x"] });
        assert_eq!(found.iter().map(|d| d.line).collect::<Vec<_>>(), [1, 8]);
        assert_eq!((&found[0].value, &found[1].value), (&wanted, &json!({ "d": { "e": "f" } })));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let mistakes = documents(&[Source::new("x.yaml", "a: 1\na: 2\n"), Source::new("y.yaml", "a: [1")]).unwrap_err();
        let text = mistakes.to_string();
        assert!(text.contains("x.yaml:2") && text.contains("given twice") && text.contains("y.yaml:"), "{text}");
        assert!(json_of_yaml(b"a: 1\n---\nb: 2\n").unwrap_err().contains("2 documents"));
    }
}
