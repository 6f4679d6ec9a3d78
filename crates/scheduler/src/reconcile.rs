//! The loop: wait, snapshot, plan, apply.
