//! What stands in a cell.

use serde_json::{Value, json};

use crate::names;

/// A string, empty where there is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A string, `<none>` where there is none.
pub(super) fn or_none(value: &Value) -> Value {
    if text(value).is_empty() { json!("<none>") } else { value.clone() }
}

/// A number, 0 where there is none.
pub(super) fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// How long ago: `5s`, `3m20s`, `4h`, `12d`.
pub(super) fn age(created: &Value, now: jiff::Timestamp) -> String {
    match text(created).parse::<jiff::Timestamp>() {
        Ok(then) => ago(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

fn ago(seconds: i64) -> String {
    let s = seconds.max(0);
    let two = |big: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    match s {
        0..120 => format!("{s}s"),
        120..600 => two(s / 60, 'm', s % 60, 's'),
        600..10_800 => format!("{}m", s / 60),
        10_800..28_800 => two(s / 3600, 'h', s % 3600 / 60, 'm'),
        28_800..172_800 => format!("{}h", s / 3600),
        172_800..691_200 => two(s / 86_400, 'd', s % 86_400 / 3600, 'h'),
        _ => format!("{}d", s / 86_400),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

/// One field of each item.
pub(super) fn listed(list: &Value, field: &str) -> String {
    let found: Vec<String> = items(list).map(|item| text(&item[field]).to_owned()).filter(|t| !t.is_empty()).collect();
    found.join(",")
}

/// `a=b,c=d`.
pub(super) fn pairs(map: &Value) -> String {
    joined(map.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value))))
}

/// `80/TCP,443/TCP`.
pub(super) fn ports(list: &Value) -> String {
    let node = |p: &Value| Some(count(&p["nodePort"])).filter(|port| *port > 0).map_or_else(String::new, |port| format!(":{port}"));
    joined(items(list).map(|p| format!("{}{}/{}", count(&p["port"]), node(p), p["protocol"].as_str().unwrap_or("TCP"))))
}

/// Where a Service is reached from elsewhere.
pub(super) fn external(service: &Value) -> String {
    if service["spec"]["type"] != "LoadBalancer" {
        return "<none>".to_owned();
    }
    let addresses: Vec<&str> = items(&service["status"]["loadBalancer"]["ingress"]).map(|one| text(&one["ip"])).collect();
    if addresses.is_empty() { "<pending>".to_owned() } else { addresses.join(",") }
}

pub(super) fn containers(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"]
}

/// The images as typed.
pub(super) fn images(object: &Value) -> String {
    let typed = object["spec"]["template"]["metadata"]["annotations"].get(names::TYPED_IMAGE).and_then(Value::as_str);
    typed.map_or_else(|| listed(containers(object), "image"), str::to_owned)
}

pub(super) fn typed_image(pod: &Value) -> String {
    let typed = pod["metadata"]["annotations"].get(names::TYPED_IMAGE).and_then(Value::as_str);
    typed.map_or_else(|| listed(&pod["spec"]["containers"], "image"), str::to_owned)
}

pub(super) fn pod_ready(pod: &Value) -> String {
    let ready = items(&pod["status"]["containerStatuses"]).filter(|c| c["ready"] == true).count();
    format!("{ready}/{}", items(&pod["spec"]["containers"]).count())
}

/// The word that tells most: why it waits or has ended before its phase.
pub(super) fn pod_status(pod: &Value) -> String {
    let state = &pod["status"]["containerStatuses"][0]["state"];
    let reason = |which: &str| state[which]["reason"].as_str().filter(|r| !r.is_empty());
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating".to_owned();
    }
    let own = pod["status"]["reason"].as_str().filter(|r| !r.is_empty());
    let phase = pod["status"]["phase"].as_str().unwrap_or("Pending");
    reason("waiting").or_else(|| reason("terminated")).or(own).unwrap_or(phase).to_owned()
}

/// `3/3`, of a Deployment whose pods sleep `0/0`.
pub(super) fn deployment_ready(deployment: &Value) -> String {
    let asked = if sleeps(deployment) { 0 } else { count(&deployment["spec"]["replicas"]) };
    format!("{}/{asked}", awake(deployment, "readyReplicas"))
}

/// How many pods a status counts, but for those that sleep.
pub(super) fn awake(deployment: &Value, field: &str) -> i64 {
    if sleeps(deployment) { 0 } else { count(&deployment["status"][field]) }
}

fn sleeps(deployment: &Value) -> bool {
    items(&deployment["status"]["conditions"]).any(|c| c["type"] == "Asleep" && c["status"] == "True")
}

/// `cpu: 12%/50%, 3/40`: what the pods have on average of each metric, and should have.
pub(super) fn targets(scaler: &Value) -> String {
    let part = |metric: &Value, which: &str| {
        let (kind, at) = if metric["type"] == "Resource" { ("resource", "cpu: ") } else { ("pods", "") };
        let value = &metric[kind][which];
        let share = value["averageUtilization"].as_u64().map(|percent| format!("{percent}%"));
        let amount = value["averageValue"].as_str().map(str::to_owned).or_else(|| Some(value["averageValue"].as_u64()?.to_string()));
        (at, share.or(amount))
    };
    let of = |(index, metric): (usize, &Value)| {
        let now = part(&scaler["status"]["currentMetrics"][index], "current").1.unwrap_or_else(|| "<unknown>".to_owned());
        let (at, aim) = part(metric, "target");
        format!("{at}{now}/{}", aim.unwrap_or_default())
    };
    let all: Vec<String> = items(&scaler["spec"]["metrics"]).enumerate().map(of).collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(", ") }
}

/// `Complete`, `Failed`, `Suspended`, `Running` …, as `kubectl` has it.
pub(super) fn job_status(job: &Value) -> &'static str {
    let holds = |kind: &str| items(&job["status"]["conditions"]).any(|c| c["type"] == kind && c["status"] == "True");
    let words = [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
        ("FailureTarget", "FailureTarget"),
        ("Suspended", "Suspended"),
    ];
    let found = words.into_iter().find(|(kind, _)| holds(kind)).map(|(_, word)| word);
    match found {
        _ if !job["metadata"]["deletionTimestamp"].is_null() => "Terminating",
        Some(word) => word,
        None => "Running",
    }
}

pub(super) fn job_completions(job: &Value) -> String {
    let succeeded = count(&job["status"]["succeeded"]);
    match (job["spec"]["completions"].as_i64(), job["spec"]["parallelism"].as_i64().unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

pub(super) fn job_duration(job: &Value, now: jiff::Timestamp) -> String {
    let time = |value: &Value| text(value).parse::<jiff::Timestamp>().ok();
    match (time(&job["status"]["startTime"]), time(&job["status"]["completionTime"])) {
        (Some(began), ended) => ago(ended.unwrap_or(now).as_second() - began.as_second()),
        (None, _) => String::new(),
    }
}

pub(super) fn app_ready(app: &Value) -> String {
    let services = app["status"]["services"].as_object();
    let sum = |field: &str| services.into_iter().flatten().map(|(_, s)| count(&s[field])).sum::<i64>();
    if services.is_none() { "-".to_owned() } else { format!("{}/{}", sum("ready"), sum("desired")) }
}

pub(super) fn app_services(app: &Value) -> String {
    joined(app["spec"]["services"].as_object().into_iter().flatten().map(|(name, _)| name.clone()))
}

pub(super) fn node_status(node: &Value) -> String {
    let ready = items(&node["status"]["conditions"]).find(|c| c["type"] == "Ready").map(|c| text(&c["status"]));
    let word = match ready {
        Some("True") => "Ready",
        Some("False") => "NotReady",
        _ => "Unknown",
    };
    if node["spec"]["unschedulable"] == true { format!("{word},SchedulingDisabled") } else { word.to_owned() }
}

pub(super) fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    joined(labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).map(str::to_owned))
}

pub(super) fn address(node: &Value, kind: &str) -> String {
    joined(items(&node["status"]["addresses"]).filter(|a| a["type"] == kind).map(|a| text(&a["address"]).to_owned()))
}

pub(super) fn entries(object: &Value, fields: &[&str]) -> usize {
    fields.iter().filter_map(|field| object[*field].as_object()).map(|map| map.len()).sum()
}

pub(super) fn last_seen(event: &Value, now: jiff::Timestamp) -> String {
    let times =
        [&event["lastTimestamp"], &event["series"]["lastObservedTime"], &event["eventTime"], &event["metadata"]["creationTimestamp"]];
    times.into_iter().find(|t| !text(t).is_empty()).map_or_else(|| "<unknown>".to_owned(), |t| age(t, now))
}

pub(super) fn involved(event: &Value) -> String {
    let object = &event["involvedObject"];
    format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["name"]))
}

pub(super) fn source(event: &Value) -> String {
    let component = text(&event["source"]["component"]);
    let component = if component.is_empty() { text(&event["reportingComponent"]) } else { component };
    joined([component, text(&event["source"]["host"])].into_iter().map(str::to_owned))
}

pub(super) fn hosts(ingress: &Value) -> String {
    let rules = items(&ingress["spec"]["rules"]);
    joined(rules.map(|rule| rule["host"].as_str().filter(|h| !h.is_empty()).unwrap_or("*").to_owned()))
}

pub(super) fn routes(ingress: &Value) -> String {
    let rules = items(&ingress["spec"]["rules"]);
    joined(rules.flat_map(|rule| {
        let host = rule["host"].as_str().unwrap_or("*").to_owned();
        items(&rule["http"]["paths"]).map(move |p| format!("{host}{}", p["path"].as_str().unwrap_or("/"))).collect::<Vec<_>>()
    }))
}

pub(super) fn controller(object: &Value) -> String {
    let owner = items(&object["metadata"]["ownerReferences"]).find(|o| o["controller"] == true);
    owner.map_or_else(|| "<none>".to_owned(), |o| format!("{}/{}", text(&o["kind"]).to_lowercase(), text(&o["name"])))
}

pub(super) fn endpoints(slice: &Value) -> String {
    joined(items(&slice["endpoints"]).flat_map(|e| items(&e["addresses"]).map(|a| text(a).to_owned()).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let cases = [
            (5, "5s"),
            (119, "119s"),
            (200, "3m20s"),
            (600, "10m"),
            (10_860, "3h1m"),
            (36_000, "10h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
            (-3, "0s"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(ago(seconds), expected);
        }
    }

    #[test]
    fn a_pod_tells_why_it_waits() {
        let pod = json!({ "status": { "phase": "Running", "containerStatuses": [{ "state": { "waiting": { "reason": "CrashLoopBackOff" } } }] } });
        assert_eq!(pod_status(&pod), "CrashLoopBackOff");
        assert_eq!(pod_status(&json!({})), "Pending");
        assert_eq!(pod_status(&json!({ "metadata": { "deletionTimestamp": "x" }, "status": { "phase": "Running" } })), "Terminating");
    }
}
