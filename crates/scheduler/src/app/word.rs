//! The scalars of an app file: what each must look like, and how it is written down once read.

use serde_json::{Value, json};

use super::problem::{Problem, nearest, shown};
use super::quantity::{Backoff, Cpu, Memory, Share, Time};
use super::{route, target};

/// One sort of scalar: how it is called, recognised and read.
#[derive(Debug)]
pub struct Word {
    /// As the reference calls it: `memory`.
    pub what: &'static str,
    /// What an editor may check of it; may accept more than `read` does, never less.
    pub pattern: &'static str,
    /// From its text to the one form in which it is kept.
    pub read: fn(&str) -> Result<Value, Problem>,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $pattern:expr, $read:expr;)*) => {$(
        $(#[$doc])*
        pub static $name: Word = Word { what: $what, pattern: $pattern, read: $read };
    )*};
}

const TIME_PATTERN: &str = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
const NAME_PATTERN: &str = r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$";

words! {
    /// Anything, letter by letter.
    TEXT = "text", r"", |t| text(t);
    /// An App's name.
    APP = "name", NAME_PATTERN, |t| name(t, &["wctl", "kubernetes", "localhost", "internal"]);
    /// A service's name.
    SERVICE = "name", NAME_PATTERN, |t| name(t, &["wctl", "kubernetes", "localhost", "internal"]);
    /// A namespace.
    NAMESPACE = "name", NAME_PATTERN, |t| name(t, &["kube-system", "kube-public", "kube-node-lease", "wctl-system"]);
    /// The name of an environment variable.
    VARIABLE = "variable", r"^[A-Za-z_][A-Za-z0-9_.-]*$", |t| variable(t);
    /// The name of a secret, which becomes an environment variable.
    SECRET = "secret", r"^[A-Za-z_][A-Za-z0-9_.-]*$", |t| variable(t);
    /// `image:` as typed: a local file or a reference.
    IMAGE = "file or reference", r"\S", |t| image(t);
    /// `name@sha256:…`, nothing else.
    DIGEST = "reference with a digest", r"@sha256:[0-9a-f]{64}$", |t| digest(t);
    /// A folder or a file beside the app file.
    PATH = "path", r"\S", |t| path(t);
    /// The path of a probe's request.
    HTTP_PATH = "path of a URL", r"^/", |t| route::request_path(t).map(Value::from);
    /// A route's short form.
    ROUTE = "host/path", r"^[a-z0-9./_~-]+$", |t| route::Route::read(t).map(|r| json!(r));
    /// A route's host.
    HOST = "host", r"^[a-z0-9.-]*$", |t| route::host(t).map(Value::from);
    /// A route's path.
    ROUTE_PATH = "path prefix", r"^/", |t| route::path(t).map(Value::from);
    /// What a guest may connect to.
    TARGET = "target", r"^(https?|tcp)://[^/?#@]+/?$", |t| target::Target::read(t).map(|t| Value::from(t.to_string()));
    /// A service that a guest may call.
    CALLEE = "service", r"^[a-z][-a-z0-9.]*$", |t| callee(t);
    /// A bucket of keys and values, or of blobs.
    BUCKET = "bucket", r"^[a-z0-9][-_a-z0-9]{0,62}$", |t| bucket(t);
    /// An amount of memory.
    MEMORY = "amount of memory", r"^[0-9]+(\.[0-9]+)?([KMGT]i|[kMGT])?$", |t| t.parse().map(|m: Memory| json!(m));
    /// What a volume may hold.
    SIZE = "amount of storage", r"^[0-9]+(\.[0-9]+)?([KMGT]i|[kMGT])?$", |t| Memory::read(t, "storage that a volume may have").map(|m| json!(m));
    /// An amount of CPU.
    CPU = "amount of CPU", r"^[0-9]+(\.[0-9]+)?m?$", |t| t.parse().map(|c: Cpu| json!(c));
    /// How long one request may take.
    REQUEST_TIME = "time", TIME_PATTERN, |t| time(t, 1, 3_600_000, false);
    /// A wait that Kubernetes keeps in whole seconds.
    SECONDS = "time in whole seconds", TIME_PATTERN, |t| time(t, 1_000, 3_600_000, true);
    /// A wait that may be none at all.
    WAIT = "time", TIME_PATTERN, |t| time(t, 0, 86_400_000, false);
    /// A first and a longest wait.
    BACKOFF = "first..longest time", r"^[0-9hms]+\.\.[0-9hms]+$", |t| t.parse().map(|b: Backoff| json!(b));
    /// A number of pods or a share of them.
    SHARE = "number or percentage", r"^[0-9]+%?$", |t| t.parse().map(|s: Share| json!(s));
    /// A share.
    PERCENT = "percentage", r"^[0-9]+%$", |t| percent(t);
    /// What a failed rollout does.
    ON_FAILURE = "`rollback` or `pause`", "^(rollback|pause)$", |t| one_of(t, &["rollback", "pause"]);
    /// What becomes of pods on a lost node.
    THEN = "`move` or `stay`", "^(move|stay)$", |t| one_of(t, &["move", "stay"]);
    /// How a client is kept on one pod.
    STICKY = "`cookie`", "^cookie$", |t| one_of(t, &["cookie"]);
    /// The last part of a node label over whose values pods are spread.
    SPREAD = "`node` or part of a label", r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$", |t| label_part(t);
    /// A node label.
    LABEL = "label", r"^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$", |t| label(t);
    /// A node label's value.
    LABEL_VALUE = "label value", r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$", |t| if t.is_empty() { Ok(t.into()) } else { label_part(t) };
    /// A cron line.
    CRON = "cron line", r"^(@[a-z]+|\S+( +\S+){4})$", |t| cron(t);
    /// How long a load must have been lower.
    WINDOW = "time in whole seconds", TIME_PATTERN, |t| time(t, 0, 3_600_000, true);
    /// The name of a time zone.
    ZONE = "time zone", r"^[A-Za-z][A-Za-z0-9_+/-]*$", |t| crate::cron::zone_is_known(t).map(|()| t.into()).map_err(Problem::new);
    /// How long a job may take.
    DEADLINE = "time in whole seconds", TIME_PATTERN, |t| time(t, 1_000, 7 * 86_400_000, true);
    /// What a run does that finds another at work.
    OVERLAP = "`allow`, `forbid` or `replace`", "^(allow|forbid|replace)$", |t| one_of(t, &["allow", "forbid", "replace"]);
    /// When a failed request is tried again.
    RETRY_ON = "`connect` or a status from 500", r"^(connect|5[0-9][0-9])$", |t| retry_on(t);
    /// A port that a guest listens on.
    LISTEN = "port/protocol", r"^[0-9]{1,5}/(tcp|udp)$", |t| listen(t);
    /// Where a volume is seen by the guest.
    MOUNT = "absolute path", r"^(/[A-Za-z0-9._-]+)+$", |t| mount(t);
    /// One pod on each node, instead of a number.
    EACH_NODE = "`each-node`", "^each-node$", |t| one_of(t, &["each-node"]).and(Err(Problem::later("`each-node`")));
}

fn text(text: &str) -> Result<Value, Problem> {
    if text.contains('\0') { Err(Problem::new("the value holds a NUL character, which no environment can carry")) } else { Ok(text.into()) }
}

fn name(text: &str, reserved: &[&str]) -> Result<Value, Problem> {
    let wrong = |why: &str| Problem::new(format!("`{}` cannot be a name: {why}", shown(text)));
    if text.is_empty() {
        return Err(Problem::new("the name is empty"));
    }
    if text.len() > 63 {
        return Err(wrong(&format!("it has {} characters, the most is 63", text.chars().count())));
    }
    if reserved.contains(&text) {
        return Err(wrong("it is reserved"));
    }
    let good = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !good || !text.starts_with(|c: char| c.is_ascii_lowercase()) || text.ends_with('-') {
        let rule = "it must be lower-case letters, digits and `-`, from a letter to a letter or digit";
        return Err(Problem { meant: tidied(text), ..wrong(rule) });
    }
    Ok(text.into())
}

/// `My App` → `my-app`, where that is a name.
fn tidied(text: &str) -> Option<String> {
    let tidy: String = text.to_lowercase().chars().map(|c| if matches!(c, '_' | ' ' | '.') { '-' } else { c }).collect();
    let tidy = tidy.trim_matches('-');
    let good = tidy.starts_with(|c: char| c.is_ascii_lowercase()) && tidy.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    good.then(|| tidy.to_owned())
}

fn variable(text: &str) -> Result<Value, Problem> {
    let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !good || !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || text.len() > 253 {
        let rule = "it must be letters, digits, `_`, `.` and `-`, not starting with a digit";
        return Err(Problem::new(format!("`{}` cannot be the name of a variable: {rule}", shown(text))));
    }
    Ok(text.into())
}

/// Whether `image:` names a file on this machine and not something in a registry.
pub fn is_file(image: &str) -> bool {
    let mut chars = image.chars();
    let drive =
        chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':') && matches!(chars.next(), Some('/' | '\\'));
    drive || ["./", "../", "/", ".\\", "..\\", "\\\\"].iter().any(|start| image.starts_with(start))
}

fn image(text: &str) -> Result<Value, Problem> {
    if is_file(text) {
        return path(text);
    }
    if text.ends_with(".wasm") && !text.contains(':') {
        let message = format!("`{}` would be looked for in a registry; a file beside this one starts with `./`", shown(text));
        return Err(Problem::meant(message, format!("./{text}")));
    }
    match text.parse::<artifact::Reference>() {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(Problem::new(format!("this is neither a file (./…) nor a reference: {}", why(&error)))),
    }
}

/// What is wrong with a reference, without saying again what is being read.
fn why(error: &artifact::reference::ParseError) -> String {
    let text = error.to_string();
    text.strip_prefix("reading the image reference ").unwrap_or(&text).to_owned()
}

fn digest(text: &str) -> Result<Value, Problem> {
    match text.parse::<artifact::Reference>() {
        Ok(reference) if reference.digest().is_some() => Ok(text.into()),
        Ok(_) => Err(Problem::new(format!("`{}` has no digest; an App holds references like name@sha256:… only", shown(text)))),
        Err(error) => Err(Problem::new(format!("this is not a reference: {}", why(&error)))),
    }
}

fn path(text: &str) -> Result<Value, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::new("the path is empty"));
    }
    if text.contains(['\0', '\n', '\r']) {
        return Err(Problem::new(format!("`{}` is not a path: it holds a line break or NUL", shown(text))));
    }
    Ok(text.into())
}

fn callee(text: &str) -> Result<Value, Problem> {
    match text.split_once('.') {
        Some((service, namespace)) => {
            name(service, &[]).and(name(namespace, &[]))?;
            Ok(text.into())
        }
        None => name(text, &[]),
    }
}

fn bucket(text: &str) -> Result<Value, Problem> {
    let good = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if !good || text.len() > 63 || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let rule = "it must be 1 to 63 lower-case letters, digits, `-` and `_`, from a letter or digit";
        return Err(Problem { meant: tidied(text), ..Problem::new(format!("`{}` cannot be the name of a bucket: {rule}", shown(text))) });
    }
    Ok(text.into())
}

fn time(text: &str, least: u64, most: u64, whole_seconds: bool) -> Result<Value, Problem> {
    let time: Time = text.parse()?;
    let bound = |ms: u64| Time(std::time::Duration::from_millis(ms));
    if whole_seconds && time.0.subsec_nanos() != 0 {
        return Err(Problem::new(format!("`{}` is not in whole seconds", shown(text))));
    }
    if time < bound(least) || time > bound(most) {
        return Err(Problem::new(format!("`{}` is not between {} and {}", shown(text), bound(least), bound(most))));
    }
    Ok(json!(time))
}

fn percent(text: &str) -> Result<Value, Problem> {
    match text.parse()? {
        share @ Share::Percent(_) => Ok(json!(share)),
        Share::Count(_) => Err(Problem::meant(format!("`{}` is not a percentage", shown(text)), format!("{text}%"))),
    }
}

fn one_of(text: &str, words: &[&str]) -> Result<Value, Problem> {
    if words.contains(&text) {
        return Ok(text.into());
    }
    let listed = words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" or ");
    let meant = nearest(text, words.iter().copied()).map(str::to_owned);
    Err(Problem { meant, ..Problem::new(format!("`{}` is not {listed}", shown(text))) })
}

fn label_part(text: &str) -> Result<Value, Problem> {
    let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    if !good || !ends || text.len() > 63 {
        let rule = "1 to 63 letters, digits, `-`, `_` and `.`, from a letter or digit to a letter or digit";
        return Err(Problem::new(format!("`{}` cannot be part of a label: that is {rule}", shown(text))));
    }
    Ok(text.into())
}

fn label(text: &str) -> Result<Value, Problem> {
    let (prefix, part) = text.split_once('/').map_or((None, text), |(prefix, part)| (Some(prefix), part));
    if prefix.is_some_and(|p| p.len() > 253 || route::host(p).is_err() || p.is_empty()) {
        return Err(Problem::new(format!("`{}` is not a label: what stands before the `/` must be a domain", shown(text))));
    }
    label_part(part).map(|_| text.into())
}

fn cron(text: &str) -> Result<Value, Problem> {
    const FIELDS: [(&str, u32, u32); 5] = [("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7)];
    if ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"].contains(&text) {
        return Ok(text.into());
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let message =
            format!("`{}` is not a cron line: it has {} fields, not 5 (minute hour day month weekday)", shown(text), fields.len());
        return Err(Problem::new(message));
    }
    for (field, (what, least, most)) in fields.iter().zip(FIELDS) {
        let number = |text: &str| {
            text.parse().is_ok_and(|n: u32| (least..=most).contains(&n))
                || (text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic()) && matches!(what, "month" | "weekday"))
        };
        let range = |text: &str| text == "*" || text.split_once('-').map_or_else(|| number(text), |(a, b)| number(a) && number(b));
        let stepped =
            |text: &str| text.split_once('/').map_or_else(|| range(text), |(a, b)| range(a) && b.parse().is_ok_and(|n: u32| n > 0));
        if !field.split(',').all(stepped) {
            return Err(Problem::new(format!(
                "`{}` is not a cron line: its {what} `{}` is not within {least} to {most}",
                shown(text),
                shown(field)
            )));
        }
    }
    Ok(text.into())
}

fn retry_on(text: &str) -> Result<Value, Problem> {
    if text == "connect" || text.parse().is_ok_and(|n: u16| (500..600).contains(&n)) {
        return Ok(text.into());
    }
    Err(Problem::new(format!("`{}` is not `connect` or a status from 500 to 599", shown(text))))
}

fn listen(text: &str) -> Result<Value, Problem> {
    match text.split_once('/') {
        Some((port, protocol @ ("tcp" | "udp"))) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse::<u16>() {
            Ok(port) if port > 0 && protocol == "tcp" => Ok(format!("{port}/tcp").into()),
            Ok(port) if port > 0 => Err(Problem::later(format!("listening on `{}`", shown(text)))),
            _ => Err(Problem::new(format!("`{}` has no port from 1 to 65535", shown(text)))),
        },
        _ => Err(Problem::new(format!("`{}` is not a port and protocol; write it like 5000/tcp", shown(text)))),
    }
}

fn mount(text: &str) -> Result<Value, Problem> {
    if !is_mount(text) {
        let rule = "write an absolute path like /data, of at most 60 letters, digits, `.`, `_`, `-` and `/`";
        return Err(Problem::new(format!("`{}` is not a place for a volume; {rule}", shown(text))));
    }
    Ok(text.into())
}

/// Whether a volume may be seen there.
pub(crate) fn is_mount(text: &str) -> bool {
    let part =
        |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    text.len() <= 60 && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}
