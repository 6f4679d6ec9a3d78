//! One live line on a terminal; plain lines, each said once, anywhere else.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What is going on right now. On a terminal it vanishes when it is dropped.
pub struct Progress {
    bar: Option<ProgressBar>,
    said: String,
}

impl Progress {
    /// Starts to show `text`.
    pub fn start(text: impl Display) -> Progress {
        let mut progress = Progress { bar: std::io::stderr().is_terminal().then(spinner), said: String::new() };
        progress.set(text);
        progress
    }

    /// Shows `text` instead. Off a terminal it is printed, unless it was the last thing printed.
    pub fn set(&mut self, text: impl Display) {
        let text = text.to_string();
        if text == self.said {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(text.clone()),
            None => super::note(&text),
        }
        self.said = text;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            super::live().remove(bar);
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = super::live().add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
