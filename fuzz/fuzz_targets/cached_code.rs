//! H38: see `entries::cached_code`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entries::cached_code(data));
