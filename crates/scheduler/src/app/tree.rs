//! YAML to a tree in which every value knows its place, within a budget; the text of a scalar is kept letter by letter.

use std::collections::HashMap;

use serde_json::Value;
use serde_saphyr::granit_parser::{self, ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::mistake::Found;
use super::problem::{Problem, shown};
use super::source::At;

/// A value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub at: Option<At>,
    pub kind: Kind,
    pub merge: Merge,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// A text; `plain` without quotes, so that it may be a number or a boolean where one is expected.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// What a mistake has been found in already; nothing more is said about it.
    Faulty,
}

/// One key of a map and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub key_at: Option<At>,
    pub value: Node,
}

/// How a value goes over the one of an earlier file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Merge {
    /// Maps join, lists are appended, anything else is replaced.
    #[default]
    Join,
    /// `!override`: it replaces whatever was there.
    Override,
    /// `!reset`: what was there is gone.
    Reset,
}

/// What one file may unfold to; an alias counts as often as it is used.
const MOST_NODES: usize = 50_000;
const MOST_TEXT: usize = 4 << 20;
const MOST_DEPTH: usize = 64;

impl Node {
    pub fn new(at: Option<At>, kind: Kind) -> Self {
        Self { at, kind, merge: Merge::Join }
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list, or the value itself as the only one.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A value that came over the API: the same tree without places.
    pub fn of_json(value: &Value) -> Self {
        let scalar = |text: String, plain| Kind::Scalar { text, plain };
        Node::new(
            None,
            match value {
                Value::Null => Kind::Null,
                Value::Bool(b) => scalar(b.to_string(), true),
                Value::Number(n) => scalar(n.to_string(), true),
                Value::String(s) => scalar(s.clone(), false),
                Value::Array(items) => Kind::List(items.iter().map(Self::of_json).collect()),
                Value::Object(map) => {
                    let entry = |(key, value): (&String, &Value)| Entry { key: key.clone(), key_at: None, value: Self::of_json(value) };
                    Kind::Map(map.iter().map(entry).collect())
                }
            },
        )
    }

    fn size(&self) -> Size {
        let inside = |sum: Size, key: &str, node: &Node| {
            let size = node.size();
            Size { nodes: sum.nodes + size.nodes, bytes: sum.bytes + key.len() + size.bytes, depth: sum.depth.max(size.depth + 1) }
        };
        let alone = Size { nodes: 1, bytes: self.text().map_or(0, str::len), depth: 1 };
        match &self.kind {
            Kind::Null | Kind::Faulty | Kind::Scalar { .. } => alone,
            Kind::List(items) => items.iter().fold(alone, |sum, item| inside(sum, "", item)),
            Kind::Map(entries) => entries.iter().fold(alone, |sum, entry| inside(sum, &entry.key, &entry.value)),
        }
    }
}

/// What a value costs: values in it, bytes of text, levels.
#[derive(Debug, Clone, Copy)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// The documents of a file; none after a syntax error or past the budget, which are found and end the reading.
pub(crate) fn read(file: usize, found: &mut Found) -> Option<Vec<Node>> {
    let text = found.texts()[file].text;
    let options = granit_parser::options! {
        emit_comments: false, emit_unresolved_aliases: true, flow_nesting_limit: MOST_DEPTH, block_nesting_limit: MOST_DEPTH,
    };
    let mut builder = Builder { file, text, found, open: Vec::new(), anchors: HashMap::new(), documents: Vec::new(), nodes: 0, bytes: 0 };
    for event in Parser::new_from_str_with_options(text, options) {
        let end = match event {
            Ok((event, span)) => builder.event(event, span).err(),
            Err(error) => Some(builder.syntax(&error)),
        };
        if let Some((at, problem)) = end {
            builder.found.push(Some(at), "", problem);
            return None;
        }
    }
    Some(builder.documents)
}

fn too_deep() -> Problem {
    Problem::new(format!("lists and maps are nested more than {MOST_DEPTH} deep"))
}

/// A list or map that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, At)>,
    /// Keys so far and where each stands.
    keys: HashMap<String, At>,
    /// The value that comes next belongs to a key that is wrong.
    drop_next: bool,
}

struct Builder<'a, 'b, 'c> {
    file: usize,
    text: &'a str,
    found: &'b mut Found<'c>,
    open: Vec<Open>,
    /// Finished values with an anchor, and what each costs.
    anchors: HashMap<usize, (Node, Size)>,
    documents: Vec<Node>,
    nodes: usize,
    bytes: usize,
}

type Stop = (At, Problem);

impl Builder<'_, '_, '_> {
    fn at(&self, span: Span) -> At {
        let byte = |marker: Marker| marker.byte_offset().unwrap_or_default();
        At { file: self.file, start: byte(span.start), end: byte(span.end).max(byte(span.start)) }
    }

    /// Every value of a file has a place; this spares the reader from proving it.
    fn place(&self, node: &Node) -> At {
        node.at.unwrap_or(At { file: self.file, start: 0, end: 0 })
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let at = self.at(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && tag.is_none() && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let quoted = tag.as_deref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let kind = if null { Kind::Null } else { Kind::Scalar { text: text.into_owned(), plain: plain && !quoted } };
                let merge = self.tag(tag.as_deref(), at);
                self.spend(at, 1, if let Kind::Scalar { text, .. } = &kind { text.len() } else { 0 })?;
                self.value(Node { at: Some(at), kind, merge }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => self.start(Kind::List(Vec::new()), anchor, tag.as_deref(), at),
            Event::MappingStart(_, anchor, tag) => self.start(Kind::Map(Vec::new()), anchor, tag.as_deref(), at),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.end(open),
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some((node, size)) => {
                    // Paid for before it is copied: that is what makes a bomb cheap.
                    let size = *size;
                    let within = self.open.len() + size.depth <= MOST_DEPTH;
                    let node = if within && self.affords(size) { node.clone() } else { Node::new(Some(at), Kind::Faulty) };
                    if !within {
                        return Err((at, too_deep()));
                    }
                    self.spend(at, size.nodes, size.bytes)?;
                    self.value(node, 0)
                }
                None => {
                    self.found.push(Some(at), "", Problem::new("this alias stands inside its own anchor"));
                    self.value(Node::new(Some(at), Kind::Faulty), 0)
                }
            },
            Event::UnresolvedAlias(name) => {
                let message = format!("the alias `*{name}` has no anchor `&{name}` before it; quote it if it is text", name = shown(&name));
                self.found.push(Some(at), "", Problem::new(message));
                self.value(Node::new(Some(at), Kind::Faulty), 0)
            }
            _ => Ok(()),
        }
    }

    fn affords(&self, size: Size) -> bool {
        self.nodes + size.nodes <= MOST_NODES && self.bytes + size.bytes <= MOST_TEXT
    }

    /// Counts against the budget before anything is made.
    fn spend(&mut self, at: At, nodes: usize, bytes: usize) -> Result<(), Stop> {
        (self.nodes, self.bytes) = (self.nodes.saturating_add(nodes), self.bytes.saturating_add(bytes));
        if self.nodes > MOST_NODES || self.bytes > MOST_TEXT {
            let message = format!("the file unfolds to more than {MOST_NODES} values or {MOST_TEXT} bytes here; an app file is smaller");
            return Err((at, Problem::new(message)));
        }
        Ok(())
    }

    fn tag(&mut self, tag: Option<&Tag>, at: At) -> Merge {
        let Some(tag) = tag else { return Merge::Join };
        match (tag.core_suffix(), tag.original().as_str()) {
            (_, "!override") => Merge::Override,
            (_, "!reset") => Merge::Reset,
            (Some("str" | "map" | "seq"), _) | (_, "!") => Merge::Join,
            (_, original) => {
                let message = format!("the tag `{}` is not known here; `!override`, `!reset` and `!!str` are", shown(original));
                self.found.push(Some(at), "", Problem::new(message));
                Merge::Join
            }
        }
    }

    fn start(&mut self, kind: Kind, anchor: usize, tag: Option<&Tag>, at: At) -> Result<(), Stop> {
        self.spend(at, 1, 0)?;
        let merge = self.tag(tag, at);
        self.open.push(Open { node: Node { at: Some(at), kind, merge }, anchor, key: None, keys: HashMap::new(), drop_next: false });
        Ok(())
    }

    fn end(&mut self, open: Open) -> Result<(), Stop> {
        let Open { mut node, anchor, .. } = open;
        self.unfold_merge_keys(&mut node)?;
        self.value(node, anchor)
    }

    /// Puts a finished value where it belongs: into what is open, or among the documents.
    fn value(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            let size = node.size();
            self.spend(self.place(&node), size.nodes, size.bytes)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match &mut open.node.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match open.key.take() {
                Some(_) if std::mem::take(&mut open.drop_next) => {}
                Some((key, key_at)) => entries.push(Entry { key, key_at: Some(key_at), value: node }),
                None => self.key(node),
            },
            Kind::Null | Kind::Faulty | Kind::Scalar { .. } => {}
        }
        Ok(())
    }

    fn key(&mut self, node: Node) {
        let at = self.place(&node);
        let Some(open) = self.open.last_mut() else { return };
        let problem = match node.kind {
            Kind::Scalar { text, .. } => {
                open.key = Some((text.clone(), at));
                match open.keys.get(&text) {
                    None => {
                        open.keys.insert(text, at);
                    }
                    Some(first) => {
                        open.drop_next = true;
                        let message = format!("`{}` is given twice", shown(&text));
                        self.found.push_with(Some(at), "", Problem::new(message), Some((*first, "first given here")));
                    }
                }
                return;
            }
            Kind::Null => "the key is missing; if it is the word null, put it into quotes",
            Kind::Faulty => return (open.key, open.drop_next) = (Some((String::new(), at)), true),
            Kind::List(_) | Kind::Map(_) => "a key must be one word, not a list or a map",
        };
        (open.key, open.drop_next) = (Some((String::new(), at)), true);
        self.found.push(Some(at), "", Problem::new(problem));
    }

    /// `<<: *base` and `<<: [*a, *b]`: what the map does not say itself it takes from there, the first that has it.
    fn unfold_merge_keys(&mut self, node: &mut Node) -> Result<(), Stop> {
        let Some(entries) = node.entries_mut() else { return Ok(()) };
        while let Some(i) = entries.iter().position(|entry| entry.key == "<<") {
            let merge = entries.remove(i);
            for base in merge.value.items() {
                if !matches!(base.kind, Kind::Map(_)) {
                    self.found.push(base.at, "", Problem::new("`<<` takes a map, or a list of maps"));
                }
                let size = base.size();
                self.spend(self.place(base), size.nodes, size.bytes)?;
                for entry in base.entries() {
                    if entries.iter().all(|own| own.key != entry.key) {
                        entries.push(entry.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// A syntax error in words that say what to do, for the usual ones.
    fn syntax(&self, error: &ScanError) -> Stop {
        let start = error.marker().byte_offset().unwrap_or(self.text.len());
        let at = |start: usize| At { file: self.file, start, end: start };
        if let Some(tab) = self.tab_indent(start) {
            return (At { end: tab + 1, ..at(tab) }, Problem::new("a tab indents this line; YAML wants spaces"));
        }
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => return (at(start), too_deep()),
            ErrorKind::MappingValueNotAllowed => "a `:` cannot stand here; is a line indented wrongly, or must the text be quoted?".into(),
            ErrorKind::UnclosedQuotedScalar => "the quotes that open here, or before, are not closed".into(),
            ErrorKind::UnclosedFlowCollection { open } => format!("`{open}` is not closed"),
            ErrorKind::SimpleKeyExpected => "there is no `:` after this key".into(),
            ErrorKind::UnexpectedCharacter { character: '\t' } => "a tab cannot stand here; YAML wants spaces".into(),
            ErrorKind::UnexpectedCharacter { character } => {
                format!("text cannot start with `{}`; put it into quotes", shown(&character.to_string()))
            }
            kind => format!("this is not YAML: {kind}"),
        };
        (at(start), Problem::new(message))
    }
    /// The tab in the indentation of the line of a syntax error, or of the next: the parser may stumble before it.
    fn tab_indent(&self, start: usize) -> Option<usize> {
        let line_start = self.text[..start.min(self.text.len())].rfind(['\n', '\r']).map_or(0, |i| i + 1);
        let next_line = self.text[line_start..].find('\n').map_or(self.text.len(), |i| line_start + i + 1);
        [line_start, next_line].into_iter().find_map(|from| {
            let line = &self.text[from..];
            let indent = &line[..line.find(|c| c != ' ' && c != '\t').unwrap_or(line.len())];
            indent.find('\t').map(|tab| from + tab)
        })
    }
}
