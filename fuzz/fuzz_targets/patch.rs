//! See `entries::patch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entries::patch(data));
