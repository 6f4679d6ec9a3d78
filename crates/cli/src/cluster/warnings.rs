//! What a server warns of beside its answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, header};

use crate::print;

/// What was said already: a check before the write brings the same warnings as the write.
#[derive(Clone, Default)]
pub struct Warned(Arc<Mutex<HashSet<String>>>);

impl Warned {
    /// Says what is new in an answer's `Warning:` headers (RFC 7234, section 5.5).
    pub fn tell(&self, headers: &HeaderMap) {
        for text in headers.get_all(header::WARNING).iter().filter_map(|value| text(value.to_str().ok()?)) {
            if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
                print::warn(print::harmless(&text));
            }
        }
    }
}

/// The sentence of `299 - "sentence"`.
fn text(header: &str) -> Option<String> {
    let quoted = header.split_once(" - \"")?.1;
    let (mut text, mut chars) = (String::new(), quoted.chars());
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.push(chars.next()?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_its_sentence() {
        assert_eq!(text(r#"299 - "unknown field \"spec.replcas\"""#).as_deref(), Some(r#"unknown field "spec.replcas""#));
        assert_eq!(text("299 - \"cut"), None);
        assert_eq!(text("nothing"), None);
    }
}
