//! Labels, annotations and fixed names that objects carry between the parts of wctl.

/// Group of our own kinds, and the prefix of every label and annotation.
pub const GROUP: &str = "wctl.dev";

/// Label on everything that an App expands to: the App's name.
pub const APP: &str = "wctl.dev/app";
/// Label on everything that one service of an App expands to: the service's name.
pub const SERVICE: &str = "wctl.dev/service";
/// Label that tells the ReplicaSets of one Deployment apart.
pub const TEMPLATE_HASH: &str = "pod-template-hash";

/// Annotation of a Deployment and its ReplicaSets: the number of the revision.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Annotation of Pods, and of templates that hold a digest: the image as typed.
pub const TYPED_IMAGE: &str = "wctl.dev/image";
/// Annotation of a ReplicaSet whose template is as typed: the exact image that its pods get, whatever the tag means by now.
pub const EXACT_IMAGE: &str = "wctl.dev/exact-image";
/// Annotation of a ReplicaSet whose template holds a digest, as the first releases made them: the template as typed, canonical JSON.
pub const TYPED_TEMPLATE: &str = "wctl.dev/template";
/// Annotation of an object: what plain `kubectl apply` sent last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotation of a pod that was evicted where its service cannot do without it: another takes its place first.
pub const EVICTED: &str = "wctl.dev/evicted";
/// Finalizer of what is deleted after everything that it owns.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Annotation of a Deployment and its ReplicaSets: why it was changed, for `kubectl rollout history`.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// Annotation of a pod template: when `rollout restart` was asked for.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

// Capabilities and limits that a Pod lacks; on the pod template, comma-separated where they list things, usable by hand.

/// Buckets of `wasi:keyvalue` that the guest may open: `users,stock`.
pub const KEYVALUE: &str = "wctl.dev/keyvalue";
/// Targets that the guest may connect to: `https://api.mail.example:443,tcp://db.example:5432`.
pub const CONNECT: &str = "wctl.dev/connect";
/// TCP ports of its node that the guest may listen on: `5000/tcp`.
pub const LISTEN: &str = "wctl.dev/listen";
/// Containers of `wasi:blobstore` that the guest may open: `uploads`.
pub const BLOBS: &str = "wctl.dev/blobs";
/// Volumes of the guest, where it sees them and the most that each holds: `/data=100Mi,/cache=1Gi`.
pub const VOLUMES: &str = "wctl.dev/volumes";
/// Services that the guest may call: of the same App as `http://NAME.internal`, others by name and namespace: `user,orders.billing`.
pub const CALL: &str = "wctl.dev/call";
/// Annotation of a Service: namespaces beside its own whose pods may call it, where they are granted to: `shop,billing` or `*`.
pub const CALLERS: &str = "wctl.dev/callers";
/// Longest time that one request may take: `5s`, `500ms`.
pub const TIME: &str = "wctl.dev/time";
/// Requests that one pod works on at once: `100`.
pub const CONCURRENCY: &str = "wctl.dev/concurrency";
/// Requests that a sandbox may serve before it is thrown away: `1`.
pub const REUSE: &str = "wctl.dev/reuse";
/// How long a crashed instance waits, first and at most: `100ms..30s`.
pub const BACKOFF: &str = "wctl.dev/restart-backoff";
/// How long an instance must be well before its back-off starts anew: `60s`.
pub const BACKOFF_RESET: &str = "wctl.dev/restart-reset";
/// `appProtocol` of an EndpointSlice's port on which the pods listen themselves.
pub const TCP: &str = "wctl.dev/tcp";
/// How the pods of a service are spread over nodes: `node` (the default) or the last part of a node label's name
/// (`zone`); of several, `zone,rack`, the first comes before the others.
pub const SPREAD: &str = "wctl.dev/spread";

/// Annotation of a Deployment that an App owns: what to do when a revision is not ready in time: `rollback` or `pause`.
pub const ON_FAILURE: &str = "wctl.dev/on-failure";
/// Annotation of a Deployment: how long a ready revision is watched before the rollout goes on: `60s`.
pub const BAKE: &str = "wctl.dev/bake";
/// Annotation of a pod that may sleep: how many seconds without a request it stays awake. It is the autoscaler's whose fewest pods are 0.
pub const SLEEP: &str = "wctl.dev/sleep";
/// Condition of a pod that sleeps: nothing of it runs, and its node wakes it with the first request.
pub const ASLEEP: &str = "wctl.dev/Asleep";
/// What is said of whatever sleeps.
pub const SLEEPS: &str = "asleep, wakes on a request";
/// Annotation of a Deployment: the share of the pods, and of the requests, that a new revision gets until it has baked: `10%`.
/// Of an EndpointSlice: that share, and the UIDs of the pods that it goes to: `10% UID,UID`.
pub const CANARY: &str = "wctl.dev/canary";
/// Annotation of a node's Lease: the loads of its busy pods, `{"UID": [concurrency, requests per second, cores, requests, failures]}`, the
/// first three in thousandths, the last two of about the last two minutes.
pub const LOAD: &str = "wctl.dev/load";
/// The metric `Pods` of an autoscaler that counts the requests that a pod works on.
pub const CONCURRENCY_METRIC: &str = "concurrency";
/// The metric `Pods` of an autoscaler that counts a pod's requests in a second.
pub const REQUESTS_METRIC: &str = "requests_per_second";

/// Label of a Job's pods: the Job's UID.
pub const JOB_UID: &str = "batch.kubernetes.io/controller-uid";
/// Label of a Job's pods: the Job's name.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// Label and annotation of an indexed Job's pod: its number.
pub const JOB_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation of a Job's pod whose end is in the Job's status.
pub const COUNTED: &str = "wctl.dev/counted";
/// Annotation of a Job that a CronJob made: the tick that it is for.
pub const CRON_TICK: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Annotation of an App: why it was rolled back, for people.
pub const ROLLED_BACK: &str = "wctl.dev/rolled-back";
/// Annotation of an App's ControllerRevision that did not work and was rolled back from: why.
pub const FAILED: &str = "wctl.dev/failed";

/// The Secret of a namespace in which `wctl secret set NAME` keeps its values, one key each.
pub const SECRETS: &str = "wctl-secrets";
/// The namespace that is meant when none is named.
pub const DEFAULT_NAMESPACE: &str = "default";
/// The `runtimeClassName` of every pod.
pub const RUNTIME_CLASS: &str = "wasm";
