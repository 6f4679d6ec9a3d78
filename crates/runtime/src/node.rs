//! A node: agent, instances and gateway over one data folder.
