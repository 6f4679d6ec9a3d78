//! R and H37: see `entries::artifact`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entries::artifact(data));
