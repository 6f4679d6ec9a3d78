//! What a node runs for one pod: prepared component, phase, crash and restart.
