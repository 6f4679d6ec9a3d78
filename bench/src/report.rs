//! A figure beside its target, as a table and as JSON.

use std::fmt;

use serde::Serialize;

/// All figures of one run.
#[derive(Default, Serialize)]
pub struct Report {
    figures: Vec<Figure>,
}

/// One measured value and what it must be.
#[derive(Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// Every round's value, in `unit`.
    pub rounds: Vec<f64>,
    /// The median of the rounds.
    pub value: f64,
    /// `ms`, `requests/s`, `MB` …
    pub unit: &'static str,
    /// What it must be; figures without a target stand there for comparison.
    pub target: Option<Target>,
}

/// The bound that a figure must keep.
#[derive(Serialize, Clone, Copy)]
pub enum Target {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

impl Figure {
    /// The figure whose value is the median of `rounds`.
    pub fn median(what: impl Into<String>, mut rounds: Vec<f64>, unit: &'static str, target: Option<Target>) -> Figure {
        let taken = rounds.clone();
        rounds.sort_by(f64::total_cmp);
        let value = rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN);
        Figure { what: what.into(), rounds: taken, value, unit, target }
    }
}

impl Report {
    /// Adds one figure.
    pub fn add(&mut self, figure: Figure) {
        eprintln!("{}: {:.2} {}", figure.what, figure.value, figure.unit);
        self.figures.push(figure);
    }

    /// Adds several.
    pub fn extend(&mut self, figures: Vec<Figure>) {
        figures.into_iter().for_each(|figure| self.add(figure));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | target | measured (median) | kept | rounds |\n|---|---|---|---|---|")?;
        for Figure { what, rounds, value, unit, target } in &self.figures {
            let (bound, kept) = match target {
                Some(Target::AtMost(most)) => (format!("≤ {most}"), if value <= most { "yes" } else { "NO" }),
                Some(Target::AtLeast(least)) => (format!("≥ {least}"), if value >= least { "yes" } else { "NO" }),
                None => (String::new(), ""),
            };
            let digits = if *value < 10.0 { 2 } else { 1 };
            let rounds: Vec<String> = rounds.iter().map(|round| format!("{round:.digits$}")).collect();
            writeln!(f, "| {what} | {bound} | {value:.2} {unit} | {kept} | {} |", rounds.join(" "))?;
        }
        Ok(())
    }
}
