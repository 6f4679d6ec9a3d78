//! Prints what kubectl and clients of the API are promised, beside what is measured on a server in a process of its own, over HTTPS:
//! `figures [apply] [list] [watches] [requests] [--rounds N]`, all of them where none is named.

#![allow(clippy::disallowed_methods, reason = "only the pure core may not ask the clock or draw lots")]

use std::fmt;

mod apply;
mod cluster;
mod list;
#[path = "../../tests/kubectl/program.rs"]
mod program;
mod requests;
mod serve;
mod watches;

/// Whatever goes wrong ends the run.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    // The first client of a process installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == serve::WORD) {
        return serve::run(&arguments[1..]).await;
    }
    let rounds = match arguments.iter().position(|word| word == "--rounds") {
        Some(at) => arguments.drain(at..).nth(1).ok_or("--rounds takes a number")?.parse()?,
        None => 3,
    };
    if arguments.is_empty() {
        arguments = ["apply", "list", "watches", "requests"].map(str::to_owned).to_vec();
    }
    println!("| what | target | rounds | kept |\n|---|---|---|---|");
    for name in &arguments {
        let figures = match name.as_str() {
            "apply" => apply::run(rounds).await?,
            "list" => list::run(rounds).await?,
            "watches" => watches::run().await?,
            "requests" => requests::run(rounds).await?,
            other => return Err(format!("{other:?} is no figure; there are apply, list, watches, requests").into()),
        };
        figures.iter().for_each(|figure| println!("{figure}"));
    }
    Ok(())
}

/// One value that was measured in each round.
pub struct Figure {
    what: String,
    unit: &'static str,
    rounds: Vec<f64>,
    most: Option<f64>,
}

impl Figure {
    /// A value with nothing to keep.
    pub fn plain(what: impl Into<String>, unit: &'static str, rounds: Vec<f64>) -> Figure {
        Figure { what: what.into(), unit, rounds, most: None }
    }

    /// A value that must be at most so much, in each round.
    pub fn at_most(most: f64, what: impl Into<String>, unit: &'static str, rounds: Vec<f64>) -> Figure {
        Figure { most: Some(most), ..Figure::plain(what, unit, rounds) }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds: Vec<String> = self.rounds.iter().map(|value| format!("{value:.2}")).collect();
        let (target, kept) = match self.most {
            Some(most) => (format!("≤ {most} {}", self.unit), if self.rounds.iter().all(|value| *value <= most) { "yes" } else { "NO" }),
            None => (String::new(), ""),
        };
        write!(f, "| {} | {target} | {} {} | {kept} |", self.what, rounds.join(" "), self.unit)
    }
}
