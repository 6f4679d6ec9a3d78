//! Which of several ready endpoints gets the next request.

mod budget;
mod eject;

pub use budget::Budget;
pub use eject::Standing;

/// Two random numbers for one pick, drawn by the caller.
pub type Draws = (u32, u32);

/// An endpoint on this node with a free permit, else the less busy of two others; `None` where all are full (503).
///
/// `load` says how many requests an endpoint works on, or `None` where it may take no more. Two draws are enough to keep
/// the busiest endpoint near the mean, and nobody has to look at all of them.
///
/// ```
/// let busy = |endpoint: &&str| match *endpoint { "a" => None, "b" => Some(7), _ => Some(2) };
/// assert_eq!(scheduler::balance::pick(&["a"], &["b", "c"], busy, (0, 0)), Some(&"c"));
/// ```
pub fn pick<'a, T>(local: &'a [T], others: &'a [T], load: impl Fn(&T) -> Option<u32>, draws: Draws) -> Option<&'a T> {
    less_busy(local, &load, draws).or_else(|| less_busy(others, &load, draws))
}

fn less_busy<'a, T>(endpoints: &'a [T], load: &impl Fn(&T) -> Option<u32>, draws: Draws) -> Option<&'a T> {
    let count = endpoints.len();
    let first = match count {
        0 => return None,
        1 => return load(&endpoints[0]).map(|_| &endpoints[0]),
        _ => draws.0 as usize % count,
    };
    // The second draw skips the first endpoint, so that two different ones are compared.
    let second = (first + 1 + draws.1 as usize % (count - 1)) % count;
    match (load(&endpoints[first]), load(&endpoints[second])) {
        (Some(a), Some(b)) => Some(&endpoints[if b < a { second } else { first }]),
        (Some(_), None) => Some(&endpoints[first]),
        (None, Some(_)) => Some(&endpoints[second]),
        // Both are full: any with room is better than a refusal.
        (None, None) => (1..count).map(|step| &endpoints[(first + step) % count]).find(|endpoint| load(endpoint).is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_endpoint_on_this_node_comes_first() {
        assert_eq!(pick(&[9], &[0], |busy| Some(*busy), (0, 0)), Some(&9));
    }

    #[test]
    fn nothing_ready_is_none() {
        assert_eq!(pick(&[] as &[u32], &[], |busy| Some(*busy), (1, 2)), None);
    }

    proptest! {
        #[test]
        fn a_pick_has_room_and_a_refusal_means_that_none_had(
            loads in prop::collection::vec(prop::option::of(0u32..5), 0..9), split in 0usize..9, draws: (u32, u32),
        ) {
            let (local, others) = loads.split_at(split.min(loads.len()));
            match pick(local, others, |load| *load, draws) {
                Some(load) => prop_assert!(load.is_some()),
                None => prop_assert!(loads.iter().all(Option::is_none)),
            }
        }

        #[test]
        fn two_draws_hold_the_busiest_near_the_mean(seed: u64) {
            let mut busy = vec![0u32; 20];
            let names: Vec<usize> = (0..20).collect();
            let mut state = seed | 1;
            let mut draw = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; (state >> 16) as u32 };
            for _ in 0..2000 {
                let draws = (draw(), draw());
                let chosen = *pick(&names, &[], |i| Some(busy[*i]), draws).expect("one");
                busy[chosen] += 1;
            }
            prop_assert!(busy.iter().all(|n| (90..=110).contains(n)), "{busy:?}");
        }
    }
}
