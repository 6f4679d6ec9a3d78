//! One guest: limits, capabilities, WASI. Every trust decision is in this module.
