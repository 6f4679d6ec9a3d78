//! See `entries::protobuf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entries::protobuf(data));
