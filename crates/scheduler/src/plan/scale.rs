//! One autoscaler: how many pods its Deployment should have for the load that nodes tell.
//!
//! Up at once; down to the most that was wanted within the window. A new leader has seen nothing yet, so it takes what is there for what is
//! wanted, and the window begins anew.

use super::Action;
use super::draft::Draft;
use super::pods::u32_of;
use crate::model::{Advice, Aim, Condition, Deployment, Key, Load, Measure, ObjectId, Pod, Scaler, ScalerStatus, Unit};
use std::time::Duration;

/// A load that is off its aim by no more than this many hundredths moves nothing.
const TOLERANCE: u64 = 10;
/// How often a status is written for what the load is alone.
const TOLD: Duration = Duration::from_secs(15);

pub(super) fn plan(draft: &mut Draft, key: &Key) {
    let snapshot = draft.snapshot;
    let Some(scaler) = snapshot.scalers.get(key).filter(|scaler| !scaler.meta.deleting && !snapshot.is_orphan(&scaler.meta)) else {
        return;
    };
    Scaling { scaler, unit: Unit::Scaler(key.clone()) }.run(draft);
}

struct Scaling<'a> {
    scaler: &'a Scaler,
    unit: Unit,
}

/// What the aims say together.
struct Wish {
    /// Pods; none where the load is not known.
    pods: Option<u32>,
    now: Vec<Option<u64>>,
    active: Condition,
    /// Whether every pod that is ready sleeps.
    asleep: bool,
}

impl<'a> Scaling<'a> {
    fn id(&self) -> ObjectId {
        ObjectId { kind: "HorizontalPodAutoscaler", key: self.scaler.meta.key.clone() }
    }

    fn run(&self, draft: &mut Draft<'a>) {
        let Some(deployment) = draft.snapshot.deployments.get(&self.scaler.target) else {
            let able = Condition::new("False", "FailedGetScale", &format!("there is no deployment {}", self.scaler.target.name));
            let status =
                ScalerStatus { able, observed: self.scaler.meta.generation, scaled: self.scaler.status.scaled, ..Default::default() };
            return self.write(draft, status);
        };
        let current = deployment.replicas;
        if current == 0 {
            let active = Condition::new("False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero");
            return self.write(draft, self.status(current, current, active, Vec::new(), None));
        }
        let wish = self.wish(draft, deployment);
        // At zero there is one that sleeps: bound to a node, so that a request finds it without asking anybody, even with no server.
        let least = self.scaler.min.max(1);
        let most = self.scaler.max.max(least);
        let Some(pods) = wish.pods else {
            let kept = current.clamp(least, most);
            return self.bring(draft, deployment, kept, None, wish);
        };
        let (stable, steady) = self.stabilise(draft, current, pods);
        let able = steady.then(|| {
            let why = "recent recommendations were higher than current one, applying the highest recent recommendation";
            Condition::new("True", "ScaleDownStabilized", why)
        });
        let kept = stable.clamp(least, most);
        self.bring(draft, deployment, kept, able, Wish { pods: Some(stable), ..wish });
    }

    /// What each aim wants; the most counts.
    fn wish(&self, draft: &Draft<'a>, deployment: &Deployment) -> Wish {
        let snapshot = draft.snapshot;
        let all = snapshot.sets_of(&deployment.meta.uid).flat_map(|set| snapshot.pods_of(&set.meta.uid));
        let lost = |pod: &Pod| pod.node.as_ref().is_some_and(|node| snapshot.is_lost(node));
        let ready: Vec<&Pod> = all.filter(|pod| pod.ready.is_some() && !pod.meta.deleting && !pod.ended && !lost(pod)).collect();
        let asleep = !ready.is_empty() && ready.iter().all(|pod| pod.asleep);
        let mut wish = Wish { pods: None, now: Vec::new(), active: Condition::default(), asleep };
        for aim in &self.scaler.aims {
            let measured = measure(aim, &ready, deployment, |pod| snapshot.load_of(pod));
            wish.now.push(measured.as_ref().ok().map(|(average, _)| *average));
            match measured {
                Ok((average, total)) => {
                    let wanted = wanted(aim.value, total, average, u32_of(ready.len()), deployment.replicas);
                    wish.pods = Some(wish.pods.unwrap_or(0).max(wanted));
                    let from = format!("the HPA was able to successfully calculate a replica count from {}", name(aim.measure));
                    wish.active = Condition::new("True", "ValidMetricFound", &from);
                }
                Err(why) if wish.pods.is_none() => wish.active = Condition::new("False", "FailedGetMetrics", &why),
                Err(_) => {}
            }
        }
        // One that is not known keeps pods that another would take away.
        if wish.now.contains(&None) {
            wish.pods = wish.pods.map(|pods| pods.max(deployment.replicas));
        }
        wish
    }

    /// The most that was wanted within the window, where that is more than is wanted now; and whether it is.
    fn stabilise(&self, draft: &mut Draft<'a>, current: u32, pods: u32) -> (u32, bool) {
        let known = draft.snapshot.advice.get(&self.scaler.meta.key);
        let mut advice: Advice = known.map_or_else(|| vec![(draft.now, current)], |advice| (**advice).clone());
        // What was wanted last was wanted until now.
        if let Some(last) = advice.last_mut() {
            last.0 = draft.now;
        }
        advice.retain(|(at, _)| *at + self.scaler.window > draft.now);
        while advice.last().is_some_and(|(_, before)| *before <= pods) {
            advice.pop();
        }
        let stable = advice.first().map_or(pods, |(_, most)| (*most).max(pods)).min(current.max(pods));
        if let Some((at, _)) = advice.first().filter(|(_, most)| *most > pods) {
            draft.wake(&self.unit, *at + self.scaler.window);
        }
        advice.push((draft.now, pods));
        let values = |advice: &Advice| advice.iter().map(|(_, pods)| *pods).collect::<Vec<u32>>();
        if known.is_none_or(|known| values(known) != values(&advice)) {
            draft.act(&self.unit, Action::Advise { scaler: self.scaler.meta.key.clone(), advice });
        }
        (stable, stable > pods)
    }

    fn bring(&self, draft: &mut Draft<'a>, deployment: &Deployment, kept: u32, able: Option<Condition>, wish: Wish) {
        let current = deployment.replicas;
        let allowed = match kept.cmp(&current) {
            std::cmp::Ordering::Greater => self.scaler.may.0,
            std::cmp::Ordering::Less => self.scaler.may.1,
            std::cmp::Ordering::Equal => true,
        };
        let desired = if allowed { kept } else { current };
        // What people see of one that sleeps is that there is none.
        let shown = |pods: u32| if wish.asleep { 0 } else { pods };
        let mut status = self.status(shown(current), shown(desired), wish.active, wish.now, able);
        status.limited = self.limits(wish.pods);
        if desired != current {
            let said = format!("the HPA controller was able to update the target scale to {desired}");
            status.able = Condition::new("True", "SucceededRescale", &said);
            status.scaled = Some(draft.snapshot.wall.as_second());
            let (word, way) = if desired > current { ("ScaledUp", "above") } else { ("ScaledDown", "below") };
            let why = format!("from {current} to {desired} pods: the load is {way} what they should have");
            let about = ObjectId { kind: "Deployment", key: deployment.meta.key.clone() };
            draft.tell(&self.unit, about, word, false, why.clone());
            draft.tell(&self.unit, self.id(), "SuccessfulRescale", false, format!("New size: {desired}; reason: {why}"));
            draft.act(&self.unit, Action::Scale { deployment: deployment.meta.key.clone(), replicas: desired });
        }
        self.write(draft, status);
    }

    fn status(&self, current: u32, desired: u32, active: Condition, now: Vec<Option<u64>>, able: Option<Condition>) -> ScalerStatus {
        let ready = || Condition::new("True", "ReadyForNewScale", "recommended size matches current size");
        ScalerStatus {
            observed: self.scaler.meta.generation,
            current,
            desired,
            now,
            scaled: self.scaler.status.scaled,
            able: able.unwrap_or_else(ready),
            active,
            limited: Condition::default(),
        }
    }

    fn limits(&self, pods: Option<u32>) -> Condition {
        match pods {
            Some(pods) if pods > self.scaler.max => {
                Condition::new("True", "TooManyReplicas", "the desired replica count is more than the maximum replica count")
            }
            Some(pods) if pods < self.scaler.min => {
                Condition::new("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count")
            }
            _ => Condition::new("False", "DesiredWithinRange", "the desired count is within the acceptable range"),
        }
    }

    /// At once where it changes what people act on; for the load alone now and then.
    fn write(&self, draft: &mut Draft, status: ScalerStatus) {
        let was = &self.scaler.status;
        if status == *was {
            return;
        }
        let only_load = ScalerStatus { now: was.now.clone(), ..status.clone() } == *was;
        let due = self.scaler.told + TOLD;
        if only_load && due > draft.now {
            return draft.wake(&self.unit, due);
        }
        draft.act(&self.unit, Action::WriteScaler { scaler: self.scaler.meta.key.clone(), status: Box::new(status) });
    }
}

/// What the ready pods have of an aim's measure, on average and, in thousandths, together.
fn measure(aim: &Aim, ready: &[&Pod], deployment: &Deployment, load: impl Fn(&Pod) -> Load) -> Result<(u64, u64), String> {
    let pods = ready.len() as u64;
    if pods == 0 {
        return Err("did not receive metrics from any ready pods".to_owned());
    }
    let request = deployment.template.need.resources.cpu;
    let of = |pod: &&Pod| match aim.measure {
        Measure::Concurrency => load(pod).concurrency,
        Measure::Requests => load(pod).requests,
        Measure::Cpu | Measure::CpuShare => load(pod).cpu,
    };
    let total: u64 = ready.iter().map(of).sum();
    match aim.measure {
        Measure::CpuShare if request == 0 => {
            Err("missing request for cpu: write resources.requests.cpu, of which the utilization is a share".to_owned())
        }
        // In per cent of what one pod requests.
        Measure::CpuShare => Ok((total * 100 / (request * pods), total * 100 / request)),
        _ => Ok((total / pods, total)),
    }
}

/// Pods for a load: as many as it takes for each to have `value`, unless they have about that already.
fn wanted(value: u64, total: u64, average: u64, ready: u32, current: u32) -> u32 {
    let value = value.max(1);
    let near = average.abs_diff(value) * 100 <= value * TOLERANCE;
    if near && ready == current {
        return current;
    }
    u32::try_from(total.div_ceil(value)).unwrap_or(u32::MAX)
}

fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::Concurrency => "pods metric concurrency",
        Measure::Requests => "pods metric requests_per_second",
        Measure::Cpu => "cpu resource",
        Measure::CpuShare => "cpu resource utilization (percentage of request)",
    }
}
