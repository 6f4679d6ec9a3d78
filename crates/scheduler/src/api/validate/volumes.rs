//! The volumes of a pod and where its container sees them.

use serde_json::Value;

use super::names::is_label_name;
use crate::api::status::Cause;

/// What a volume can be.
const SOURCES: [&str; 3] = ["emptyDir", "configMap", "secret"];

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Everything that is wrong with the volumes of a pod's spec at `at`.
pub(super) fn check(spec: &Value, container: &Value, at: &str, causes: &mut Vec<Cause>) {
    let volumes = items(spec, "volumes");
    for (index, volume) in volumes.iter().enumerate() {
        one(volume, &volumes[..index], &format!("{at}.volumes[{index}]"), causes);
    }
    let mounts = items(container, "volumeMounts");
    for (index, mount) in mounts.iter().enumerate() {
        let at = format!("{at}.containers[0].volumeMounts[{index}]");
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if !volumes.iter().any(|volume| text(volume, "name") == name) {
            causes.push(Cause::invalid(format!("{at}.name"), format!("there is no volume {name:?} in the pod's volumes")));
        }
        let absolute = path.starts_with('/') && path.len() > 1 && !path.split('/').any(|part| part == "." || part == "..");
        if !absolute {
            causes.push(Cause::invalid(format!("{at}.mountPath"), format!("{path:?} is not a path such as /etc/app")));
        }
        if mounts[..index].iter().any(|other| text(other, "mountPath") == path) {
            causes.push(Cause::invalid(format!("{at}.mountPath"), format!("{path:?} is mounted twice")));
        }
    }
}

fn one(volume: &Value, before: &[Value], at: &str, causes: &mut Vec<Cause>) {
    let name = text(volume, "name");
    if !is_label_name(name) {
        causes.push(Cause::invalid(
            format!("{at}.name"),
            format!("{name:?} cannot be a volume's name: 1 to 63 lower-case letters, digits or '-'"),
        ));
    }
    if before.iter().any(|other| text(other, "name") == name) {
        causes.push(Cause::invalid(format!("{at}.name"), format!("there are two volumes {name:?}")));
    }
    if SOURCES.iter().filter(|source| volume[**source].is_object()).count() != 1 {
        causes.push(Cause::required(at, format!("a volume is one of {}", SOURCES.join(", "))));
    }
    for (source, named) in [("configMap", "name"), ("secret", "secretName")] {
        let given = &volume[source];
        if given.is_object() && text(given, named).is_empty() {
            causes.push(Cause::required(format!("{at}.{source}.{named}"), "name the object that holds the files"));
        }
        for (index, item) in items(given, "items").iter().enumerate() {
            let path = text(item, "path");
            let plain = |part: &str| {
                !part.is_empty() && part != "." && part != ".." && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            };
            if text(item, "key").is_empty() || !path.split('/').all(plain) {
                causes.push(Cause::invalid(
                    format!("{at}.{source}.items[{index}]"),
                    "an item has a key, and a path of letters, digits, '-', '_', '.' within the volume",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(volumes: Value, mounts: Value) -> Vec<String> {
        let mut causes = Vec::new();
        check(&json!({ "volumes": volumes }), &json!({ "volumeMounts": mounts }), "spec", &mut causes);
        causes.into_iter().map(|cause| cause.field).collect()
    }

    #[test]
    fn mounts_name_a_volume_and_a_path() {
        let volumes = json!([{ "name": "a", "emptyDir": {} }, { "name": "b", "configMap": { "name": "c", "items": [{ "key": "k", "path": "d/e" }] } }]);
        let fine = json!([{ "name": "a", "mountPath": "/tmp" }, { "name": "b", "mountPath": "/etc/b" }]);
        assert!(fields(volumes.clone(), fine).is_empty());
        let bad = json!([{ "name": "x", "mountPath": "/x" }, { "name": "a", "mountPath": "tmp" }, { "name": "a", "mountPath": "/../x" }]);
        let at = |n: usize, field: &str| format!("spec.containers[0].volumeMounts[{n}].{field}");
        assert_eq!(fields(volumes, bad), [at(0, "name"), at(1, "mountPath"), at(2, "mountPath")]);
    }

    #[test]
    fn a_volume_is_of_one_sort_and_stays_within_itself() {
        let wrong = |volume: Value| fields(json!([volume]), json!([]));
        assert_eq!(wrong(json!({ "name": "a" })), ["spec.volumes[0]"]);
        assert_eq!(wrong(json!({ "name": "a", "emptyDir": {}, "secret": { "secretName": "s" } })), ["spec.volumes[0]"]);
        assert_eq!(wrong(json!({ "name": "a", "secret": {} })), ["spec.volumes[0].secret.secretName"]);
        let out = json!({ "name": "a", "secret": { "secretName": "s", "items": [{ "key": "k", "path": "../x" }] } });
        assert_eq!(wrong(out), ["spec.volumes[0].secret.items[0]"]);
    }
}
