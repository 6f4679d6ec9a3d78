//! Holds a tree against the table of keys: every mistake is found, and what is right comes out as JSON in one form.

use serde_json::{Map, Value};

use super::keys::{self, Form, Key};
use super::mistake::Found;
use super::problem::{Problem, nearest, shown};
use super::tree::{Kind, Node};
use super::word::{self, Word};

/// Walks a tree and its table side by side.
pub(crate) struct Checker<'a, 'b> {
    pub found: &'a mut Found<'b>,
    path: Vec<String>,
    /// The tree came over the API and not from a file.
    over_api: bool,
    /// Inside a key that is still to come: one "not yet" is enough.
    later: bool,
}

impl<'a, 'b> Checker<'a, 'b> {
    /// For an app file.
    pub fn of_file(found: &'a mut Found<'b>) -> Self {
        Self { found, path: Vec::new(), over_api: false, later: false }
    }

    /// For an AppSpec that came over the API.
    pub fn of_spec(found: &'a mut Found<'b>) -> Self {
        Self { found, path: vec!["spec".into()], over_api: true, later: false }
    }

    /// A whole AppSpec: the keys of a file, but with services that are locked.
    pub fn spec(&mut self, node: &Node) -> Option<Value> {
        let services = node.get("services").cloned();
        let mut rest = node.clone();
        if let Some(entries) = rest.entries_mut() {
            entries.retain(|entry| entry.key != "services");
        }
        let mut map = match self.map(&[keys::shared()], &rest)? {
            Value::Object(map) => map,
            _ => return None,
        };
        if let Some(services) = services {
            self.path.push("services".into());
            let read = self.each(&word::SERVICE, &services, &mut |this, node| this.map(&[keys::LOCKED, keys::settings()], node));
            self.path.pop();
            map.insert("services".into(), read?);
        }
        Some(Value::Object(map))
    }

    fn wrong(&mut self, node: &Node, problem: impl Into<Problem>) {
        let problem = problem.into();
        if !(problem.later && self.later) {
            self.found.push(node.at, &self.path.join("."), problem);
        }
    }

    /// The value in its one form; none where it is absent or wrong.
    fn value(&mut self, form: &Form, node: &Node) -> Option<Value> {
        if matches!(node.kind, Kind::Faulty) {
            return None;
        }
        match form {
            Form::Scalar(word) => self.scalar(word, node),
            Form::Whole(least, most) => self.whole(*least, *most, node),
            Form::Map(keys) => self.map(&[keys], node),
            Form::Named(word, form) => self.each(word, node, &mut |this, node| this.value(form, node)),
            Form::List(form) => self.list(form, node),
            Form::OneOrMore(form) => match &node.kind {
                Kind::List(_) => self.list(form, node),
                Kind::Null => self.nothing(form, node),
                _ => self.value(form, node).map(|value| Value::Array(vec![value])),
            },
            Form::Short(word, keys) => match &node.kind {
                Kind::Map(_) => self.map(&[keys], node),
                Kind::List(_) => self.unexpected(&form.words(), node),
                _ => self.scalar(word, node).map(|value| match (value, keys.first()) {
                    (value @ Value::String(_), Some(first)) => Value::Object(Map::from_iter([(first.name.to_owned(), value)])),
                    (value, _) => value,
                }),
            },
            Form::Either(first, second) => match (&node.kind, second) {
                (Kind::Scalar { text, .. }, Form::Scalar(word)) if text.starts_with(char::is_alphabetic) => match (word.read)(text) {
                    Err(problem) if !problem.later => self.unexpected(&form.words(), node),
                    _ => self.scalar(word, node),
                },
                _ => self.value(first, node),
            },
        }
    }

    fn scalar(&mut self, word: &Word, node: &Node) -> Option<Value> {
        match &node.kind {
            Kind::Scalar { text, .. } => match (word.read)(text) {
                Ok(value) => Some(value),
                Err(problem) => {
                    self.wrong(node, problem);
                    None
                }
            },
            Kind::Null => {
                self.wrong(node, Problem::new(format!("the value is missing: expected {}; write \"\" for an empty text", one(word.what))));
                None
            }
            _ => self.unexpected(word.what, node),
        }
    }

    fn whole(&mut self, least: u64, most: u64, node: &Node) -> Option<Value> {
        let Kind::Scalar { text, plain } = &node.kind else { return self.unexpected("whole number", node) };
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let problem = match (is_number, plain) {
            (false, _) => return self.unexpected("whole number", node),
            (true, false) => Problem::meant(format!("expected a whole number, found the text \"{}\"", shown(text)), shown(text)),
            (true, true) if digits.len() > 1 && digits.starts_with('0') => {
                let message = format!("`{}` starts with a 0, which some would read as octal", shown(text));
                Problem { meant: Some(shown(digits.trim_start_matches('0'))).filter(|m| !m.is_empty()), ..Problem::new(message) }
            }
            (true, true) => match text.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => return Some(number.into()),
                _ => Problem::new(format!("`{}` is not between {least} and {most}", shown(text))),
            },
        };
        self.wrong(node, problem);
        None
    }

    fn unexpected(&mut self, expected: &str, node: &Node) -> Option<Value> {
        let found = match &node.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Scalar { text, plain: true } => format!("`{}`", shown(text)),
            Kind::Scalar { text, plain: false } => format!("the text \"{}\"", shown(text)),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
            Kind::Faulty => return None,
        };
        let expected = one(expected);
        self.wrong(node, Problem::new(format!("expected {expected}, found {found}")));
        None
    }

    fn nothing(&mut self, form: &Form, node: &Node) -> Option<Value> {
        self.wrong(node, Problem::new(format!("the value is missing: expected {}", one(&form.words()))));
        None
    }

    fn list(&mut self, form: &Form, node: &Node) -> Option<Value> {
        let items = match &node.kind {
            Kind::List(items) => items,
            // `connect:` with nothing below it grants nothing.
            Kind::Null => return Some(Value::Array(Vec::new())),
            _ => return self.unexpected(&format!("list of {}", form.plural()), node),
        };
        let mut values: Vec<Value> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            self.path.push(i.to_string());
            if let Some(value) = self.value(form, item) {
                // Arguments may repeat; whatever is granted or routed may not.
                if values.contains(&value) && self.path.iter().all(|key| key != "args") {
                    self.wrong(item, Problem::new("this is listed twice"));
                }
                values.push(value);
            }
            self.path.pop();
        }
        Some(Value::Array(values))
    }

    fn each(&mut self, word: &Word, node: &Node, read: &mut dyn FnMut(&mut Self, &Node) -> Option<Value>) -> Option<Value> {
        let entries = match &node.kind {
            Kind::Map(entries) => entries,
            // `env:` with nothing below it sets nothing.
            Kind::Null => return Some(Value::Object(Map::new())),
            _ => return self.unexpected(&format!("map from {} to a value", word.what), node),
        };
        let mut map = Map::new();
        for entry in entries {
            self.path.push(entry.key.clone());
            if let Err(problem) = (word.read)(&entry.key) {
                self.found.push(entry.key_at, &self.path.join("."), problem);
            }
            if let Some(value) = read(self, &entry.value) {
                map.insert(entry.key.clone(), value);
            }
            self.path.pop();
        }
        Some(Value::Object(map))
    }

    /// A map whose keys stand in `tables`.
    pub fn map(&mut self, tables: &[&'static [Key]], node: &Node) -> Option<Value> {
        let entries = match &node.kind {
            Kind::Map(entries) => entries.as_slice(),
            Kind::Null => &[],
            _ => return self.unexpected("map", node),
        };
        let mut map = Map::new();
        for entry in entries {
            let known = tables.iter().flat_map(|keys| keys.iter()).find(|key| key.name == entry.key);
            self.path.push(entry.key.clone());
            let path = self.path.join(".");
            let Some(key) = known else {
                self.found.push(entry.key_at, &path, unknown(&entry.key, tables, self.over_api));
                self.path.pop();
                continue;
            };
            let outer = self.later;
            if key.later && !outer {
                let message = format!("`{}` is known, but this version does not carry it out; take it out for now", key.name);
                self.found.push(entry.key_at, &path, Problem::later(message));
            }
            self.later |= key.later;
            if let Some(value) = self.value(&key.form, &entry.value) {
                map.insert(key.name.to_owned(), value);
            }
            self.later = outer;
            self.path.pop();
        }
        self.required(tables, node);
        Some(Value::Object(map))
    }

    fn required(&mut self, tables: &[&'static [Key]], node: &Node) {
        for key in tables.iter().flat_map(|keys| keys.iter()).filter(|key| key.required && node.entry(key.name).is_none()) {
            self.wrong(node, Problem::new(format!("`{}` is missing: {}", key.name, lower_first(key.about))));
        }
    }
}

/// `name` → `a name`; words to choose from stay as they are.
fn one(what: &str) -> String {
    match what.chars().next() {
        Some('`') => what.to_owned(),
        Some('a' | 'e' | 'i' | 'o') => format!("an {what}"),
        _ => format!("a {what}"),
    }
}

/// A sentence as part of another one.
fn lower_first(about: &str) -> String {
    let mut chars = about.trim_end_matches('.').chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// An unknown key, with what it may have been.
fn unknown(key: &str, tables: &[&'static [Key]], over_api: bool) -> Problem {
    let here = || tables.iter().flat_map(|keys| keys.iter()).map(|key| key.name);
    let alias = keys::ALIASES.iter().find(|(other, _)| *other == key).map(|(_, own)| *own);
    let alias = alias.filter(|own| here().any(|name| Some(name) == own.split('.').next()));
    let meant = alias.map(str::to_owned).or_else(|| nearest(key, here()).map(str::to_owned)).or_else(|| elsewhere(key));
    let message = match &meant {
        _ if over_api => format!("the field `{}` is not known to this server (wctl {})", shown(key), env!("CARGO_PKG_VERSION")),
        Some(_) => format!("the key `{}` is not known here", shown(key)),
        None => format!("the key `{}` is not known here; the keys are {}", shown(key), here().collect::<Vec<_>>().join(", ")),
    };
    Problem { meant, ..Problem::new(message) }
}

/// `limits.memory` for a `memory` that stands in the wrong map.
fn elsewhere(key: &str) -> Option<String> {
    let path = keys::lines().into_iter().map(|line| line.path).find(|path| path.rsplit('.').next() == Some(key))?;
    Some(path.trim_start_matches("services.NAME.").to_owned())
}
