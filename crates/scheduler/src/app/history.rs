//! What of an App's generations is a rollout: a change of more than how many pods there are.

use serde_json::Value;

/// Whether two specs of an App differ in nothing but the `replicas` of their services.
pub fn same_rollout(one: &Value, other: &Value) -> bool {
    without_replicas(one) == without_replicas(other)
}

/// An old spec with as many pods as each of its services has now: going back takes no scale back.
pub fn with_replicas_of(mut spec: Value, now: &Value) -> Value {
    for (name, service) in services(&mut spec) {
        let Some(current) = now["services"].get(name) else { continue };
        match current.get("replicas") {
            Some(replicas) => service["replicas"] = replicas.clone(),
            None => drop(service.as_object_mut().and_then(|service| service.remove("replicas"))),
        }
    }
    spec
}

/// A spec of an App without how many pods there are.
pub(crate) fn without_replicas(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for (_, service) in services(&mut spec) {
        service.as_object_mut().and_then(|service| service.remove("replicas"));
    }
    spec
}

fn services(spec: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    spec.get_mut("services").and_then(Value::as_object_mut).into_iter().flatten().filter(|(_, service)| service.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(image: &str, replicas: u32) -> Value {
        json!({ "services": { "web": { "image": image, "replicas": replicas }, "user": { "image": "user", "replicas": 1 } } })
    }

    #[test]
    fn a_scale_is_no_rollout_and_going_back_keeps_it() {
        assert!(same_rollout(&spec("a", 2), &spec("a", 5)));
        assert!(!same_rollout(&spec("a", 2), &spec("b", 2)));
        assert_eq!(with_replicas_of(spec("a", 2), &spec("b", 5)), spec("a", 5));
    }

    #[test]
    fn a_service_that_is_not_there_now_comes_back_as_it_was() {
        let now = json!({ "services": { "user": { "image": "user", "replicas": 7 } } });
        let back = with_replicas_of(spec("a", 2), &now);
        assert_eq!((&back["services"]["web"]["replicas"], &back["services"]["user"]["replicas"]), (&json!(2), &json!(7)));
    }
}
