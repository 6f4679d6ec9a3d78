//! Buckets of `wasi:keyvalue`, durable, with compare-and-swap.
