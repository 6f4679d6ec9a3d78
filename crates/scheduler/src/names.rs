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
/// Annotation of ReplicaSets and Pods: the image as typed, where `containers[0].image` holds a digest.
pub const TYPED_IMAGE: &str = "wctl.dev/image";
/// Annotation of a ReplicaSet: the pod template as typed, canonical JSON (how a ReplicaSet is matched to its Deployment).
pub const TYPED_TEMPLATE: &str = "wctl.dev/template";
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
/// Services of the same App that the guest may call as `http://NAME.internal`: `user,inventory`.
pub const CALL: &str = "wctl.dev/call";
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
/// How the pods of a service are spread over nodes: `node` (the default) or the name of a node label's last part (`zone`).
pub const SPREAD: &str = "wctl.dev/spread";

/// Annotation of a Deployment that an App owns: what to do when a revision is not ready in time: `rollback` or `pause`.
pub const ON_FAILURE: &str = "wctl.dev/on-failure";
/// Annotation of a Deployment: how long a ready revision is watched before the rollout goes on: `60s`.
pub const BAKE: &str = "wctl.dev/bake";
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
