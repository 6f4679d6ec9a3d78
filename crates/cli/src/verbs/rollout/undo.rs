//! `wctl rollout undo`: an older revision of an app, or of one of its services, as a new one.

use anyhow::{Context, Result, bail};
use scheduler::app::with_replicas_of;
use scheduler::{kinds, names};
use serde_json::{Value, json};

use super::history::Rollout;
use super::{find, generation, number, revision_spec, revisions, whole_app};
use crate::args::{Format, Globals, Wait};
use crate::cluster::{Cluster, Deadline};
use crate::target::Part;
use crate::{follow, print};

/// Goes back to the revision `to`, or to the newest that differs in more than how many replicas there are.
pub async fn run(globals: &Globals, part: &Part, to: Option<i64>, wait: &Wait, format: Format) -> Result<()> {
    let deadline = Deadline::after(wait.timeout);
    let cluster = Cluster::connect_to_write(globals).await?;
    let mut app = whole_app(&cluster, part).await?;
    let revisions = revisions(&cluster, part).await?;
    // An only service is the app: what its file says of both goes back with it.
    let only = app["spec"]["services"].as_object().is_some_and(|services| services.len() == 1);
    let service = part.service.as_deref().filter(|_| !only);
    let (spec, number) = match to {
        Some(wanted) => (taken_back(&app["spec"], revision_spec(find(&revisions, wanted, &part.app)?), service, wanted)?, wanted),
        None => newest_other(&app["spec"], &revisions, service).with_context(|| nowhere(part, &revisions))?,
    };
    let changed = spec != app["spec"];
    let sentences = matches!(format, Format::Table | Format::Wide);
    let told = |revision: &Value, ready: bool| json!({"of": part.to_string(), "namespace": cluster.namespace, "to": number, "changed": changed, "revision": revision, "ready": ready});
    if !changed {
        let sentence = format!("{part} is at revision {number} already");
        return print::outcome(format, sentence, part, &told(&app["metadata"]["generation"], false));
    }
    app["spec"] = spec;
    if let Some(annotations) = app["metadata"]["annotations"].as_object_mut() {
        annotations.remove(names::ROLLED_BACK);
    }
    let done =
        cluster.replace(&kinds::APP, &cluster.namespace, &part.app, &app, false).await.context("writing the old revision as a new one")?;
    if sentences {
        print::line(format_args!("{part} goes back to revision {number}"));
    }
    let waited = wait.wait.unwrap_or_else(print::is_watched);
    if waited {
        follow::app(&cluster, &cluster.namespace, &part.app, generation(&done), deadline).await?;
    }
    match sentences {
        true if waited => print::line(format_args!("{part} is ready")),
        true => {}
        false => print::outcome(format, "", part, &told(&done["metadata"]["generation"], waited))?,
    }
    Ok(())
}

/// Why there is no way back, and which there is all the same.
fn nowhere(part: &Part, revisions: &[Value]) -> String {
    let failed = Rollout::all(revisions).iter().filter(|rollout| rollout.failed()).map(|rollout| number(rollout.newest())).max();
    let failed = failed.map(|number| format!(" but {number}, which failed (`--to-revision {number}` goes there)")).unwrap_or_default();
    format!("{part} has no other revision to go back to{failed}; `wctl rollout history {}` lists them", part.app)
}

/// The newest revision that did not fail and would change something, as a spec, and its number.
fn newest_other(now: &Value, revisions: &[Value], service: Option<&str>) -> Option<(Value, i64)> {
    let rollouts = Rollout::all(revisions);
    let specs = rollouts.iter().rev().filter(|rollout| !rollout.failed()).filter_map(|rollout| {
        let number = number(rollout.newest());
        // A revision from before the service was there is no way back for it.
        Some((taken_back(now, rollout.spec(), service, number).ok()?, number))
    });
    specs.into_iter().find(|(spec, _)| spec != now)
}

/// What the app would be with the spec of an old revision: whole, or for one service alone. What runs keeps its number of replicas.
fn taken_back(now: &Value, old: &Value, service: Option<&str>, number: i64) -> Result<Value> {
    let spec = match service {
        None => old.clone(),
        Some(service) => {
            let Some(own) = old["services"].get(service) else { bail!("revision {number} has no service {service}") };
            let mut spec = now.clone();
            spec["services"][service] = own.clone();
            spec
        }
    };
    Ok(with_replicas_of(spec, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(a: &str, replicas: u32, b: &str) -> Value {
        json!({"services": {"a": {"image": a, "replicas": replicas}, "b": {"image": b, "replicas": 1}}})
    }

    fn history(specs: &[Value]) -> Vec<Value> {
        specs.iter().enumerate().map(|(at, spec)| json!({"revision": at + 1, "data": {"spec": spec}})).collect()
    }

    #[test]
    fn a_scale_is_nothing_to_take_back() {
        let revisions = history(&[spec("a1", 2, "b1"), spec("a2", 2, "b1"), spec("a2", 5, "b1")]);
        assert_eq!(newest_other(&spec("a2", 5, "b1"), &revisions, None), Some((spec("a1", 5, "b1"), 1)));
        // Nor where a scale has no revision of its own.
        assert_eq!(newest_other(&spec("a2", 5, "b1"), &revisions[..2], None), Some((spec("a1", 5, "b1"), 1)));
        assert_eq!(newest_other(&spec("a2", 5, "b1"), &revisions[1..], None), None);
    }

    #[test]
    fn a_service_goes_back_alone() {
        let revisions = history(&[spec("a1", 1, "b1"), spec("a1", 1, "b2"), spec("a2", 1, "b2"), spec("a2", 1, "b3")]);
        let now = spec("a2", 3, "b3");
        assert_eq!(newest_other(&now, &revisions, Some("a")), Some((spec("a1", 3, "b3"), 2)));
        assert_eq!(newest_other(&now, &revisions, Some("b")), Some((spec("a2", 3, "b2"), 3)));
        assert_eq!(taken_back(&now, revision_spec(&revisions[0]), Some("b"), 1).unwrap(), spec("a2", 3, "b1"));
    }

    #[test]
    fn a_revision_that_failed_is_passed_over() {
        let mut revisions =
            history(&[spec("a1", 1, "b1"), spec("a2", 1, "b1"), spec("bad", 1, "b1"), spec("bad", 4, "b1"), spec("a2", 4, "b1")]);
        revisions[3]["metadata"]["annotations"] = json!({names::FAILED: "a was not ready in time"});
        assert_eq!(newest_other(&spec("a2", 4, "b1"), &revisions, None), Some((spec("a1", 4, "b1"), 1)));
        assert_eq!(newest_other(&spec("a2", 4, "b1"), &revisions[1..], None), None);
        let part = Part { app: "shop".into(), service: None };
        assert!(nowhere(&part, &revisions[1..]).contains("but 4, which failed"), "{}", nowhere(&part, &revisions[1..]));
        assert!(nowhere(&part, &revisions[..2]).contains("go back to; "));
    }

    #[test]
    fn a_service_that_was_not_there_cannot_go_back() {
        let old = json!({"services": {"a": {"image": "a1"}}});
        let now = spec("a2", 1, "b1");
        assert_eq!(taken_back(&now, &old, Some("b"), 7).unwrap_err().to_string(), "revision 7 has no service b");
        assert_eq!(newest_other(&now, &history(&[old]), Some("b")), None);
    }
}
