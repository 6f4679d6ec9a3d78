//! Every key of app.yaml in one table: it drives the reader, the JSON Schema and the reference for users.

use super::word::{self, Word};

/// One key of a map.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What may stand behind it.
    pub form: Form,
    /// What is meant where it is absent, for people; empty where absence has no meaning of its own.
    pub default: &'static str,
    /// One sentence for people.
    pub about: &'static str,
    /// Whether its engine is still to come: the key is checked, then refused with "not yet".
    pub later: bool,
    /// Whether its map is a mistake without it.
    pub required: bool,
}

/// What may stand behind a key.
#[derive(Debug)]
pub enum Form {
    /// One scalar.
    Scalar(&'static Word),
    /// A whole number within bounds.
    Whole(u64, u64),
    /// A map with these keys.
    Map(&'static [Key]),
    /// A map from names of the user's choice.
    Named(&'static Word, &'static Form),
    /// A list.
    List(&'static Form),
    /// One, or a list of them.
    OneOrMore(&'static Form),
    /// A scalar that stands for a map, or the map. The scalar reads as the map, or is the value of its first key.
    Short(&'static Word, &'static [Key]),
    /// The first that fits; a scalar of the second kind is tried where the first refuses text.
    Either(&'static Form, &'static Form),
}

const fn key(name: &'static str, form: Form, default: &'static str, about: &'static str) -> Key {
    Key { name, form, default, about, later: false, required: false }
}

const fn later(name: &'static str, form: Form, default: &'static str, about: &'static str) -> Key {
    Key { name, form, default, about, later: true, required: false }
}

const fn required(name: &'static str, form: Form, about: &'static str) -> Key {
    Key { name, form, default: "", about, later: false, required: true }
}

use Form::{Either, List, Map, Named, OneOrMore, Scalar, Short, Whole};

/// The most pods that one service may ask for.
pub const MOST_REPLICAS: u64 = 10_000;

/// Keys at the top of the file. In the short form those of [`SERVICE`] stand beside them.
pub static TOP: &[Key] = &[
    required("app", Scalar(&word::APP), "The App's name: at most 63 lower-case letters, digits and `-`."),
    key("namespace", Scalar(&word::NAMESPACE), "the one that `wctl` is set to, else `default`", "The namespace in which it lives."),
    key("services", Named(&word::SERVICE, &Map(SERVICE)), "one service named like the app", "The services, 1 to 25 of them, by name."),
    key(
        "env",
        Named(&word::VARIABLE, &Scalar(&word::TEXT)),
        "none",
        "Environment variables that every service inherits; a service's own win.",
    ),
    key("rollout", Map(ROLLOUT), "", "How a change replaces the pods of each service."),
    later("lost", Map(LOST), "", "What becomes of pods on a node that went silent."),
    later("tls", Named(&word::HOST, &Scalar(&word::TEXT)), "none", "Hosts that are served with a certificate, and where it comes from."),
];

/// Keys of one service.
pub static SERVICE: &[Key] = &[
    key("image", Scalar(&word::IMAGE), "", "A local component (`./hello.wasm`) or a reference (`ghcr.io/acme/report:2.0`)."),
    key("build", Short(&word::PATH, BUILD), "", "A folder that `wctl` builds the component from."),
    key("static", Scalar(&word::PATH), "", "A folder of files that the gateway serves, instead of a component."),
    key("replicas", Either(&Whole(0, MOST_REPLICAS), &Scalar(&word::EACH_NODE)), "`1`", "How many pods; 0 means stopped."),
    key("scale", Map(SCALE), "", "Between how many pods to scale by load, instead of `replicas`."),
    key("route", OneOrMore(&Short(&word::ROUTE, ROUTE)), "none", "Hosts and path prefixes whose requests it gets."),
    key("env", Named(&word::VARIABLE, &Scalar(&word::TEXT)), "none", "Environment variables, letter by letter as written."),
    key("args", List(&Scalar(&word::TEXT)), "none", "Arguments of the component."),
    key("probe", Map(PROBE), "ready as soon as it is prepared", "A request that tells whether a pod is well."),
    key("limits", Map(LIMITS), "", "What each pod may use."),
    key("sandbox", Map(SANDBOX), "", "How sandboxes are kept."),
    key("uses", Map(USES), "nothing", "What the guest may reach; whatever is not listed is out of its reach."),
    later("retry", Map(RETRY), "", "How the gateway tries idempotent requests again."),
    key("place", Map(PLACE), "", "Which nodes its pods go to."),
    key("restart", Map(RESTART), "", "How a crashed pod comes back."),
    key("job", Map(JOB), "", "It runs to its end instead of being kept running; its component exports `wasi:cli/run`."),
];

static BUILD: &[Key] = &[
    required("path", Scalar(&word::PATH), "The folder, as seen from the first app file."),
    key(
        "command",
        Scalar(&word::TEXT),
        "found out from Cargo.toml, package.json, pyproject.toml or Makefile",
        "The command that builds it, run in the folder.",
    ),
    key("output", Scalar(&word::PATH), "found out from the same", "The component that the command leaves, as seen from the folder."),
];

static SCALE: &[Key] = &[
    key("min", Whole(0, MOST_REPLICAS), "`1`", "The fewest pods; at 0 it sleeps while nobody asks, and wakes on a request."),
    required("max", Whole(1, MOST_REPLICAS), "The most pods."),
    key("concurrency", Whole(1, 10_000), "", "Requests that each pod works on at once, on average."),
    key("requests", Whole(1, 1_000_000), "", "Requests in a second for each pod, on average."),
    key("cpu", Scalar(&word::PERCENT), "", "The share of `limits.cpu` that each pod uses, on average."),
    key(
        "window",
        Scalar(&word::WINDOW),
        "`60s`",
        "How long the load must have been lower before pods go, and how long nobody must have asked before it sleeps, at most 1h; pods are added at once.",
    ),
];

static ROUTE: &[Key] = &[
    key("host", Scalar(&word::HOST), "every host", "The host, without a port."),
    key("path", Scalar(&word::ROUTE_PATH), "`/`", "The path prefix by whole elements; nothing is stripped, the longest wins."),
    later("sticky", Scalar(&word::STICKY), "", "How a client is kept on one pod."),
];

static PROBE: &[Key] = &[
    required("path", Scalar(&word::HTTP_PATH), "The path of the GET request; a status from 200 to 399 is well."),
    key("every", Scalar(&word::SECONDS), "`5s`", "How often, in whole seconds."),
    key("timeout", Scalar(&word::SECONDS), "`1s`", "How long an answer may take, in whole seconds."),
    key("fail", Whole(1, 100), "`3`", "How many failures in a row end the instance."),
];

static LIMITS: &[Key] = &[
    key(
        "memory",
        Scalar(&word::MEMORY),
        "`128Mi`, shared",
        "Linear memory of all sandboxes of a pod together; written, it is also reserved.",
    ),
    key("cpu", Scalar(&word::CPU), "shared", "The share of a core that each pod may use; it is also reserved."),
    key("time", Scalar(&word::REQUEST_TIME), "`30s`", "How long one request may take, at most 1h; then it is a 504."),
    key("concurrency", Whole(1, 10_000), "`100`", "Requests that one pod works on at once; one more is a 503."),
];

static SANDBOX: &[Key] =
    &[key("reuse", Whole(1, 1_000_000), "`1`", "Requests that a sandbox serves before it is thrown away; 1 is a fresh one each time.")];

static USES: &[Key] = &[
    key("keyvalue", List(&Scalar(&word::BUCKET)), "none", "Buckets of `wasi:keyvalue`, shared by the services of the app that list them."),
    key("secrets", List(&Scalar(&word::SECRET)), "none", "Secrets (`wctl secret set NAME`), each an environment variable."),
    key(
        "connect",
        List(&Scalar(&word::TARGET)),
        "none",
        "Where it may connect to: `https://host:443`, `http://host:8080`, `tcp://host:5432`.",
    ),
    key(
        "call",
        List(&Scalar(&word::CALLEE)),
        "none",
        "Services of the same app that it calls as `http://NAME.internal`, and Services as `NAME.NAMESPACE`, called by that name.",
    ),
    key(
        "volumes",
        Named(&word::MOUNT, &Map(VOLUME)),
        "none",
        "Folders of the node that outlive the pod, by the path at which the guest sees them.",
    ),
    key("blobs", List(&Scalar(&word::BUCKET)), "none", "Containers of `wasi:blobstore`, shared by the services of the app that list them."),
    key("listen", List(&Scalar(&word::LISTEN)), "none", "TCP ports of its node that a worker listens on: `5000/tcp`."),
];

static VOLUME: &[Key] = &[required("size", Scalar(&word::SIZE), "The most that it holds; each name counts 4Ki beside its content.")];

static RETRY: &[Key] = &[
    key("attempts", Whole(1, 10), "`1`", "How often one request is tried again."),
    key("on", List(&Scalar(&word::RETRY_ON)), "", "What is tried again: `connect`, or a status from 500."),
    key("budget", Scalar(&word::PERCENT), "", "The share of all requests that may be tried again."),
];

static PLACE: &[Key] = &[
    key("spread", Scalar(&word::SPREAD), "`node`", "What its pods are spread over: `node`, or the last part of a node label, like `zone`."),
    key("require", Named(&word::LABEL, &Scalar(&word::LABEL_VALUE)), "none", "Labels that a node must carry."),
];

static RESTART: &[Key] = &[
    key("backoff", Scalar(&word::BACKOFF), "`100ms..30s`", "The second restart's wait and the longest; the first restart is immediate."),
    key("reset", Scalar(&word::WAIT), "`60s`", "How long it must be well before the back-off starts anew."),
];

static JOB: &[Key] = &[
    key("cron", Scalar(&word::CRON), "once, at the deploy", "When it runs: minute hour day month weekday, or `@daily` and the like."),
    key("timezone", Scalar(&word::ZONE), "`UTC`", "The time zone of `cron`."),
    key("retries", Whole(0, 1000), "`6`", "How often it is tried again after a failure, each time by a new pod."),
    key("deadline", Scalar(&word::DEADLINE), "none", "How long one run may take, all its tries together, in whole seconds."),
    key(
        "overlap",
        Scalar(&word::OVERLAP),
        "`allow`",
        "What a run does whose time comes while the one before is at work: `allow` starts it beside that, `forbid` waits for it, `replace` takes its place.",
    ),
    key(
        "history",
        Whole(0, 1000),
        "3 that succeeded, 1 that failed",
        "How many runs that are over are kept with their logs, of either kind.",
    ),
];

/// Keys of `rollout`.
pub static ROLLOUT: &[Key] = &[
    key("surge", Scalar(&word::SHARE), "`1`", "How many pods there may be above `replicas` meanwhile: a number or a percentage."),
    key("unavailable", Scalar(&word::SHARE), "`0`", "How many of `replicas` may be missing meanwhile: a number or a percentage."),
    key("deadline", Scalar(&word::SECONDS), "`60s`", "How long a new pod may take to be ready, in whole seconds."),
    key(
        "canary",
        Scalar(&word::PERCENT),
        "",
        "The share of the pods, and of the requests, that a new revision gets for `bake` before it gets more.",
    ),
    key("bake", Scalar(&word::WAIT), "`0s`", "How long a ready new revision is watched before the rollout goes on."),
    key("on_failure", Scalar(&word::ON_FAILURE), "`rollback`", "`rollback` puts the whole app back, `pause` leaves it for you to look at."),
];

static LOST: &[Key] = &[
    key("after", Scalar(&word::WAIT), "`6s`", "How long a node must be silent to count as lost."),
    key("then", Scalar(&word::THEN), "`move`", "`move` starts its pods elsewhere, `stay` waits for it."),
];

/// Keys of one service of an AppSpec: where a file says what to build or fetch, this holds what came of it.
pub static LOCKED: &[Key] = &[
    required("image", Scalar(&word::DIGEST), "The component, by digest."),
    key("typed", Scalar(&word::TEXT), "", "The image as it stood in the file."),
];

/// Keys at the top of an AppSpec beside its services: a file's without its name and namespace.
pub fn shared() -> &'static [Key] {
    TOP.split_at(3).1
}

/// Keys of a service that a file and an AppSpec share: all but its origin.
pub fn settings() -> &'static [Key] {
    SERVICE.split_at(ORIGINS.len()).1
}

/// Keys that say where a service's component comes from; it has exactly one of them.
pub const ORIGINS: [&str; 3] = ["image", "build", "static"];

/// What other tools call things, for "did you mean".
pub static ALIASES: &[(&str, &str)] = &[
    ("name", "app"),
    ("environment", "env"),
    ("command", "args"),
    ("entrypoint", "args"),
    ("ports", "route"),
    ("routes", "route"),
    ("ingress", "route"),
    ("host", "route"),
    ("hosts", "route"),
    ("healthcheck", "probe"),
    ("livenessProbe", "probe"),
    ("readinessProbe", "probe"),
    ("resources", "limits"),
    ("mem_limit", "limits.memory"),
    ("cpus", "limits.cpu"),
    ("timeout", "limits.time"),
    ("instances", "replicas"),
    ("count", "replicas"),
    ("secrets", "uses.secrets"),
    ("volumes", "uses.volumes"),
    ("capabilities", "uses"),
    ("allow", "uses.connect"),
    ("links", "uses.call"),
    ("depends_on", "uses.call"),
    ("cron", "job.cron"),
    ("schedule", "job.cron"),
    ("timeZone", "timezone"),
    ("tz", "timezone"),
    ("backoffLimit", "retries"),
    ("activeDeadlineSeconds", "deadline"),
    ("concurrencyPolicy", "overlap"),
    ("strategy", "rollout"),
    ("update_config", "rollout"),
    ("maxSurge", "surge"),
    ("maxUnavailable", "unavailable"),
    ("interval", "every"),
    ("retries", "fail"),
];

/// One line of the reference: a key, where it stands and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `services.NAME.limits.memory`.
    pub path: String,
    /// What may stand behind it, in words.
    pub form: String,
    /// What is meant where it is absent.
    pub default: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Whether it is refused with "not yet".
    pub later: bool,
    /// Whether its map is a mistake without it.
    pub required: bool,
}

/// Every key that an app file may hold, in the order of the reference.
pub fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    walk("", TOP, false, &mut lines);
    lines
}

fn walk(prefix: &str, keys: &'static [Key], under_later: bool, lines: &mut Vec<Line>) {
    for key in keys {
        let path = format!("{prefix}{}", key.name);
        let later = under_later || key.later;
        lines.push(Line {
            path: path.clone(),
            form: key.form.words(),
            default: key.default,
            about: key.about,
            later,
            required: key.required,
        });
        let (suffix, below) = key.form.below();
        walk(&format!("{path}{suffix}."), below, later, lines);
    }
}

impl Form {
    /// In words, for the reference and for messages.
    pub fn words(&self) -> String {
        match self {
            Scalar(word) => word.what.into(),
            Whole(least, most) => format!("whole number, {least} to {most}"),
            Map(_) => "map".into(),
            Named(word, form) => format!("map from {} to {}", word.what, form.words()),
            List(form) => format!("list of {}", form.plural()),
            OneOrMore(form) => format!("{}, or a list of them", form.words()),
            Short(word, _) => format!("{} or map", word.what),
            Either(first, second) => format!("{}, or {}", first.words(), second.words()),
        }
    }

    /// Several of it, in words.
    pub(crate) fn plural(&self) -> String {
        let words = self.words();
        if words.starts_with('`') { words } else { format!("{words}s") }
    }

    /// The keys that stand below, and what stands between: nothing, or `.NAME`.
    fn below(&self) -> (&'static str, &'static [Key]) {
        match self {
            Map(keys) | Short(_, keys) => ("", keys),
            Named(_, form) => (".NAME", form.below().1),
            List(form) | OneOrMore(form) => ("", form.below().1),
            Scalar(_) | Whole(..) | Either(..) => ("", &[]),
        }
    }
}
