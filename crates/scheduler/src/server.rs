//! The control plane process: `run(config, listeners, shutdown)`.
