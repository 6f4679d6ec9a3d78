//! M18: see `entries::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entries::manifest(data));
