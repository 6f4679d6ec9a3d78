//! How many pods each revision should have next.

/// What the Deployment asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub desired: u32,
    pub surge: u32,
    pub unavailable: u32,
    /// All old pods go before the first new one comes.
    pub recreate: bool,
    /// Nothing moves between revisions: paused, or the first pods are still watched.
    pub hold: bool,
    /// The most pods that the new revision may have for now.
    pub most_new: Option<u32>,
}

/// One revision as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Have {
    /// Pods asked for.
    pub replicas: u32,
    /// Pods that count as ready.
    pub available: u32,
    /// Pods that are still there, those on their way out too.
    pub present: u32,
}

/// The next number of pods of the new revision and of the old ones (newest first). With no new revision yet the newest old
/// one follows `desired`.
///
/// Never takes an available pod away when fewer than `desired - unavailable` would be left.
pub(super) fn targets(ask: &Ask, new: Option<Have>, old: &[Have]) -> (u32, Vec<u32>) {
    let kept: Vec<u32> = old.iter().map(|have| have.replicas).collect();
    let Some(new) = new else { return (0, without_new(ask.desired, kept)) };
    let old_total: u32 = kept.iter().sum();
    if old_total == 0 && !ask.recreate {
        return (ask.desired, kept);
    }
    if ask.recreate {
        let gone = old.iter().all(|have| have.present == 0);
        return (if gone { ask.desired } else { new.replicas.min(ask.desired) }, vec![0; old.len()]);
    }
    if ask.hold {
        return resize(ask.desired, new.replicas, kept);
    }
    let (next, rest) = grow(ask, new, old_total);
    if rest > 0 {
        return (next, add_to_newest(kept, rest));
    }
    let shrunk = shrink(ask, new, old, kept.clone());
    match ask.most_new {
        Some(most) => (next, keep_beside(ask.desired.saturating_sub(most).max(1), shrunk, &kept)),
        None => (next, shrunk),
    }
}

/// Takes back so much of what the old revisions lose that they keep `least` together, the newest first.
fn keep_beside(least: u32, mut shrunk: Vec<u32>, kept: &[u32]) -> Vec<u32> {
    let mut missing = least.saturating_sub(shrunk.iter().sum());
    for (target, before) in shrunk.iter_mut().zip(kept) {
        let back = missing.min(before - *target);
        *target += back;
        missing -= back;
    }
    shrunk
}

fn without_new(desired: u32, mut kept: Vec<u32>) -> Vec<u32> {
    let others: u32 = kept.iter().skip(1).sum();
    if let Some(newest) = kept.first_mut() {
        *newest = desired.saturating_sub(others);
    }
    kept
}

/// Without a move from one revision to another, only what is too many or too few changes, the old revision first.
fn resize(desired: u32, new: u32, mut kept: Vec<u32>) -> (u32, Vec<u32>) {
    let total = new + kept.iter().sum::<u32>();
    if total <= desired {
        return (new, add_to_newest(kept, desired - total));
    }
    // What the surge added stays: it is what is being watched.
    let mut spare = total.saturating_sub(desired.max(1) + new.min(desired));
    for have in kept.iter_mut().rev() {
        let less = spare.min(*have);
        *have -= less;
        spare -= less;
    }
    (new.min(desired), kept)
}

fn add_to_newest(mut kept: Vec<u32>, more: u32) -> Vec<u32> {
    if let Some(active) = kept.iter_mut().find(|replicas| **replicas > 0) {
        *active += more;
    }
    kept
}

/// The new revision's next size, and what it may not take because it has yet to prove itself: that goes to the old one, so
/// that a scale-up in the middle of a bad rollout does not rest on the bad revision.
fn grow(ask: &Ask, new: Have, old_total: u32) -> (u32, u32) {
    let total = new.replicas + old_total;
    let room = (ask.desired + ask.surge).saturating_sub(total);
    let unproven = new.replicas.saturating_sub(new.available);
    let trust = (ask.surge + ask.unavailable).max(1).saturating_sub(unproven);
    let most = ask.most_new.map_or(ask.desired, |most| most.max(new.replicas));
    let next = ask.desired.min(new.replicas + room.min(trust)).min(most);
    (next, ask.desired.saturating_sub(next.max(new.replicas) + old_total))
}

/// First old pods that are not available anyway, then as many available ones as can be spared; the oldest revision first.
fn shrink(ask: &Ask, new: Have, old: &[Have], mut kept: Vec<u32>) -> Vec<u32> {
    let floor = ask.desired.saturating_sub(ask.unavailable);
    let total = new.replicas + kept.iter().sum::<u32>();
    let unproven = new.replicas.saturating_sub(new.available);
    let mut broken_to_go = total.saturating_sub(floor + unproven);
    let available = new.available + old.iter().map(|have| have.available).sum::<u32>();
    let mut spare = available.saturating_sub(floor);
    for (target, have) in kept.iter_mut().zip(old).rev() {
        let broken = have.replicas.saturating_sub(have.available).min(broken_to_go);
        *target -= broken;
        broken_to_go -= broken;
    }
    for (target, have) in kept.iter_mut().zip(old).rev() {
        // Broken pods that had to stay go before available ones, and going costs nothing.
        let less = spare.min(*target).min(have.available);
        *target -= less;
        spare -= less;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn have(replicas: u32, available: u32) -> Have {
        Have { replicas, available, present: replicas }
    }

    fn ask(desired: u32, surge: u32, unavailable: u32) -> Ask {
        Ask { desired, surge, unavailable, recreate: false, hold: false, most_new: None }
    }

    #[test]
    fn surge_first_then_the_old_goes_as_the_new_is_ready() {
        assert_eq!(targets(&ask(3, 1, 0), Some(have(0, 0)), &[have(3, 3)]), (1, vec![3]));
        assert_eq!(targets(&ask(3, 1, 0), Some(have(1, 0)), &[have(3, 3)]), (1, vec![3]));
        assert_eq!(targets(&ask(3, 1, 0), Some(have(1, 1)), &[have(3, 3)]), (1, vec![2]));
        assert_eq!(targets(&ask(3, 1, 0), Some(have(1, 1)), &[have(2, 2)]), (2, vec![2]));
        assert_eq!(targets(&ask(3, 1, 0), Some(have(3, 3)), &[have(1, 1)]), (3, vec![0]));
    }

    #[test]
    fn a_rollout_holds_while_an_old_pod_restarts() {
        assert_eq!(targets(&ask(3, 1, 0), Some(have(1, 1)), &[have(3, 2)]), (1, vec![2]), "the broken one is replaced by the new one");
        assert_eq!(targets(&ask(3, 1, 0), Some(have(1, 1)), &[have(2, 1)]), (2, vec![2]));
        assert_eq!(targets(&ask(3, 1, 0), Some(have(2, 1)), &[have(2, 1)]), (2, vec![2]), "nothing more moves");
    }

    #[test]
    fn a_scale_up_in_a_bad_rollout_grows_the_good_revision() {
        assert_eq!(targets(&ask(10, 1, 0), Some(have(1, 0)), &[have(3, 3)]), (1, vec![9]));
    }

    #[test]
    fn recreate_waits_until_the_old_are_gone() {
        let ask = Ask { recreate: true, ..ask(2, 0, 0) };
        assert_eq!(targets(&ask, Some(have(0, 0)), &[have(2, 2)]), (0, vec![0]));
        assert_eq!(targets(&ask, Some(have(0, 0)), &[Have { present: 1, ..have(0, 0) }]), (0, vec![0]));
        assert_eq!(targets(&ask, Some(have(0, 0)), &[have(0, 0)]), (2, vec![0]));
    }

    #[test]
    fn a_held_rollout_stays_where_it_is() {
        let ask = Ask { hold: true, ..ask(3, 1, 0) };
        assert_eq!(targets(&ask, Some(have(1, 1)), &[have(3, 3)]), (1, vec![3]));
        assert_eq!(targets(&Ask { desired: 5, ..ask }, Some(have(1, 1)), &[have(3, 3)]), (1, vec![4]));
    }

    #[test]
    fn a_canary_gets_no_more_than_its_share_and_the_old_keep_the_rest() {
        let ask = Ask { most_new: Some(1), ..ask(4, 1, 0) };
        assert_eq!(targets(&ask, Some(have(0, 0)), &[have(4, 4)]), (1, vec![4]));
        assert_eq!(targets(&ask, Some(have(1, 1)), &[have(4, 4)]), (1, vec![3]));
        assert_eq!(targets(&ask, Some(have(1, 1)), &[have(3, 3)]), (1, vec![3]));
        let alone = Ask { desired: 1, ..ask };
        assert_eq!(targets(&alone, Some(have(1, 1)), &[have(1, 1)]), (1, vec![1]), "one stays beside it");
        // On the way back the good revision has most pods already.
        assert_eq!(targets(&ask, Some(have(3, 3)), &[have(1, 1)]), (3, vec![1]));
    }

    fn any_have() -> impl Strategy<Value = Have> {
        (0u32..8).prop_flat_map(|replicas| (Just(replicas), 0..=replicas)).prop_map(|(replicas, available)| have(replicas, available))
    }

    proptest! {
        #[test]
        fn never_below_the_floor_nor_above_the_ceiling(
            desired in 0u32..8, surge in 0u32..4, unavailable in 0u32..4, new in any_have(), old in prop::collection::vec(any_have(), 0..3),
        ) {
            let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
            let (next, kept) = targets(&ask(desired, surge, unavailable), Some(new), &old);
            let floor = desired.saturating_sub(unavailable);
            let before = new.available + old.iter().map(|have| have.available).sum::<u32>();
            // The pods that go are the unavailable ones first.
            let left = |have: &Have, target: u32| have.available.min(target);
            let after: u32 = left(&new, next) + old.iter().zip(&kept).map(|(have, target)| left(have, *target)).sum::<u32>();
            prop_assert!(after >= floor.min(before), "{after} < {floor} of {before}");
            let total_before = new.replicas + old.iter().map(|have| have.replicas).sum::<u32>();
            let total = next + kept.iter().sum::<u32>();
            prop_assert!(total <= (desired + surge).max(total_before), "{total}");
        }

        #[test]
        fn settles_on_the_new_revision(desired in 0u32..8, surge in 0u32..4, unavailable in 0u32..4, old in prop::collection::vec(0u32..6, 0..3)) {
            let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
            let mut new = have(0, 0);
            let mut old: Vec<Have> = old.into_iter().map(|n| have(n, n)).collect();
            for _ in 0..60 {
                let (next, kept) = targets(&ask(desired, surge, unavailable), Some(new), &old);
                new = have(next, next);
                old = kept.into_iter().map(|n| have(n, n)).collect();
            }
            prop_assert_eq!(new.replicas, desired);
            prop_assert!(old.iter().all(|have| have.replicas == 0));
        }
    }
}
