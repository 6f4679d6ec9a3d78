//! What is wrong with an app file: all mistakes at once, each with its line.

use std::collections::HashSet;
use std::fmt;

use super::problem::Problem;
use super::source::{At, Text};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where in the values it is: `services.user.limits.memory`; empty where it is about the text.
    pub path: String,
    /// What is wrong and, where it isn't plain, what to do.
    pub message: String,
    /// What was probably meant.
    pub meant: Option<String>,
    /// Whether it is right, but nothing carries it out yet.
    pub later: bool,
    /// Where it stands, if it came from a file.
    pub place: Option<Place>,
    /// What it collides with, and what that is to it: "first given here".
    pub other: Option<(Place, &'static str)>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file's name as it was given.
    pub file: String,
    /// Counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// Counted from 1 in characters.
    pub column: usize,
    /// The line, or the part of it that a terminal can show.
    pub excerpt: String,
    /// Columns before the marked part of the excerpt.
    pub pad: usize,
    /// Columns of the marked part.
    pub carets: usize,
}

impl Mistake {
    pub(crate) fn of_file(name: &str, message: impl Into<String>) -> Self {
        Self::at(message, Place { file: name.into(), line: 0, column: 0, excerpt: String::new(), pad: 0, carets: 0 })
    }

    /// One at a place in a file.
    pub fn at(message: impl Into<String>, place: Place) -> Self {
        Self { path: String::new(), message: message.into(), meant: None, later: false, place: Some(place), other: None }
    }
}

impl fmt::Display for Mistake {
    /// `app.yaml:3:5: …`, the line, a caret. Without a file: the path and the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = self.meant.as_ref().map(|meant| format!("did you mean `{meant}`?"));
        let Some(place) = &self.place else {
            let path = if self.path.is_empty() { "" } else { &format!("{}: ", self.path) };
            return write!(f, "{path}{}{}", self.message, hint.map(|h| format!("; {h}")).unwrap_or_default());
        };
        if place.line == 0 {
            return write!(f, "{}: {}", place.file, self.message);
        }
        writeln!(f, "{}:{}:{}: {}", place.file, place.line, place.column, self.message)?;
        let other_line = self.other.as_ref().map_or(0, |(other, _)| other.line);
        let margin = place.line.max(other_line).to_string().len();
        if let Some((other, what)) = &self.other {
            let what = if other.file == place.file { (*what).to_owned() } else { format!("{what}, in {}", other.file) };
            other.marked(f, margin, '-', &what)?;
            f.write_str("\n")?;
        }
        place.marked(f, margin, '^', hint.as_deref().unwrap_or_default())
    }
}

impl Place {
    /// The line, and a second one that marks a part of it.
    fn marked(&self, f: &mut fmt::Formatter<'_>, margin: usize, mark: char, hint: &str) -> fmt::Result {
        let marks: String = std::iter::repeat_n(mark, self.carets).collect();
        let under = format!("{:pad$}{marks} {hint}", "", pad = self.pad);
        writeln!(f, "  {:>margin$} | {}", self.line, self.excerpt)?;
        write!(f, "  {:>margin$} | {}", "", under.trim_end())
    }
}

/// Everything that is wrong, in the order of the files; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl std::error::Error for Mistakes {}

impl Mistakes {
    /// A single one, about a whole.
    pub(crate) fn unread(name: &str, message: &str) -> Self {
        Mistakes(vec![Mistake::of_file(name, message)])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 50;
        for (i, mistake) in self.0.iter().take(MOST).enumerate() {
            write!(f, "{}{mistake}", if i == 0 { "" } else { "\n" })?;
        }
        match self.0.len().saturating_sub(MOST) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// Collects mistakes while files are read.
pub(crate) struct Found<'a> {
    texts: &'a [Text<'a>],
    mistakes: Vec<Mistake>,
}

impl<'a> Found<'a> {
    /// More than this is one mistake repeated, or an attack.
    const MOST: usize = 1_000;

    pub fn new(texts: &'a [Text<'a>]) -> Self {
        Self { texts, mistakes: Vec::new() }
    }

    pub fn texts(&self) -> &'a [Text<'a>] {
        self.texts
    }

    pub fn push(&mut self, at: Option<At>, path: &str, problem: Problem) {
        self.push_with(at, path, problem, None);
    }

    /// Adds a mistake that collides with another place.
    pub fn push_with(&mut self, at: Option<At>, path: &str, problem: Problem, other: Option<(At, &'static str)>) {
        if self.mistakes.len() >= Self::MOST {
            return;
        }
        let message = if problem.later { format!("not yet: {}", problem.message) } else { problem.message };
        let place = |at: At| self.texts.get(at.file).map(|text| text.place(at.start, at.end));
        let other = other.and_then(|(at, what)| Some((place(at)?, what)));
        let place = at.and_then(place);
        self.mistakes.push(Mistake { path: path.into(), message, meant: problem.meant, later: problem.later, place, other });
    }

    /// What was found, in the order of files and lines.
    pub fn done(mut self) -> Result<(), Mistakes> {
        let order = |mistake: &Mistake| {
            let place = mistake.place.as_ref()?;
            Some((self.texts.iter().position(|t| t.name == place.file), place.line, place.column))
        };
        self.mistakes.sort_by_cached_key(order);
        // In the short form one word is both the app's name and its service's.
        let mut seen = HashSet::new();
        self.mistakes.retain(|m| m.place.is_none() || seen.insert((m.place.clone(), m.message.clone())));
        if self.mistakes.is_empty() { Ok(()) } else { Err(Mistakes(self.mistakes)) }
    }
}
