//! A new revision that gets a share of pods and requests until it has shown that it is no worse than the old one.

use super::pods::{Group, u32_of};
use crate::model::{Deployment, Load, ReplicaSet, Service, Share, Snapshot};
use crate::routes::Canary;

/// Requests from which on a share of failures says something.
const ENOUGH: u64 = 20;
/// How many more of a hundred requests may fail than of the old revision's.
const MARGIN: u64 = 5;
/// How often its instances may end.
const RESTARTS: u32 = 3;

/// The pods that a new revision gets at first.
pub(super) fn first(deployment: &Deployment) -> Option<u32> {
    let share = Share::Percent(deployment.canary?).of(deployment.replicas, true).max(1);
    // Without a pod to spare there is none beside the old one.
    let spare = deployment.replicas > 1 || deployment.surge.of(deployment.replicas, true) > 0;
    spare.then_some(share.min(deployment.replicas.max(1)))
}

/// Why the new revision is not to go on, where it does worse than the old ones.
pub(super) fn worse(snapshot: &Snapshot, new: &Group<'_>, old: &[Group<'_>]) -> Option<String> {
    let restarts: u32 = new.active.iter().map(|pod| pod.restarts).sum();
    if restarts >= RESTARTS {
        return Some(format!("its instances ended {restarts} times"));
    }
    let of = |groups: &[&Group<'_>]| {
        let loads = groups.iter().flat_map(|group| &group.active).map(|pod| snapshot.load_of(pod));
        loads.fold((0, 0), |(asked, failed), Load { asked: a, failed: f, .. }| (asked + a, failed + f.min(a)))
    };
    let (asked, failed) = of(&[new]);
    let (before, failed_before) = of(&old.iter().collect::<Vec<_>>());
    let (rate, usual) = (100 * failed / asked.max(1), 100 * failed_before / before.max(1));
    let is_worse = asked >= ENOUGH && rate > usual + MARGIN;
    is_worse.then(|| format!("{rate} of 100 requests failed lately, and {usual} of the old revision's"))
}

/// The share of a Service's requests that goes to pods of a new revision now: as long as that has no more pods than it gets at first.
pub(super) fn shared(snapshot: &Snapshot, service: &Service) -> Option<Canary> {
    let mut pods = snapshot.pods_of_service(service).filter_map(|pod| {
        let set = snapshot.sets.get(&pod.meta.key.sibling(&pod.meta.owner.as_ref()?.name))?;
        snapshot.deployment_of(set).filter(|deployment| deployment.canary.is_some())
    });
    let deployment = pods.next()?;
    let first = first(deployment)?;
    let sets: Vec<&ReplicaSet> = snapshot.sets_of(&deployment.meta.uid).collect();
    let new = current(deployment, &sets)?;
    let old = sets.iter().filter(|set| !std::ptr::eq(**set, new)).map(|set| set.replicas).sum::<u32>();
    let tried = snapshot.pods_of(&new.meta.uid).map(|pod| pod.meta.uid.clone()).collect();
    (old > 0 && new.replicas > 0 && new.replicas <= first).then_some(Canary { share: deployment.canary?, pods: tried })
}

/// The revision of the present template.
fn current<'s>(deployment: &Deployment, sets: &[&'s ReplicaSet]) -> Option<&'s ReplicaSet> {
    let found = sets.iter().find(|set| set.typed == deployment.template.text);
    found.or_else(|| sets.iter().find(|set| set.template.text == deployment.template.text)).copied()
}

/// Whether as many pods of the new revision as it gets at first were ready for long enough.
pub(super) fn has_baked(deployment: &Deployment, new: &Group<'_>, first: u32) -> bool {
    u32_of(new.active.iter().filter(|pod| new.was_ready_for(pod, deployment.bake)).count()) >= first
}
