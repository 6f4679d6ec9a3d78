//! On which of a node's doors a request came in, which says how it is routed.

use scheduler::routes::Key;

/// On which of a node's doors a request came in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Door {
    /// The gateway's: routed by host and path.
    Front,
    /// An App's own: routed by path alone. Namespace and name of the App.
    App(Key),
    /// A port of the node on which a Service answers, whatever host and path: its number, and the Service.
    Service(u16, Key),
}

impl Door {
    /// The number of a Service's port, else 0.
    pub fn number(&self) -> u16 {
        match self {
            Door::Service(port, _) => *port,
            Door::Front | Door::App(_) => 0,
        }
    }
}
