//! A thread that advances the epoch of every engine, so that a spinning guest meets its end.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::{Engine, EngineWeak};

/// Ticks the engines that were added, until it is dropped.
pub struct Ticker {
    engines: Arc<Mutex<Vec<EngineWeak>>>,
    started: Mutex<bool>,
    tick: Duration,
}

impl Ticker {
    pub fn new(tick: Duration) -> Self {
        Self { engines: Arc::default(), started: Mutex::new(false), tick }
    }

    /// Adds an engine, and starts the thread with the first.
    pub fn add(&self, engine: &Engine) {
        self.engines.lock().push(engine.weak());
        let mut started = self.started.lock();
        if !*started {
            let engines = Arc::downgrade(&self.engines);
            let tick = self.tick;
            // Without its ticker an engine is unsafe to run guests on, so this is worth a panic at start.
            thread::Builder::new().name("epoch".into()).spawn(move || run(&engines, tick)).expect("starting the epoch thread");
            *started = true;
        }
    }
}

fn run(engines: &Weak<Mutex<Vec<EngineWeak>>>, tick: Duration) {
    loop {
        thread::sleep(tick);
        let Some(engines) = engines.upgrade() else { return };
        engines.lock().retain(|engine| engine.upgrade().inspect(Engine::increment_epoch).is_some());
    }
}
