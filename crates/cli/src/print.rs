//! Everything that reaches the terminal goes through here.

mod progress;
mod table;

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use console::Style;
use indicatif::MultiProgress;
use serde_json::Value;

pub use progress::Progress;
pub use table::Table;

use crate::args::Format;

/// The live lines at the bottom of the terminal; printing goes above them.
fn live() -> &'static MultiProgress {
    static LIVE: OnceLock<MultiProgress> = OnceLock::new();
    LIVE.get_or_init(MultiProgress::new)
}

/// One line (or several) on stdout: a result.
pub fn line(text: impl Display) {
    let text = text.to_string();
    live().suspend(|| write(&mut std::io::stdout().lock(), &text));
}

/// One line on stderr: what goes on, for people.
pub fn note(text: impl Display) {
    let text = text.to_string();
    live().suspend(|| write(&mut std::io::stderr().lock(), &text));
}

/// Something that works but may surprise.
pub fn warn(text: impl Display) {
    note(format_args!("{} {text}", paint_err("warning:", Style::new().yellow().bold())));
}

/// Why a verb failed: the whole chain, as one sentence.
pub fn error(error: &anyhow::Error) {
    note(format_args!("{} {}", paint_err("error:", Style::new().red().bold()), chain(error)));
}

/// Bytes as they are, on stdout.
pub fn raw(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("writing to stdout"),
    }
}

/// A value as JSON or YAML. Other formats are the caller's. Who owns which field of an object is left out, as `kubectl` does.
pub fn value(value: &Value, format: Format) -> Result<()> {
    let mut value = value.clone();
    forget_owners(&mut value);
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(&value).context("writing YAML")?,
        _ => calm(&serde_json::to_string_pretty(&value).context("writing JSON")?),
    };
    line(text.trim_end());
    Ok(())
}

/// Of one object, or of the items of a list.
fn forget_owners(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(forget_owners);
}

/// What a verb did: sentences for people, a name for scripts, a value for programs.
pub fn outcome(format: Format, sentences: impl Display, name: impl Display, outcome: &Value) -> Result<()> {
    match format {
        Format::Table | Format::Wide => line(sentences),
        Format::Name => line(name),
        Format::Json | Format::Yaml => value(outcome, format)?,
    }
    Ok(())
}

/// A value on one line, for programs that read as it comes.
pub fn record(value: &Value) {
    line(calm(&value.to_string()));
}

/// JSON that steers no terminal: the library writes some control characters as they are, and all of them stand in strings.
fn calm(json: &str) -> String {
    let plain = |c: char| c == '\n' || !dangerous(c);
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        if plain(c) {
            out.push(c)
        } else {
            out.push_str(&format!("\\u{:04x}", u32::from(c)))
        }
        out
    })
}

/// Whether a person watches the output.
pub fn is_watched() -> bool {
    std::io::stderr().is_terminal() && std::io::stdout().is_terminal()
}

/// Good news in green.
pub fn good(text: impl Display) -> String {
    paint(text, Style::new().green())
}

/// Bad news in red.
pub fn bad(text: impl Display) -> String {
    paint(text, Style::new().red())
}

/// What is on its way, in yellow.
pub fn pending(text: impl Display) -> String {
    paint(text, Style::new().yellow())
}

/// What matters less.
pub fn dim(text: impl Display) -> String {
    paint(text, Style::new().dim())
}

/// What matters more.
pub fn bold(text: impl Display) -> String {
    paint(text, Style::new().bold())
}

/// One of a few colours, always the same for the same text: tells the pods of a log apart.
pub fn tinted(text: &str) -> String {
    let colours = [Style::new().cyan(), Style::new().magenta(), Style::new().blue(), Style::new().green(), Style::new().yellow()];
    let sum = text.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    paint(text, colours[sum % colours.len()].clone())
}

/// Control characters other than tab, and what turns the direction of text.
fn dangerous(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text from a guest, a registry or a server, harmless to a terminal: control characters other than tab are written as escapes.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if dangerous(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Bytes that should be text, harmless to a terminal; what is no UTF-8 is shown as `\xNN`.
pub fn harmless_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&harmless(chunk.valid()));
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// Text with its digests cut to twelve digits, which tell things apart as well and leave room for the rest.
pub fn short_digests(text: &str) -> String {
    const START: &str = "sha256:";
    let mut parts = text.split(START);
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        short.push_str(START);
        short.push_str(if digits == 64 { &part[..12] } else { &part[..digits] });
        short.push_str(&part[digits..]);
    }
    short
}

/// The causes of an error in one line, none said twice.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Many errors print their source themselves.
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull) && !text.contains("free some space") {
        text.push_str("; free some space there, or choose another folder with --data");
    }
    text
}

fn paint(text: impl Display, style: Style) -> String {
    style.apply_to(text).to_string()
}

fn paint_err(text: impl Display, style: Style) -> String {
    style.for_stderr().apply_to(text).to_string()
}

/// A reader that went away (`wctl get pods | head -1`) is no failure, and no reason for `up` to stop: the rest goes unsaid.
fn write(stream: &mut dyn Write, text: &str) {
    let _ = writeln!(stream, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h11_control_characters_reach_no_terminal() {
        assert_eq!(harmless("plain\ttext — ok"), "plain\ttext — ok");
        assert_eq!(harmless("\u{1b}[2Jgone\r\u{7}"), "\\u{1b}[2Jgone\\r\\u{7}");
        assert_eq!(harmless("\u{9b}31m"), "\\u{9b}31m", "the C1 form of an escape too");
        assert_eq!(harmless("a\u{202e}b"), "a\\u{202e}b", "and what turns the direction of text");
        assert_eq!(harmless_bytes(b"a\xff\xfeb\x1b"), "a\\xff\\xfeb\\u{1b}");
    }

    #[test]
    fn h11_json_steers_no_terminal_and_says_the_same() {
        let value = serde_json::json!({"line": "a\u{1b}[2J\u{9b}31m\u{202e}é\tb\n", "more": [1, 2]});
        let text = calm(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.chars().all(|c| c == '\n' || !dangerous(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn digests_are_cut_where_they_are_whole() {
        let long = format!("pulling a/b@sha256:{} and sha256:12", "0123456789abcdef".repeat(4));
        assert_eq!(short_digests(&long), "pulling a/b@sha256:0123456789ab and sha256:12");
        assert_eq!(short_digests("é sha256: é"), "é sha256: é");
    }

    #[test]
    fn a_chain_says_nothing_twice() {
        let inner = std::io::Error::other("disk on fire");
        let error = anyhow::Error::new(inner).context("writing a: disk on fire").context("deploying");
        assert_eq!(chain(&error), "deploying: writing a: disk on fire");
        let full = anyhow::Error::new(std::io::Error::from(std::io::ErrorKind::StorageFull)).context("writing a");
        assert!(chain(&full).ends_with("free some space there, or choose another folder with --data"));
    }
}
