//! Counters of the node.
