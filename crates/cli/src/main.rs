//! wctl.
fn main() {}
