//! The decision: `plan(&Snapshot, now) -> Plan`.
