//! The decision: `plan(&Snapshot, now) -> Plan`.
//!
//! A plan is made unit by unit ([`Unit`]): Deployments first, then a node for each new pod, then endpoints, which see what the
//! Deployments just decided, and Apps last. Each unit looks only at what marks it dirty when it changes, so planning the dirty
//! units alone decides the same as planning everything.

mod action;
mod app;
mod balancers;
mod canary;
mod clean;
mod cron;
mod deployment;
mod draft;
mod endpoints;
mod job;
mod node;
mod place;
mod pods;
mod rollout;
mod routes;
mod scale;
mod status;
mod text;

use crate::model::{Snapshot, Unit};
use std::collections::BTreeSet;
use std::time::Duration;

pub use action::{Action, NewSet, Step, Waiting};
pub use node::LOST_AFTER;

use draft::Draft;

/// What to do now, when to look again, and what is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In the order in which they were decided.
    pub actions: Vec<Step>,
    /// Look again at this time even if nothing changes.
    pub wake_at: Option<Duration>,
    /// What is not done, and why.
    pub waiting: Vec<Waiting>,
    /// When each unit that was looked at wants to be looked at again; units that do not are left out.
    pub wakes: Vec<(Unit, Duration)>,
}

/// Plans everything. `now` is the leader's monotonic time, the same clock as in the snapshot.
pub fn plan(snapshot: &Snapshot, now: Duration) -> Plan {
    plan_units(snapshot, snapshot.all_units(), now)
}

/// Plans only these units, and what hangs on what they decide.
pub fn plan_units(snapshot: &Snapshot, mut units: BTreeSet<Unit>, now: Duration) -> Plan {
    add_dependents(snapshot, &mut units);
    let mut draft = Draft::new(snapshot, now);
    for unit in &units {
        match unit {
            Unit::Node(name) => node::plan(&mut draft, name),
            Unit::Deployment(key) => deployment::plan(&mut draft, key),
            Unit::Set(key) => deployment::plan_lone_set(&mut draft, key),
            Unit::Scaler(key) => scale::plan(&mut draft, key),
            Unit::Job(key) => job::plan(&mut draft, key),
            Unit::CronJob(key) => cron::plan(&mut draft, key),
            Unit::Orphan(id) => clean::orphan(&mut draft, id),
            Unit::History(key) => clean::history(&mut draft, key),
            Unit::Events(namespace) => clean::events(&mut draft, namespace),
            Unit::Routes => routes::plan(&mut draft),
            Unit::Balancers => balancers::plan(&mut draft),
            Unit::Namespace(name) => clean::namespace(&mut draft, name),
            Unit::Unplaced | Unit::Service(_) | Unit::App(_) => {}
        }
    }
    place::plan(&mut draft, units.contains(&Unit::Unplaced));
    units.extend(draft.services_losing_pods().map(Unit::Service));
    for unit in &units {
        match unit {
            Unit::Service(key) => endpoints::plan(&mut draft, key),
            Unit::App(key) => app::plan(&mut draft, key),
            _ => {}
        }
    }
    draft.into_plan()
}

/// An App speaks of all its Deployments, so it is planned with any of them, and they with it.
fn add_dependents(snapshot: &Snapshot, units: &mut BTreeSet<Unit>) {
    let deployments = units.iter().filter_map(|unit| if let Unit::Deployment(key) = unit { snapshot.deployments.get(key) } else { None });
    let apps: Vec<Unit> = deployments.filter_map(|d| snapshot.app_of(&d.meta)).map(|app| Unit::App(app.meta.key.clone())).collect();
    units.extend(apps);
    let apps = units.iter().filter_map(|unit| if let Unit::App(key) = unit { snapshot.apps.get(key) } else { None });
    let owned = apps.flat_map(|app| snapshot.children(&app.meta.uid)).filter(|id| id.kind == "Deployment");
    let deployments: Vec<Unit> = owned.map(|id| Unit::Deployment(id.key.clone())).collect();
    units.extend(deployments);
}
