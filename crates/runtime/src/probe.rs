//! Asks a guest whether it is well.
