//! N34: see `entries::http_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entries::http_head(data));
