//! Prints how many commits the embedded store acknowledges each second, from one caller and from 64: `commits [FOLDER] [SECONDS]`.

#![allow(clippy::disallowed_methods, reason = "only the pure core may not ask the clock or draw lots")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scheduler::store::redb::Redb;
use scheduler::store::{Op, Store};

/// Bytes of each value, about those of a small object.
const VALUE: usize = 1000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().map_or(Ok(3), |seconds| seconds.parse())?;
    let file = folder.join(format!("commits-{}.redb", std::process::id()));
    for callers in [1, 64] {
        let store: Arc<dyn Store> = Arc::new(Redb::open(&file)?);
        let rate = measure(store, callers, Duration::from_secs(seconds)).await?;
        println!("{callers} callers: {rate:.0} acknowledged commits/s of {VALUE} bytes");
        std::fs::remove_file(&file)?;
    }
    Ok(())
}

async fn measure(store: Arc<dyn Store>, callers: usize, time: Duration) -> Result<f64, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let tasks = (0..callers).map(|caller| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut count = 0;
            while start.elapsed() < time {
                let put = Op::Put { key: format!("/bench/{caller}/{}", count % 100), value: vec![b'x'; VALUE].into(), lease: None };
                store.commit(Vec::new(), vec![put]).await?;
                count += 1;
            }
            Ok::<usize, scheduler::store::Error>(count)
        })
    });
    let mut acknowledged = 0;
    for task in tasks.collect::<Vec<_>>() {
        acknowledged += task.await??;
    }
    Ok(acknowledged as f64 / start.elapsed().as_secs_f64())
}
