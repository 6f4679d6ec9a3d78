//! The interfaces that guests may import, one file each.

pub mod outgoing;
