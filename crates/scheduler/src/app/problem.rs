//! What is wrong with one value, before it is known where that value stands.

/// Why a text cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", .meant.as_deref().map(|m| format!("; did you mean `{m}`?")).unwrap_or_default())]
pub struct Problem {
    /// The mistake in one sentence that names the value.
    pub message: String,
    /// What its author probably meant.
    pub meant: Option<String>,
    /// Whether the value is right but its engine is still to come.
    pub later: bool,
}

impl Problem {
    /// A mistake without a guess at what was meant.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), meant: None, later: false }
    }

    /// A mistake with a guess at what was meant.
    pub fn meant(message: impl Into<String>, meant: impl Into<String>) -> Self {
        Self { message: message.into(), meant: Some(meant.into()), later: false }
    }

    /// Right, but nothing carries it out yet.
    pub fn later(message: impl Into<String>) -> Self {
        Self { message: message.into(), meant: None, later: true }
    }
}

/// A text as a message may show it: short, on one line, without anything that would steer a terminal.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut out: String = text.chars().take(MOST).map(harmless).collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

/// The character itself, or a stand-in for one that is invisible, turns the line around or steers a terminal.
pub(crate) fn harmless(c: char) -> char {
    match c {
        '\t' => '→',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// The candidate that is nearest to what was typed, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing costs the product of the lengths, and nobody mistypes a name into a page of text.
    if typed.len() > 64 {
        return None;
    }
    let lower = typed.to_lowercase();
    let most = (typed.chars().count() / 3).clamp(1, 3);
    let distance = |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    candidates.into_iter().map(|c| (distance(c), c)).filter(|(d, _)| *d <= most).min().map(|(_, c)| c)
}
