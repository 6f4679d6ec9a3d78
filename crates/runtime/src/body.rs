//! The one body type that requests and responses have on their way through a node.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// A streamed body. An error in it reaches the other side as a broken stream, never as a clean end.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// Why a body ended early: `trap`, `deadline`, `client went away` … for logs; peers only see the stream break.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of nothing.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
