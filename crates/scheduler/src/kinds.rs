//! The kinds that the API serves, and where each is kept in the store.

/// One kind of object: how its URL, its manifest and its store key name it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// `""` for the core group.
    pub group: &'static str,
    /// `v1`, `v2` …
    pub version: &'static str,
    /// As in a manifest: `ReplicaSet`.
    pub kind: &'static str,
    /// As in a URL: `replicasets`.
    pub plural: &'static str,
    /// As a person may type it.
    pub singular: &'static str,
    /// As a person in a hurry may type it.
    pub short_names: &'static [&'static str],
    /// Whether objects of it live in a namespace.
    pub namespaced: bool,
    /// Whether `…/status` is a subresource, so that a write to the object leaves its status alone.
    pub status: bool,
    /// Whether `…/scale` is a subresource.
    pub scale: bool,
}

impl Kind {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Where all objects of this kind are kept: `/objects/apps/deployments/`, or with a namespace `/objects/apps/deployments/default/`.
    /// The core group is written `core`; the version is not part of the key, so that it may change.
    pub fn prefix(&self, namespace: Option<&str>) -> String {
        let group = if self.group.is_empty() { "core" } else { self.group };
        match namespace {
            Some(namespace) if self.namespaced => format!("/objects/{group}/{}/{namespace}/", self.plural),
            _ => format!("/objects/{group}/{}/", self.plural),
        }
    }

    /// Where one object is kept: `/objects/apps/deployments/default/hello`, `/objects/core/nodes/edge-1`.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        format!("{}{name}", self.prefix(Some(namespace)))
    }

    /// Whether nobody writes objects of it: the API's own claims, and kinds that are empty for ever, which clients ask for.
    pub fn is_read_only(&self) -> bool {
        matches!(self.kind, "RouteClaim" | "DaemonSet" | "StatefulSet")
    }

    /// The kind of a manifest's `apiVersion` and `kind`.
    pub fn of(api_version: &str, kind: &str) -> Option<&'static Kind> {
        KINDS.iter().copied().find(|k| k.kind == kind && k.api_version() == api_version)
    }

    /// The kind of a URL's group, version and plural.
    pub fn at(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
        KINDS.iter().copied().find(|k| k.group == group && k.version == version && k.plural == plural)
    }

    /// The kind that a person means by `deploy`, `deployments`, `Deployment` or `deployments.apps`.
    pub fn named(word: &str) -> Option<&'static Kind> {
        let word = word.to_ascii_lowercase();
        KINDS.iter().copied().find(|k| {
            word == k.plural || word == k.singular || k.short_names.contains(&word.as_str()) || word == format!("{}.{}", k.plural, k.group)
        })
    }
}

macro_rules! kinds {
    ($($constant:ident = $group:literal $version:literal $kind:literal $plural:literal $singular:literal $short:expr, $namespaced:literal, $status:literal, $scale:literal;)*) => {
        $(
            #[doc = concat!("`", $kind, "` of `", $group, "/", $version, "`.")]
            pub static $constant: Kind = Kind {
                group: $group, version: $version, kind: $kind, plural: $plural, singular: $singular,
                short_names: &$short, namespaced: $namespaced, status: $status, scale: $scale,
            };
        )*
        /// Every kind that the API serves.
        pub static KINDS: &[&Kind] = &[$(&$constant),*];
    };
}

kinds! {
    // constant             group version kind plural singular short names, namespaced, status, scale
    APP                   = "wctl.dev" "v1" "App" "apps" "app" ["a"], true, true, false;
    // What a namespace allows its deployers; only an admin writes it.
    POLICY                = "wctl.dev" "v1" "Policy" "policies" "policy" ["pol"], true, false, false;
    // A host and path that an App has; written by the API alone, in the App's own commit.
    ROUTE_CLAIM           = "wctl.dev" "v1" "RouteClaim" "routeclaims" "routeclaim" ["route", "routes"], false, false, false;
    DEPLOYMENT            = "apps" "v1" "Deployment" "deployments" "deployment" ["deploy"], true, true, true;
    REPLICA_SET           = "apps" "v1" "ReplicaSet" "replicasets" "replicaset" ["rs"], true, true, true;
    CONTROLLER_REVISION   = "apps" "v1" "ControllerRevision" "controllerrevisions" "controllerrevision" [], true, false, false;
    // Nobody makes these two; clients look for them.
    DAEMON_SET            = "apps" "v1" "DaemonSet" "daemonsets" "daemonset" ["ds"], true, true, false;
    STATEFUL_SET          = "apps" "v1" "StatefulSet" "statefulsets" "statefulset" ["sts"], true, true, true;
    POD                   = "" "v1" "Pod" "pods" "pod" ["po"], true, true, false;
    SERVICE               = "" "v1" "Service" "services" "service" ["svc"], true, true, false;
    NODE                  = "" "v1" "Node" "nodes" "node" ["no"], false, true, false;
    NAMESPACE             = "" "v1" "Namespace" "namespaces" "namespace" ["ns"], false, true, false;
    CONFIG_MAP            = "" "v1" "ConfigMap" "configmaps" "configmap" ["cm"], true, false, false;
    SECRET                = "" "v1" "Secret" "secrets" "secret" [], true, false, false;
    // Charts make one for each release; guests have no access to the API, so nothing comes of it.
    SERVICE_ACCOUNT       = "" "v1" "ServiceAccount" "serviceaccounts" "serviceaccount" ["sa"], true, false, false;
    EVENT                 = "" "v1" "Event" "events" "event" ["ev"], true, false, false;
    JOB                   = "batch" "v1" "Job" "jobs" "job" [], true, true, false;
    CRON_JOB              = "batch" "v1" "CronJob" "cronjobs" "cronjob" ["cj"], true, true, false;
    HPA                   = "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" "horizontalpodautoscaler" ["hpa"], true, true, false;
    INGRESS               = "networking.k8s.io" "v1" "Ingress" "ingresses" "ingress" ["ing"], true, true, false;
    ENDPOINT_SLICE        = "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" "endpointslice" [], true, false, false;
    LEASE                 = "coordination.k8s.io" "v1" "Lease" "leases" "lease" [], true, false, false;
}
