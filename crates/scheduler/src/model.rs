//! The small structs that the plan reads: what is asked for and what was observed.
