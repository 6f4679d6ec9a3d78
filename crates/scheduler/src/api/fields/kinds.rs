//! The rows of each kind.

use crate::kinds::Kind;

use super::Shape::{Any, Flag, List, Object, Quantity, Text, Texts, Whole, WholeOrText, Word, Words};
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
        "Job" => JOB,
        "CronJob" => CRON_JOB,
        "HorizontalPodAutoscaler" => SCALER,
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

static JOB_SPEC: &[Field] = &[
    yes("parallelism", Whole(0, MOST_REPLICAS)),
    yes("completions", Whole(0, MOST_REPLICAS)),
    yes("completionMode", Word(&["NonIndexed", "Indexed"])),
    yes("backoffLimit", Whole(0, i32::MAX as i64)),
    yes("activeDeadlineSeconds", Whole(1, MOST_SECONDS)),
    yes("ttlSecondsAfterFinished", Whole(0, MOST_SECONDS)),
    yes("suspend", Flag),
    yes("selector", Object(SELECTOR)),
    yes("template", Object(TEMPLATE)),
    warn(
        "podReplacementPolicy",
        Word(&["TerminatingOrFailed", "Failed"]),
        "\"TerminatingOrFailed\"",
        "a pod that is on its way out is replaced at once",
    ),
    no("manualSelector", "false", "the selector is made of the job's UID; leave it out"),
    no("podFailurePolicy", "", "every failure counts as one; leave it out"),
    no("successPolicy", "", "write how many completions it takes"),
    no("backoffLimitPerIndex", "", "write backoffLimit, which counts for all pods together"),
    no("maxFailedIndexes", "", "write backoffLimit, which counts for all pods together"),
    no("managedBy", "\"kubernetes.io/job-controller\"", "jobs are run by the scheduler itself; leave it out"),
];

/// Most seconds that a time in a Job may be.
const MOST_SECONDS: i64 = i32::MAX as i64;

static JOB: &[Field] = &[API_VERSION, KIND, META, yes("spec", Object(JOB_SPEC)), STATUS];

static CRON_JOB: &[Field] = &[
    API_VERSION,
    KIND,
    META,
    yes(
        "spec",
        Object(&[
            yes("schedule", Text),
            yes("timeZone", Text),
            yes("startingDeadlineSeconds", Whole(0, MOST_SECONDS)),
            yes("concurrencyPolicy", Word(&["Allow", "Forbid", "Replace"])),
            yes("suspend", Flag),
            yes("successfulJobsHistoryLimit", Whole(0, 1000)),
            yes("failedJobsHistoryLimit", Whole(0, 1000)),
            yes("jobTemplate", Object(&[META, yes("spec", Object(JOB_SPEC))])),
        ]),
    ),
    STATUS,
];

const AT_ONCE: &str = "pods are added at once, and taken away after stabilizationWindowSeconds; leave it out";

static RULES_UP: &[Field] = &[
    no("stabilizationWindowSeconds", "0", AT_ONCE),
    yes("selectPolicy", Word(&["Max", "Disabled"])),
    no("policies", "[]", AT_ONCE),
    no("tolerance", "\"100m\",\"0.1\"", "a load that is off by a tenth moves nothing; leave it out"),
];

static RULES_DOWN: &[Field] = &[
    yes("stabilizationWindowSeconds", Whole(0, 3600)),
    yes("selectPolicy", Word(&["Max", "Disabled"])),
    no("policies", "[]", AT_ONCE),
    no("tolerance", "\"100m\",\"0.1\"", "a load that is off by a tenth moves nothing; leave it out"),
];

const OURS: &str = "write a metric of type Resource (cpu) or Pods (concurrency, requests_per_second)";

static METRICS: &[Field] = &[
    yes("type", Word(&["Resource", "Pods"])),
    yes(
        "resource",
        Object(&[
            yes("name", Word(&["cpu"])),
            yes(
                "target",
                Object(&[
                    yes("type", Word(&["Utilization", "AverageValue"])),
                    yes("averageUtilization", Whole(1, 1_000_000)),
                    yes("averageValue", Quantity),
                ]),
            ),
        ]),
    ),
    yes(
        "pods",
        Object(&[
            yes(
                "metric",
                Object(&[
                    yes("name", Word(&["concurrency", "requests_per_second"])),
                    no("selector", "{}", "the pods' own counts have no labels; leave it out"),
                ]),
            ),
            yes("target", Object(&[yes("type", Word(&["AverageValue"])), yes("averageValue", Quantity)])),
        ]),
    ),
    no("object", "", OURS),
    no("external", "", OURS),
    no("containerResource", "", OURS),
];

static SCALER: &[Field] = &[
    API_VERSION,
    KIND,
    META,
    yes(
        "spec",
        Object(&[
            yes("scaleTargetRef", Object(&[yes("apiVersion", Text), yes("kind", Word(&["Deployment"])), yes("name", Text)])),
            yes("minReplicas", Whole(0, MOST_REPLICAS)),
            yes("maxReplicas", Whole(1, MOST_REPLICAS)),
            yes("metrics", List(METRICS)),
            yes("behavior", Object(&[yes("scaleUp", Object(RULES_UP)), yes("scaleDown", Object(RULES_DOWN))])),
        ]),
    ),
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
            yes("type", Word(&["ClusterIP", "NodePort", "LoadBalancer"])),
            yes(
                "ports",
                List(&[
                    yes("name", Text),
                    yes("port", Whole(1, 65535)),
                    yes("targetPort", WholeOrText),
                    yes("protocol", Word(&["TCP"])),
                    warn("appProtocol", Text, "\"http\"", "guests speak HTTP"),
                    yes("nodePort", Whole(0, 65535)),
                ]),
            ),
            warn("clusterIP", Text, "\"None\",\"\"", "services have names, not addresses"),
            warn("clusterIPs", Texts, "[\"None\"],[]", "services have names, not addresses"),
            warn("ipFamilies", Texts, "[\"IPv4\"],[\"IPv6\"]", "services have names, not addresses"),
            warn("ipFamilyPolicy", Text, "\"SingleStack\",\"PreferDualStack\"", "services have names, not addresses"),
            warn("internalTrafficPolicy", Text, "\"Cluster\"", "an endpoint on the caller's node is preferred"),
            warn("trafficDistribution", Text, "\"PreferClose\"", "an endpoint on the caller's node is preferred"),
            warn("publishNotReadyAddresses", Flag, "false", "only ready pods get requests"),
            yes("allocateLoadBalancerNodePorts", Flag),
            no("sessionAffinity", "\"None\"", "clients behind one address would all get one pod; leave it out"),
            no("sessionAffinityConfig", "{}", "clients behind one address would all get one pod; leave it out"),
            no("externalName", "\"\"", "grant the guest the target itself (annotation wctl.dev/connect)"),
            no("externalIPs", "[]", "the nodes' own addresses are answered on; leave it out"),
            no("loadBalancerIP", "\"\"", "the nodes' own addresses are answered on; leave it out"),
            no("loadBalancerClass", "\"\"", "every node's gateway serves it; leave it out"),
            no("loadBalancerSourceRanges", "[]", "keep others out with a firewall in front of the nodes"),
            no("externalTrafficPolicy", "\"Cluster\"", "every node answers for all pods; leave it out"),
            no("healthCheckNodePort", "0", "every node answers for all pods; leave it out"),
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
