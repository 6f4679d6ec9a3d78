//! Who is asking: tokens, identities, and what each may do.

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As in messages and in `whoami`.
    pub name: String,
    /// What the name belongs to; roles are given to groups.
    pub groups: Vec<String>,
}
