//! The pods of a new revision that get a share of the requests until it is trusted.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A share of the requests, and to whom it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// In per cent.
    pub share: u32,
    /// UIDs of the pods, in order.
    pub pods: BTreeSet<Arc<str>>,
}

impl Canary {
    /// Reads `10% UID,UID`.
    pub fn parse(text: &str) -> Option<Canary> {
        let (share, pods) = text.split_once("% ")?;
        let share = share.parse().ok().filter(|share| (1..100).contains(share))?;
        Some(Canary { share, pods: pods.split(',').filter(|uid| !uid.is_empty()).map(Arc::from).collect() })
    }
}

impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pods: Vec<&str> = self.pods.iter().map(|uid| &**uid).collect();
        write!(f, "{}% {}", self.share, pods.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let canary = Canary { share: 10, pods: ["b", "a"].map(Arc::from).into() };
        assert_eq!(canary.to_string(), "10% a,b");
        assert_eq!(Canary::parse("10% a,b"), Some(canary));
        assert_eq!((Canary::parse("0% a"), Canary::parse("100% a"), Canary::parse("x"), Canary::parse("")), (None, None, None, None));
    }
}
