//! The rows of each kind.

use crate::kinds::Kind;

use super::Shape::{Any, Flag, List, Object, Text, Texts, Whole, WholeOrText, Word, Words};
use super::pod::SPEC as POD_SPEC;
use super::{Field, Shape, no, warn, yes};

/// Most replicas that one Deployment may ask for.
const MOST_REPLICAS: i64 = 100_000;

/// The rows of a kind; `None` where another module reads the whole object.
pub(super) fn of(kind: &Kind) -> Option<&'static [Field]> {
    Some(match kind.kind {
        "Deployment" => DEPLOYMENT,
        "ReplicaSet" => REPLICA_SET,
        "Pod" => POD,
        "Service" => SERVICE,
        "Ingress" => INGRESS,
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        "Namespace" => NAMESPACE,
        "Node" => NODE,
        "ServiceAccount" => SERVICE_ACCOUNT,
        _ => return None,
    })
}

const API_VERSION: Field = yes("apiVersion", Text);
const KIND: Field = yes("kind", Text);
const META: Field = yes("metadata", Object(METADATA));
const STATUS: Field = yes("status", Any);

static METADATA: &[Field] = &[
    yes("name", Text),
    yes("generateName", Text),
    yes("namespace", Text),
    yes("labels", Words),
    yes("annotations", Words),
    yes("ownerReferences", Any),
    yes("finalizers", Texts),
    yes("uid", Text),
    yes("resourceVersion", Text),
    yes("generation", Any),
    yes("creationTimestamp", Any),
    yes("deletionTimestamp", Any),
    yes("deletionGracePeriodSeconds", Any),
    yes("managedFields", Any),
    yes("selfLink", Any),
];

static SELECTOR: &[Field] = &[yes("matchLabels", Words), no("matchExpressions", "[]", "write matchLabels")];

/// A pod template; the page prints it once, as a Pod.
pub(super) static TEMPLATE: &[Field] = &[META, yes("spec", Object(POD_SPEC))];

const REPLICAS: Field = yes("replicas", Whole(0, MOST_REPLICAS));
const MIN_READY: Field = yes("minReadySeconds", Whole(0, 86400));

static DEPLOYMENT: &[Field] = &[
    API_VERSION,
    KIND,
    META,
    yes(
        "spec",
        Object(&[
            REPLICAS,
            yes("selector", Object(SELECTOR)),
            yes("template", Object(TEMPLATE)),
            yes(
                "strategy",
                Object(&[
                    yes("type", Word(&["RollingUpdate", "Recreate"])),
                    yes("rollingUpdate", Object(&[yes("maxSurge", WholeOrText), yes("maxUnavailable", WholeOrText)])),
                ]),
            ),
            MIN_READY,
            yes("revisionHistoryLimit", Whole(0, 1000)),
            yes("paused", Flag),
            yes("progressDeadlineSeconds", Whole(1, 86400)),
        ]),
    ),
    STATUS,
];

static REPLICA_SET: &[Field] = &[
    API_VERSION,
    KIND,
    META,
    yes("spec", Object(&[REPLICAS, MIN_READY, yes("selector", Object(SELECTOR)), yes("template", Object(TEMPLATE))])),
    STATUS,
];

static POD: &[Field] = &[API_VERSION, KIND, META, yes("spec", Object(POD_SPEC)), STATUS];

static SERVICE: &[Field] = &[
    API_VERSION,
    KIND,
    META,
    yes(
        "spec",
        Object(&[
            yes("selector", Words),
            yes("type", Word(&["ClusterIP"])),
            yes(
                "ports",
                List(&[
                    yes("name", Text),
                    yes("port", Whole(1, 65535)),
                    yes("targetPort", WholeOrText),
                    yes("protocol", Word(&["TCP"])),
                    warn("appProtocol", Text, "\"http\"", "guests speak HTTP"),
                    no("nodePort", "0", "not yet; route to it with an Ingress"),
                ]),
            ),
            warn("clusterIP", Text, "\"None\",\"\"", "services have names, not addresses"),
            warn("clusterIPs", Texts, "[\"None\"],[]", "services have names, not addresses"),
            warn("ipFamilies", Texts, "[\"IPv4\"],[\"IPv6\"]", "services have names, not addresses"),
            warn("ipFamilyPolicy", Text, "\"SingleStack\",\"PreferDualStack\"", "services have names, not addresses"),
            warn("internalTrafficPolicy", Text, "\"Cluster\"", "an endpoint on the caller's node is preferred"),
            warn("trafficDistribution", Text, "\"PreferClose\"", "an endpoint on the caller's node is preferred"),
            warn("publishNotReadyAddresses", Flag, "false", "only ready pods get requests"),
            warn("allocateLoadBalancerNodePorts", Flag, "true,false", "there are no load balancers"),
            no("sessionAffinity", "\"None\"", "not yet; leave it out"),
            no("sessionAffinityConfig", "{}", "not yet; leave it out"),
            no("externalName", "\"\"", "grant the guest the target itself (annotation wctl.dev/connect)"),
            no("externalIPs", "[]", "route to it with an Ingress"),
            no("loadBalancerIP", "\"\"", "route to it with an Ingress"),
            no("loadBalancerClass", "\"\"", "route to it with an Ingress"),
            no("loadBalancerSourceRanges", "[]", "route to it with an Ingress"),
            no("externalTrafficPolicy", "\"Cluster\"", "route to it with an Ingress"),
            no("healthCheckNodePort", "0", "route to it with an Ingress"),
        ]),
    ),
    STATUS,
];

static BACKEND: &[Field] = &[
    yes("service", Object(&[yes("name", Text), yes("port", Object(&[yes("number", Whole(1, 65535)), yes("name", Text)]))])),
    no("resource", "", "name a Service"),
];

static INGRESS: &[Field] = &[
    API_VERSION,
    KIND,
    META,
    yes(
        "spec",
        Object(&[
            yes(
                "rules",
                List(&[
                    yes("host", Text),
                    yes(
                        "http",
                        Object(&[yes(
                            "paths",
                            List(&[
                                yes("path", Text),
                                yes("pathType", Word(&["Prefix", "Exact", "ImplementationSpecific"])),
                                yes("backend", Object(BACKEND)),
                            ]),
                        )]),
                    ),
                ]),
            ),
            warn("ingressClassName", Text, "\"wctl\"", "every node's gateway serves every Ingress"),
            no("defaultBackend", "", "write a rule without a host, with the path /"),
            no("tls", "[]", "not yet; put a proxy that ends TLS in front of the gateway"),
        ]),
    ),
    STATUS,
];

static CONFIG_MAP: &[Field] = &[API_VERSION, KIND, META, yes("data", Words), yes("binaryData", Words), yes("immutable", Flag)];

static SECRET: &[Field] =
    &[API_VERSION, KIND, META, yes("data", Words), yes("stringData", Words), yes("type", Text), yes("immutable", Flag)];

static NAMESPACE: &[Field] = &[API_VERSION, KIND, META, yes("spec", Object(NAMESPACE_SPEC)), STATUS];

static NAMESPACE_SPEC: &[Field] =
    &[warn("finalizers", Texts, "[\"kubernetes\"],[]", "a namespace is always emptied first; to hold it back write metadata.finalizers")];

static NODE: &[Field] = &[
    API_VERSION,
    KIND,
    META,
    yes(
        "spec",
        Object(&[
            yes("unschedulable", Flag),
            warn("providerID", Text, "", "kept for you; nothing asks a provider"),
            warn("podCIDR", Text, "\"\"", "pods have no addresses of their own"),
            warn("podCIDRs", Texts, "[]", "pods have no addresses of their own"),
            no("taints", "[]", "set unschedulable, or select nodes by label"),
        ]),
    ),
    STATUS,
];

static SERVICE_ACCOUNT: &[Field] = &[
    API_VERSION,
    KIND,
    META,
    warn("automountServiceAccountToken", Flag, "false", "guests have no access to the API"),
    warn("imagePullSecrets", Shape::Any, "[]", "nodes pull with the credentials of `wctl login`"),
    warn("secrets", Shape::Any, "[]", "guests have no access to the API"),
];
