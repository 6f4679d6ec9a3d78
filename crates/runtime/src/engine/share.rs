//! What one App may take of a node's sandboxes beside the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The sandboxes of a node that are in use.
///
/// An App may have as many as are left free, and no more: the dynamic threshold of shared buffers (Choudhury and Hahne, 1998). One App
/// alone gets half, n greedy ones end with a part of n + 1 each, and one that comes late finds room.
#[derive(Debug)]
pub(crate) struct Pool {
    all: u32,
    used: AtomicU32,
}

impl Pool {
    pub fn new(all: u32) -> Arc<Self> {
        Arc::new(Self { all: all.max(1), used: AtomicU32::new(0) })
    }
}

/// What one App has of them.
#[derive(Debug)]
pub(crate) struct Share {
    pool: Arc<Pool>,
    most: u32,
    mine: AtomicU32,
}

impl Share {
    /// The share of a new App; without neighbours that is all there is.
    pub fn new(pool: &Arc<Pool>, neighbours: bool) -> Arc<Self> {
        let most = if neighbours { (pool.all / 2).max(1) } else { pool.all };
        Arc::new(Self { pool: pool.clone(), most, mine: AtomicU32::new(0) })
    }

    /// So many sandboxes, or all that an App may have; nobody waits for them.
    ///
    /// # Errors
    /// A sentence with what is short.
    pub fn take(self: &Arc<Self>, many: u32) -> Result<Place, String> {
        let many = many.min(self.most);
        let before = self.mine.fetch_add(many, Ordering::Relaxed);
        let used = self.pool.used.fetch_add(many, Ordering::Relaxed).saturating_add(many);
        // Made before the check, so that dropping it undoes the additions.
        let place = Place { share: self.clone(), many };
        let mine = before.saturating_add(many);
        let left = self.pool.all.saturating_sub(used);
        let fits = if self.most < self.pool.all { mine <= left } else { used <= self.pool.all };
        fits.then_some(place).ok_or_else(|| {
            format!("the app has {before} of the node's {} sandboxes, and may not have more than are left for others", self.pool.all)
        })
    }
}

/// Some sandboxes under way, given back by dropping.
#[derive(Debug)]
pub(crate) struct Place {
    share: Arc<Share>,
    many: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.pool.used.fetch_sub(self.many, Ordering::Relaxed);
        self.share.mine.fetch_sub(self.many, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes single places until it gets no more.
    fn greedy(share: &Arc<Share>) -> Vec<Place> {
        std::iter::from_fn(|| share.take(1).ok()).collect()
    }

    #[test]
    fn two_greedy_apps_leave_room_for_a_third() {
        let pool = Pool::new(100);
        let share = || Share::new(&pool, true);
        let (one, two, third) = (share(), share(), share());
        let mut first = greedy(&one);
        let second = greedy(&two);
        assert_eq!((first.len(), second.len()), (50, 25), "as many as were left");
        let told = two.take(1).unwrap_err();
        assert_eq!(told, "the app has 25 of the node's 100 sandboxes, and may not have more than are left for others");
        let others = greedy(&third);
        assert_eq!(others.len(), 12);
        // Whoever has more than is left does not get back what it gives away, and another gets some of it.
        first.truncate(40);
        let fourth = greedy(&Share::new(&pool, true));
        assert_eq!((greedy(&one).len(), greedy(&two).len(), fourth.len()), (0, 0, 11));
    }

    #[test]
    fn nine_greedy_apps_leave_room_for_a_tenth() {
        let pool = Pool::new(1_000);
        let shares: Vec<_> = (0..10).map(|_| Share::new(&pool, true)).collect();
        let held: Vec<_> = shares.iter().map(greedy).collect();
        assert!(held.iter().all(|held| !held.is_empty()), "{:?}", held.iter().map(Vec::len).collect::<Vec<_>>());
    }

    #[test]
    fn all_is_given_back_and_a_heavy_component_gets_what_one_may_have() {
        let pool = Pool::new(100);
        let share = Share::new(&pool, true);
        let heavy = share.take(1_000).unwrap();
        assert_eq!(pool.used.load(Ordering::Relaxed), 50);
        assert!(share.take(1).is_err());
        drop(heavy);
        assert_eq!(pool.used.load(Ordering::Relaxed), 0);
        let alone = Share::new(&pool, false);
        assert_eq!(greedy(&alone).len(), 100, "`wctl run` has no neighbours");
    }
}
