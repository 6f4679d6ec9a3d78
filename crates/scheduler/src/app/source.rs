//! The files that are read: bytes to text, offsets to lines and columns.

use super::mistake::{Mistake, Place};
use super::problem::harmless;

/// The largest file that is read, in bytes. A caller looks at the size first, so that a huge file is never loaded.
pub const MOST_BYTES: usize = 1 << 20;

/// A file as it was given.
#[derive(Debug, Clone)]
pub struct Source {
    /// As messages name it: `app.yaml`.
    pub name: String,
    /// What it holds; need not be text.
    pub bytes: Vec<u8>,
}

impl Source {
    /// A file called `name` that holds `bytes`.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

/// A file that is text, with the byte-order mark taken off.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// A range of bytes in one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub file: usize,
    pub start: usize,
    pub end: usize,
}

impl<'a> Text<'a> {
    /// The text of a file, or why it is none.
    pub fn of(source: &'a Source) -> Result<Self, Box<Mistake>> {
        let bytes = source.bytes.as_slice();
        let refused = |message: String| Err(Box::new(Mistake::of_file(&source.name, message)));
        if bytes.len() > MOST_BYTES {
            return refused(format!("the file has {} bytes; an app file has at most {MOST_BYTES}", bytes.len()));
        }
        let utf16 =
            bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || matches!(bytes, [0, b, ..] | [b, 0, ..] if *b != 0);
        if utf16 {
            return refused("the file is UTF-16; save it as UTF-8".into());
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let this = |text| Text { name: &source.name, text };
        match std::str::from_utf8(bytes) {
            Ok(text) => this(text).without_controls(),
            Err(error) => {
                let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
                let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
                let message = format!("the file is not UTF-8: byte 0x{byte:02x} cannot stand here; save it as UTF-8");
                Err(Box::new(Mistake::at(message, this(good).place(good.len(), good.len()))))
            }
        }
    }

    /// YAML allows no control characters, and a parser may take NUL for the end of the file.
    fn without_controls(self) -> Result<Self, Box<Mistake>> {
        let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
        match self.text.char_indices().find(|(_, c)| control(*c)) {
            None => Ok(self),
            Some((start, c)) => {
                let message = format!("the control character U+{:04X} cannot stand in an app file", u32::from(c));
                Err(Box::new(Mistake::at(message, self.place(start, start + c.len_utf8()))))
            }
        }
    }

    /// Where a range of bytes stands, with its line.
    pub fn place(&self, start: usize, end: usize) -> Place {
        let start = floor(self.text, start);
        let before = &self.text[..start];
        let line_start = before.rfind(['\n', '\r']).map_or(0, |i| i + 1);
        let line_end = self.text[start..].find(['\n', '\r']).map_or(self.text.len(), |i| start + i);
        let end = floor(self.text, end).clamp(start, line_end);
        // "\r\n" is one break; a lone "\r" is one too.
        let breaks = before.matches('\n').count() + before.matches('\r').count() - before.matches("\r\n").count();
        let column = self.text[line_start..start].chars().count();
        let (excerpt, pad, carets) = excerpt(&self.text[line_start..line_end], column, self.text[start..end].chars().count());
        Place { file: self.name.into(), line: breaks + 1, column: column + 1, excerpt, pad, carets }
    }
}

/// The nearest start of a character at or before `index`.
fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// The part of a line around `column`, as wide as a terminal can show; how far from its start that is; how wide the marked part is.
fn excerpt(line: &str, column: usize, length: usize) -> (String, usize, usize) {
    const AROUND: usize = 60;
    const MOST: usize = 120;
    let width = |c: char| unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
    let from = if column > 2 * AROUND { column - AROUND } else { 0 };
    let mut shown: Vec<char> = line.chars().skip(from).take(MOST).map(harmless).collect();
    let (before, marked) = (column - from, length.min(MOST));
    let cut = line.chars().nth(from + MOST).is_some();
    let pad: usize = shown.iter().take(before).map(|c| width(*c)).sum();
    let carets: usize = shown.iter().skip(before).take(marked).map(|c| width(*c)).sum();
    if cut {
        shown.push('…');
    }
    let start = if from > 0 { "…" } else { "" };
    let excerpt: String = start.chars().chain(shown).collect();
    (excerpt.trim_end().to_owned(), pad + start.chars().count(), carets.max(1))
}
