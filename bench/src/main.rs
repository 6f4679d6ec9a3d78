//! `cargo run --release -p bench`: measures wctl beside its peers and prints each figure beside its target.

mod calls;
mod cluster;
mod density;
mod figures;
mod hop;
mod http;
mod load;
mod native;
mod neighbours;
mod process;
mod report;
mod wake;

use anyhow::Result;
use clap::Parser;

/// Measures wctl and prints each figure beside its target.
#[derive(Parser)]
struct Args {
    /// Only these figures: up, deploy, first, heal, scale, roll, rss, neighbours, hello, javascript, python, hop, calls, wake, density.
    only: Vec<String>,
    /// How often each figure is taken; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Also write the figures to this file as JSON.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Serve hello natively on a free port until killed (what the guests are compared with).
    #[arg(long, hide = true)]
    native: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if args.native {
        return native::serve().await;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let guests = cluster::build_guests()?;
    let mut report = report::Report::default();
    if wanted("up") {
        report.add(figures::up(&guests, args.rounds).await?);
    }
    if wanted("deploy") {
        report.add(figures::deploy(&guests, args.rounds).await?);
    }
    if wanted("first") {
        report.add(figures::first(args.rounds).await?);
    }
    if wanted("heal") {
        report.extend(figures::heal(&guests, args.rounds).await?);
    }
    if wanted("scale") {
        report.add(figures::scale(&guests, args.rounds).await?);
    }
    if wanted("roll") {
        report.extend(figures::roll(&guests).await?);
    }
    if wanted("rss") {
        report.add(figures::rss().await?);
    }
    if wanted("neighbours") {
        report.extend(neighbours::figures(&guests, args.rounds).await?);
    }
    let groups: Vec<&str> = http::groups().filter(|group| wanted(group)).collect();
    if !groups.is_empty() {
        report.extend(http::figures(args.rounds, &groups).await?);
    }
    if wanted("hop") {
        report.extend(hop::figures(args.rounds).await?);
    }
    if wanted("calls") {
        report.extend(calls::figures(args.rounds).await?);
    }
    if wanted("wake") {
        report.extend(wake::figures(&guests, args.rounds).await?);
    }
    if wanted("density") {
        report.extend(density::figures(args.rounds).await?);
    }
    print!("{report}");
    if let Some(path) = args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}
