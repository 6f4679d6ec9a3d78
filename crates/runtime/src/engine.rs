//! The wasmtime engines, and the ticker that lets no guest run for ever.
