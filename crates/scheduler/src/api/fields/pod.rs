//! The rows of a Pod and of the pod templates.

use super::Shape::{Any, Flag, List, Object, Quantity, Text, Texts, Whole, WholeOrText, Word, Words};
use super::{Field, no, warn, yes};

const NO_LINUX: &str = "a component has no Linux underneath; leave it out";
const ONE_CONTAINER: &str = "a pod runs one component; deploy the other one as a service of its own";
const PROBE_BY_HTTP: &str = "the guest is probed by HTTP; write httpGet";
const NO_ACCOUNT: &str = "guests have no access to the API, so an account changes nothing";
const NO_DISK: &str = "a component has no disk unless it is granted one";
const NOT_YET: &str = "not yet; leave it out";

/// `spec` of a Pod.
pub(super) static SPEC: &[Field] = &[
    yes("containers", List(CONTAINER)),
    yes("restartPolicy", Word(&["Always", "OnFailure", "Never"])),
    yes("nodeSelector", Words),
    yes("nodeName", Text),
    yes("terminationGracePeriodSeconds", Whole(0, 3600)),
    yes("runtimeClassName", Word(&["wasm"])),
    warn("serviceAccountName", Text, "\"default\"", NO_ACCOUNT),
    warn("serviceAccount", Text, "\"default\"", NO_ACCOUNT),
    warn("automountServiceAccountToken", Flag, "false", NO_ACCOUNT),
    warn("imagePullSecrets", Any, "[]", "nodes pull with the credentials of `wctl login`"),
    warn("dnsPolicy", Text, "\"ClusterFirst\"", "guests resolve names through their node"),
    warn("dnsConfig", Any, "{}", "guests resolve names through their node"),
    warn("schedulerName", Text, "\"default-scheduler\"", "there is one scheduler"),
    warn("tolerations", Any, "[]", "nodes have no taints"),
    warn("priorityClassName", Text, "\"\"", "pods have no priorities"),
    warn("priority", Any, "0", "pods have no priorities"),
    warn("preemptionPolicy", Text, "\"PreemptLowerPriority\"", "pods have no priorities"),
    warn("enableServiceLinks", Flag, "true,false", "guests get declared variables only"),
    warn("hostname", Text, "", "HOSTNAME is the pod's name"),
    warn("subdomain", Text, "", "pods have no names of their own in DNS"),
    warn("setHostnameAsFQDN", Flag, "false", "HOSTNAME is the pod's name"),
    warn("hostUsers", Flag, "true,false", "a component has no users"),
    warn("os", Any, "{\"name\":\"linux\"}", "a component runs on every system"),
    warn("securityContext", Object(POD_SECURITY), "{}", "the sandbox is stricter than any of this"),
    no("affinity", "{}", "write nodeSelector, or the annotation wctl.dev/spread"),
    yes("topologySpreadConstraints", List(SPREAD)),
    no("hostNetwork", "false", "a component has no network of its own; route to it with a Service or an Ingress"),
    no("hostPID", "false", NO_LINUX),
    no("hostIPC", "false", NO_LINUX),
    no("shareProcessNamespace", "false", NO_LINUX),
    no("hostAliases", "[]", NOT_YET),
    no("initContainers", "[]", ONE_CONTAINER),
    no("ephemeralContainers", "[]", ONE_CONTAINER),
    yes("volumes", List(VOLUME)),
    no("activeDeadlineSeconds", "", NOT_YET),
    no("overhead", "{}", "the node knows what a sandbox costs; leave it out"),
    no("readinessGates", "[]", NOT_YET),
    no("resourceClaims", "[]", NOT_YET),
    no("schedulingGates", "[]", NOT_YET),
    no("resources", "{}", "write the limits on the container"),
];

static POD_SECURITY: &[Field] = &[
    yes("runAsUser", Any),
    yes("runAsGroup", Any),
    yes("runAsNonRoot", Flag),
    yes("fsGroup", Any),
    yes("fsGroupChangePolicy", Text),
    yes("supplementalGroups", Any),
    yes("supplementalGroupsPolicy", Text),
    yes("seccompProfile", Any),
    yes("appArmorProfile", Any),
    yes("seLinuxOptions", Any),
    no("sysctls", "[]", NO_LINUX),
    no("windowsOptions", "{}", "a component has no Windows underneath; leave it out"),
];

static CONTAINER: &[Field] = &[
    yes("name", Text),
    yes("image", Text),
    yes("args", Texts),
    yes("env", List(ENV)),
    yes("envFrom", List(ENV_FROM)),
    yes("ports", List(PORT)),
    yes("resources", Object(RESOURCES)),
    yes("readinessProbe", Object(PROBE)),
    yes("livenessProbe", Object(PROBE)),
    no("startupProbe", "{}", "not yet; give the livenessProbe an initialDelaySeconds"),
    warn(
        "imagePullPolicy",
        Word(&["Always", "IfNotPresent", "Never"]),
        "\"Always\",\"IfNotPresent\"",
        "artifacts are pulled by digest, once for each node",
    ),
    warn("terminationMessagePath", Text, "\"/dev/termination-log\"", "the message is the trap's own"),
    warn("terminationMessagePolicy", Text, "\"File\",\"FallbackToLogsOnError\"", "the message is the trap's own"),
    warn("securityContext", Object(SECURITY), "{}", "the sandbox is stricter than any of this"),
    warn("resizePolicy", Any, "[]", "new limits make a new revision"),
    no("command", "[]", "a component has one entry point; give it args"),
    no("workingDir", "\"\"", "a component has no file system unless it is granted one; leave it out"),
    yes("volumeMounts", List(MOUNT)),
    no("volumeDevices", "[]", NO_LINUX),
    no("lifecycle", "{}", "requests are drained before a pod stops, and hooks have nothing to run; leave it out"),
    no("stdin", "false", "nothing can be attached to a component; leave it out"),
    no("stdinOnce", "false", "nothing can be attached to a component; leave it out"),
    no("tty", "false", "nothing can be attached to a component; leave it out"),
    no("restartPolicy", "", ONE_CONTAINER),
];

static SECURITY: &[Field] = &[
    no("privileged", "false", "nothing in a sandbox can be privileged; name what the guest needs under `uses` or in wctl.dev annotations"),
    no("procMount", "\"Default\"", NO_LINUX),
    no("windowsOptions", "{}", "a component has no Windows underneath; leave it out"),
    yes("capabilities", Object(CAPABILITIES)),
    yes("allowPrivilegeEscalation", Flag),
    yes("readOnlyRootFilesystem", Flag),
    yes("runAsUser", Any),
    yes("runAsGroup", Any),
    yes("runAsNonRoot", Flag),
    yes("seccompProfile", Any),
    yes("appArmorProfile", Any),
    yes("seLinuxOptions", Any),
];

static CAPABILITIES: &[Field] =
    &[yes("drop", Texts), no("add", "[]", "Linux capabilities mean nothing to a component; name what the guest needs under `uses`")];

static ENV: &[Field] = &[yes("name", Text), yes("value", Text), yes("valueFrom", Object(ENV_SOURCE))];

static ENV_SOURCE: &[Field] = &[
    yes("secretKeyRef", Object(KEY_REFERENCE)),
    yes("configMapKeyRef", Object(KEY_REFERENCE)),
    yes("fieldRef", Object(&[yes("fieldPath", Text), yes("apiVersion", Text)])),
    yes("resourceFieldRef", Object(&[yes("resource", Text), yes("containerName", Text), yes("divisor", Quantity)])),
    no("fileKeyRef", "", "write the value itself"),
];

static KEY_REFERENCE: &[Field] = &[yes("name", Text), yes("key", Text), yes("optional", Flag)];

static ENV_FROM: &[Field] = &[
    yes("prefix", Text),
    yes("configMapRef", Object(&[yes("name", Text), yes("optional", Flag)])),
    yes("secretRef", Object(&[yes("name", Text), yes("optional", Flag)])),
];

static SPREAD: &[Field] = &[
    yes("topologyKey", Text),
    yes("maxSkew", Whole(1, 1000)),
    warn(
        "whenUnsatisfiable",
        Word(&["ScheduleAnyway", "DoNotSchedule"]),
        "\"ScheduleAnyway\"",
        "pods are spread as evenly as there is room, and wait for nothing else",
    ),
    warn("labelSelector", Any, "", "the pods of the same Deployment are spread"),
    warn("matchLabelKeys", Any, "[]", "the pods of the same Deployment are spread"),
    warn("minDomains", Any, "", "pods are spread as evenly as there is room, and wait for nothing else"),
    warn("nodeAffinityPolicy", Text, "\"Honor\"", "only nodes that may have the pod count"),
    warn("nodeTaintsPolicy", Text, "\"Ignore\"", "nodes have no taints"),
];

const OTHER_VOLUME: &str = "there are emptyDir, configMap and secret; what shall outlive the pod goes into the annotation wctl.dev/volumes";
const MODE: &str = "files are read-only, and the guest alone sees them";

static VOLUME: &[Field] = &[
    yes("name", Text),
    yes(
        "emptyDir",
        Object(&[
            yes("sizeLimit", Quantity),
            warn("medium", Text, "\"\"", "it is a folder of the node's disk, of 64Mi where no sizeLimit is written"),
        ]),
    ),
    yes("configMap", Object(&[yes("name", Text), yes("items", List(ITEM)), yes("optional", Flag), warn("defaultMode", Any, "420", MODE)])),
    yes(
        "secret",
        Object(&[yes("secretName", Text), yes("items", List(ITEM)), yes("optional", Flag), warn("defaultMode", Any, "420", MODE)]),
    ),
    no("hostPath", "", OTHER_VOLUME),
    no("persistentVolumeClaim", "", OTHER_VOLUME),
    no("projected", "", OTHER_VOLUME),
    no("downwardAPI", "", "take it from the environment (env[].valueFrom.fieldRef)"),
    no("ephemeral", "", OTHER_VOLUME),
    no("csi", "", OTHER_VOLUME),
    no("nfs", "", OTHER_VOLUME),
    no("image", "", OTHER_VOLUME),
];

static ITEM: &[Field] = &[yes("key", Text), yes("path", Text), warn("mode", Any, "", MODE)];

static MOUNT: &[Field] = &[
    yes("name", Text),
    yes("mountPath", Text),
    yes("readOnly", Flag),
    no("subPath", "\"\"", "mount the whole volume, and name its files with `items`"),
    no("subPathExpr", "\"\"", "mount the whole volume, and name its files with `items`"),
    warn("mountPropagation", Text, "\"None\"", "a guest mounts nothing"),
    warn("recursiveReadOnly", Text, "\"Disabled\"", "a guest mounts nothing"),
];

static PORT: &[Field] = &[
    yes("name", Text),
    yes("containerPort", Whole(1, 65535)),
    yes("protocol", Word(&["TCP"])),
    no("hostPort", "0", "a component has no port of its own; route to it with a Service or an Ingress"),
    no("hostIP", "\"\"", "a component has no port of its own; route to it with a Service or an Ingress"),
];

static RESOURCES: &[Field] = &[yes("limits", Object(LIMITS)), yes("requests", Object(REQUESTS)), no("claims", "[]", NOT_YET)];

static LIMITS: &[Field] = &[yes("memory", Quantity), yes("cpu", Quantity), warn("ephemeral-storage", Quantity, "", NO_DISK)];

static REQUESTS: &[Field] = &[yes("memory", Quantity), yes("cpu", Quantity), warn("ephemeral-storage", Quantity, "", NO_DISK)];

static PROBE: &[Field] = &[
    yes("httpGet", Object(HTTP_GET)),
    yes("initialDelaySeconds", Whole(0, 86400)),
    yes("periodSeconds", Whole(1, 86400)),
    yes("timeoutSeconds", Whole(1, 86400)),
    yes("successThreshold", Whole(1, 1000)),
    yes("failureThreshold", Whole(1, 1000)),
    warn("terminationGracePeriodSeconds", Any, "", "the pod's own is used"),
    no("exec", "", PROBE_BY_HTTP),
    no("tcpSocket", "", PROBE_BY_HTTP),
    no("grpc", "", PROBE_BY_HTTP),
];

static HTTP_GET: &[Field] = &[
    yes("path", Text),
    yes("port", WholeOrText),
    yes("scheme", Word(&["HTTP"])),
    yes("httpHeaders", List(&[yes("name", Text), yes("value", Text)])),
    no("host", "\"\"", "the pod itself is probed; send a Host header with httpHeaders"),
];
