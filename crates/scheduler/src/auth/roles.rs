//! What each role may do: one table of verbs, kinds and namespaces.

use super::{DEPLOYERS, Identity, NODES, VIEWERS, VIEWERS_OF};
use crate::kinds::{
    APP, CONFIG_MAP, CRON_JOB, DEPLOYMENT, ENDPOINT_SLICE, EVENT, HPA, INGRESS, JOB, Kind, LEASE, NAMESPACE, NODE, POD, REPLICA_SET,
    SECRET, SERVICE,
};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const REPORT: &[&str] = &["create", "update", "patch"];

/// Kinds that a deployer writes in its namespace.
const DEPLOYED: &[&Kind] = &[&APP, &DEPLOYMENT, &REPLICA_SET, &POD, &SERVICE, &INGRESS, &CONFIG_MAP, &SECRET, &JOB, &CRON_JOB, &HPA];
/// What belongs to no namespace and tells nobody's secrets.
const COMMON: &[&Kind] = &[&NODE, &NAMESPACE];

/// One line of the table: these verbs on these kinds.
type Grant = (&'static [&'static str], &'static [&'static Kind]);

/// What an agent may do. Of the writes it may do only those to its own Node, Lease and Pods, which the API sees from the object.
/// A Secret it gets by the name that its pod gives; it cannot ask which there are.
const AGENT: &[Grant] = &[
    (READ, &[&POD, &NODE, &NAMESPACE, &SERVICE, &INGRESS, &ENDPOINT_SLICE, &CONFIG_MAP, &LEASE]),
    (&["get"], &[&SECRET]),
    (REPORT, &[&NODE, &LEASE, &EVENT]),
    (&["update", "patch", "delete"], &[&POD]),
];

/// Parts of objects that have a line of their own, whatever the role may do to the objects: with a port of a pod one speaks as somebody inside
/// the cluster, and neither who only reads nor who only reports may. Deployers may in their namespace, where they could deploy a client.
const FORWARD: (&str, &Kind) = ("portforward", &POD);

/// The same of a part of objects (`status`, `log` …); empty for the objects themselves.
pub fn authorize_part(who: &Identity, verb: &str, kind: &Kind, part: &str, namespace: Option<&str>) -> bool {
    if (part, kind) != FORWARD {
        return authorize(who, verb, kind, namespace);
    }
    // `get` and `create` are one here: a WebSocket begins with a GET.
    let own = |group: &String| group.strip_prefix(DEPLOYERS).is_some_and(|own| !own.is_empty() && namespace == Some(own));
    matches!(verb, "get" | "create") && (who.is_admin() || who.groups.iter().any(own))
}

/// Whether somebody may do `verb` (as Kubernetes calls it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
/// `deletecollection`) on a kind, in a namespace or (`None`) in all. What no line grants is refused.
pub fn authorize(who: &Identity, verb: &str, kind: &Kind, namespace: Option<&str>) -> bool {
    who.is_admin() || who.groups.iter().any(|group| grants(group, verb, kind, namespace))
}

fn grants(group: &str, verb: &str, kind: &Kind, namespace: Option<&str>) -> bool {
    if let Some(own) = group.strip_prefix(VIEWERS_OF).filter(|own| !own.is_empty()) {
        let there = if kind.namespaced { namespace == Some(own) } else { COMMON.contains(&kind) };
        return there && READ.contains(&verb) && *kind != SECRET;
    }
    match group.strip_prefix(DEPLOYERS) {
        Some(own) if !own.is_empty() => deployer(own, verb, kind, namespace),
        _ if group == VIEWERS => READ.contains(&verb) && *kind != SECRET,
        _ if group == NODES => AGENT.iter().any(|(verbs, kinds)| verbs.contains(&verb) && kinds.contains(&kind)),
        _ => false,
    }
}

fn deployer(own: &str, verb: &str, kind: &Kind, namespace: Option<&str>) -> bool {
    if !kind.namespaced {
        return COMMON.contains(&kind) && READ.contains(&verb);
    }
    namespace == Some(own) && (READ.contains(&verb) || WRITE.contains(&verb) && DEPLOYED.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{CONTROLLER_REVISION, KINDS, POLICY};

    fn may(who: &Identity, verb: &str, kind: &Kind, namespace: &str) -> bool {
        authorize(who, verb, kind, Some(namespace).filter(|namespace| !namespace.is_empty()))
    }

    #[test]
    fn an_admin_may_do_everything_and_a_stranger_nothing() {
        let stranger = Identity { name: "admin".to_owned(), groups: vec!["deployers:".to_owned(), "others".to_owned()] };
        for kind in KINDS {
            for verb in READ.iter().chain(WRITE) {
                assert!(may(&Identity::admin(), verb, kind, "default"));
                assert!(!may(&stranger, verb, kind, "default"), "{verb} {}", kind.plural);
                assert!(!may(&stranger, verb, kind, ""), "{verb} {}", kind.plural);
            }
        }
    }

    #[test]
    fn a_viewer_reads_all_but_secrets() {
        let viewer = Identity::viewer("bob");
        for kind in KINDS {
            assert_eq!(may(&viewer, "list", kind, "shop"), *kind != &SECRET, "{}", kind.plural);
            assert!(!WRITE.iter().any(|verb| may(&viewer, verb, kind, "shop")), "{}", kind.plural);
        }
    }

    #[test]
    fn a_viewer_of_a_namespace_reads_there_and_a_joiner_nowhere() {
        let (viewer, joiner) = (Identity::viewer_of("bob", "shop"), Identity::joiner());
        for kind in KINDS {
            let common = kind.namespaced || COMMON.contains(kind);
            assert_eq!(
                may(&viewer, "list", kind, if kind.namespaced { "shop" } else { "" }),
                common && *kind != &SECRET,
                "{}",
                kind.plural
            );
            assert!(!kind.namespaced || !may(&viewer, "get", kind, "other") && !may(&viewer, "list", kind, ""), "{}", kind.plural);
            assert!(!WRITE.iter().any(|verb| may(&viewer, verb, kind, "shop")), "{}", kind.plural);
            assert!(
                !READ.iter().chain(WRITE).any(|verb| may(&joiner, verb, kind, "shop") || may(&joiner, verb, kind, "")),
                "{}",
                kind.plural
            );
        }
    }

    #[test]
    fn a_deployer_stays_in_its_namespace_and_writes_no_policy() {
        let deployer = Identity::deployer("alice", "shop");
        for verb in READ.iter().chain(WRITE) {
            assert!(may(&deployer, verb, &APP, "shop"));
            assert!(may(&deployer, verb, &SECRET, "shop"));
            assert!(!may(&deployer, verb, &APP, "shop2"), "{verb}");
            assert!(!may(&deployer, verb, &SECRET, ""), "{verb} in all namespaces");
        }
        for kind in [&POLICY, &CONTROLLER_REVISION, &EVENT, &ENDPOINT_SLICE, &LEASE] {
            assert!(may(&deployer, "get", kind, "shop"));
            assert!(!WRITE.iter().any(|verb| may(&deployer, verb, kind, "shop")), "{}", kind.plural);
        }
        assert!(may(&deployer, "list", &NODE, "") && !may(&deployer, "delete", &NODE, "") && !may(&deployer, "create", &NAMESPACE, ""));
    }

    #[test]
    fn ports_are_forwarded_by_those_who_deploy_there() {
        let may = |who: &Identity, namespace| authorize_part(who, "create", &POD, "portforward", Some(namespace));
        assert!(may(&Identity::admin(), "shop") && may(&Identity::deployer("alice", "shop"), "shop"));
        for who in [
            Identity::deployer("alice", "other"),
            Identity::viewer("bob"),
            Identity::viewer_of("bob", "shop"),
            Identity::node("n"),
            Identity::joiner(),
        ] {
            assert!(!may(&who, "shop"), "{}", who.name);
        }
        assert!(!authorize_part(&Identity::admin(), "delete", &POD, "portforward", Some("shop")));
        assert!(authorize_part(&Identity::viewer("bob"), "get", &POD, "log", Some("shop")));
    }

    #[test]
    fn an_agent_does_what_running_pods_takes() {
        let agent = Identity::node("edge-1");
        let table =
            |kind: &Kind| READ.iter().chain(WRITE).filter(|verb| may(&agent, verb, kind, "shop")).copied().collect::<Vec<_>>().join(" ");
        assert_eq!(table(&POD), "get list watch update patch delete");
        assert_eq!(table(&NODE), "get list watch create update patch");
        assert_eq!(table(&LEASE), "get list watch create update patch");
        assert_eq!(table(&EVENT), "create update patch");
        assert_eq!(table(&SECRET), "get");
        assert_eq!(table(&ENDPOINT_SLICE), "get list watch");
        for kind in [&APP, &DEPLOYMENT, &POLICY, &CONTROLLER_REVISION] {
            assert_eq!(table(kind), "", "{}", kind.plural);
        }
    }
}
