//! `${VAR}`, `${VAR:-default}` and `$$` in the values of an app file, and the `.env` file that sets them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use super::mistake::{Found, Mistakes};
use super::problem::{Problem, shown};
use super::source::{At, Source, Text};
use super::tree::{Kind, Node};

/// Where variables come from: the caller's environment over the `.env` file.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Replaces the variables in every value; keys are left alone.
pub(crate) fn replace(node: &mut Node, lookup: &Lookup, found: &mut Found) {
    let at = node.at;
    match &mut node.kind {
        Kind::Null | Kind::Faulty => {}
        Kind::List(items) => items.iter_mut().for_each(|item| replace(item, lookup, found)),
        Kind::Map(entries) => entries.iter_mut().for_each(|entry| replace(&mut entry.value, lookup, found)),
        Kind::Scalar { text, .. } if text.contains('$') => match expand(text, lookup, 0) {
            Ok(expanded) => *text = expanded,
            Err(fault) => {
                let at = at.map(|at| narrowed(found, at, text, &fault));
                found.push(at, "", fault.problem);
                node.kind = Kind::Faulty;
            }
        },
        Kind::Scalar { .. } => {}
    }
}

/// What is wrong with a text that should hold variables, and where in it.
#[derive(Debug)]
pub(crate) struct Fault {
    start: usize,
    length: usize,
    problem: Problem,
}

/// The place of the faulty `$` where quotes and escapes leave no doubt about it, else the place of the whole value.
fn narrowed(found: &Found, at: At, text: &str, fault: &Fault) -> At {
    let raw = found.texts().get(at.file).and_then(|t| t.text.get(at.start..at.end)).unwrap_or_default();
    let which = text[..fault.start].matches('$').count();
    let same = raw.matches('$').count() == text.matches('$').count();
    match raw.match_indices('$').nth(which).filter(|_| same) {
        Some((offset, _)) => At { start: at.start + offset, end: at.start + offset + fault.length, ..at },
        None => at,
    }
}

const MOST_NESTED: usize = 8;
const MOST_EXPANDED: usize = 1 << 20;

/// A text with its variables replaced.
pub(crate) fn expand(text: &str, lookup: &Lookup, nested: usize) -> Result<String, Fault> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let start = text.len() - rest.len() + dollar;
        let after = &rest[dollar + 1..];
        rest = match after.chars().next() {
            Some('$') => {
                out.push('$');
                &after[1..]
            }
            Some('{') => {
                let end = closing(after).ok_or_else(|| fault(start, 2, "the `${` is not closed with `}`; write `$$` for a dollar sign"))?;
                let value = variable(&after[1..end], lookup, nested).map_err(|mut fault| {
                    (fault.start, fault.length) = (start, end + 2);
                    fault
                })?;
                out.push_str(&value);
                &after[end + 1..]
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let name = &after[..after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len())];
                let problem = Problem::meant("a variable is written in braces, and a dollar sign `$$`", format!("${{{name}}}"));
                return Err(Fault { start, length: name.len() + 1, problem });
            }
            _ => return Err(fault(start, 1, "a lone `$` could be a mistyped variable; write `$$` for a dollar sign")),
        };
        if out.len() + rest.len() > MOST_EXPANDED {
            return Err(fault(start, 1, "the value is too long once its variables are replaced"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn fault(start: usize, length: usize, message: impl Into<String>) -> Fault {
    Fault { start, length, problem: Problem::new(message) }
}

/// The index of the `}` that closes the `{` with which the text starts.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut before = ' ';
    for (i, c) in text.char_indices() {
        match c {
            '{' if i == 0 || before == '$' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i);
        }
        before = c;
    }
    None
}

/// What stands between the braces: `NAME` or `NAME:-default`.
fn variable(inside: &str, lookup: &Lookup, nested: usize) -> Result<String, Fault> {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(fault(
            0,
            0,
            format!("`${{{}}}` does not name a variable: letters, digits and `_`, not starting with a digit", shown(inside)),
        ));
    }
    if let Some(default) = rest.strip_prefix(":-") {
        return match lookup(name).filter(|value| !value.is_empty()) {
            Some(value) => Ok(value),
            None if nested < MOST_NESTED => expand(default, lookup, nested + 1),
            None => Err(fault(0, 0, format!("variables are nested more than {MOST_NESTED} deep"))),
        };
    }
    if !rest.is_empty() {
        let message = format!("`${{{}}}` is not known here; `${{{name}}}` and `${{{name}:-default}}` are", shown(inside));
        return Err(fault(0, 0, message));
    }
    let unset = || fault(0, 0, format!("the variable {name} is not set; set it, here or in .env, or write `${{{name}:-default}}`"));
    lookup(name).ok_or_else(unset)
}

/// Reads a `.env` file: `NAME=value` on each line, `#` for comments, `export` allowed. A value in single quotes is taken as it
/// is; in double quotes `\n`, `\t`, `\r`, `\"`, `\\` and `\$` are known and it may go over several lines. Variables of earlier lines and
/// of `lookup`, which wins, are replaced in all but single quotes. All mistakes are found at once.
pub fn env_file(source: &Source, lookup: &Lookup) -> Result<BTreeMap<String, String>, Mistakes> {
    let text = Text::of(source).map_err(|mistake| Mistakes(vec![*mistake]))?;
    let texts = [text];
    let mut reader = EnvFile { text: texts[0].text, index: 0, set: BTreeMap::new(), found: Found::new(&texts), lookup };
    while reader.index < reader.text.len() {
        reader.line();
    }
    reader.found.done()?;
    Ok(reader.set.into_iter().map(|(name, (value, _))| (name, value)).collect())
}

struct EnvFile<'a, 'b> {
    text: &'a str,
    index: usize,
    set: BTreeMap<String, (String, At)>,
    found: Found<'b>,
    lookup: &'b Lookup<'b>,
}

impl EnvFile<'_, '_> {
    fn wrong(&mut self, start: usize, end: usize, message: impl Into<String>) {
        self.found.push(Some(At { file: 0, start, end }), "", Problem::new(message));
    }

    fn line(&mut self) {
        let start = self.index;
        let end = self.text[start..].find(['\n', '\r']).map_or(self.text.len(), |i| start + i);
        self.index = end + 1;
        let line = &self.text[start..end];
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            return;
        }
        let content = content.strip_prefix("export ").map_or(content, str::trim_start);
        let name_start = end - content.len();
        let Some((name, value)) = content.split_once('=') else {
            return self.wrong(name_start, end, "this line is not NAME=value");
        };
        let name = name.trim_end();
        let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !good || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("`{}` cannot be the name of a variable: letters, digits and `_`, not starting with a digit", shown(name));
            return self.wrong(name_start, name_start + name.len().max(1), message);
        }
        let name = name.to_owned();
        let value_start = end - value.trim_start().len();
        let Some((value, replaced)) = self.value(value_start, end) else { return };
        let at = At { file: 0, start: name_start, end: name_start + name.len() };
        self.keep(name, value, replaced, at);
    }

    /// The value that starts at `start`, and whether variables are replaced in it.
    fn value(&mut self, start: usize, line_end: usize) -> Option<(String, bool)> {
        let quote = self.text[start..line_end].chars().next().filter(|c| matches!(c, '\'' | '"'));
        let Some(quote) = quote else {
            let value = &self.text[start..line_end];
            let comment = value.find(" #").or_else(|| value.find("\t#")).or_else(|| value.starts_with('#').then_some(0));
            return Some((value[..comment.unwrap_or(value.len())].trim_end().to_owned(), true));
        };
        let (value, end) = match quoted(&self.text[start + 1..], quote) {
            Some((value, length)) => (value, start + 1 + length),
            None => {
                self.wrong(start, start + 1, "the quotes that open here are not closed");
                return None;
            }
        };
        let line_end = self.text[end..].find(['\n', '\r']).map_or(self.text.len(), |i| end + i);
        self.index = line_end + 1;
        let after = self.text[end..line_end].trim();
        if !after.is_empty() && !after.starts_with('#') {
            self.wrong(end, line_end, "nothing may follow the closing quotes");
            return None;
        }
        Some((value, quote == '"'))
    }

    fn keep(&mut self, name: String, value: String, replaced: bool, at: At) {
        let value = if replaced {
            let set = &self.set;
            let lookup = |name: &str| (self.lookup)(name).or_else(|| set.get(name).map(|(value, _)| value.clone()));
            match expand(&value, &lookup, 0) {
                Ok(value) => value,
                Err(fault) => return self.found.push(Some(at), "", fault.problem),
            }
        } else {
            value
        };
        match self.set.entry(name) {
            Slot::Vacant(slot) => {
                slot.insert((value, at));
            }
            Slot::Occupied(slot) => {
                let problem = Problem::new(format!("`{}` is set twice", slot.key()));
                self.found.push_with(Some(at), "", problem, Some((slot.get().1, "first set here")));
            }
        }
    }
}

/// The text up to the closing quote, and how many bytes it took with that quote. `\$` becomes `$$`, which is replaced later.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            c if c == quote => return Some((out, i + 1)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                '$' => out.push_str("$$"),
                c @ ('"' | '\\') => out.push(c),
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
    None
}
