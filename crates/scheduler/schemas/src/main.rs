//! Writes the schemas of the kinds that the API serves, one a line: `cargo run --manifest-path crates/scheduler/schemas/Cargo.toml`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::{apps, authentication, authorization, autoscaling, batch, coordination, core, discovery, networking, policy};
use k8s_openapi::apimachinery::pkg::apis::meta;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/api/openapi/kubernetes.json");

fn main() -> std::io::Result<()> {
    let mut generator =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into()).into_generator();
    macro_rules! kinds {
        ($($kind:ty),* $(,)?) => { $(generator.subschema_for::<$kind>();)* };
    }
    kinds![
        apps::v1::ControllerRevision,
        apps::v1::DaemonSet,
        apps::v1::Deployment,
        apps::v1::ReplicaSet,
        apps::v1::StatefulSet,
        authentication::v1::SelfSubjectReview,
        authorization::v1::SelfSubjectAccessReview,
        authorization::v1::SelfSubjectRulesReview,
        autoscaling::v1::Scale,
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::CronJob,
        batch::v1::Job,
        coordination::v1::Lease,
        core::v1::ConfigMap,
        core::v1::Event,
        core::v1::Namespace,
        core::v1::Node,
        core::v1::Pod,
        core::v1::Secret,
        core::v1::Service,
        core::v1::ServiceAccount,
        discovery::v1::EndpointSlice,
        networking::v1::Ingress,
        policy::v1::Eviction,
        meta::v1::ListMeta,
        meta::v1::Status,
    ];
    let definitions: BTreeMap<String, Value> =
        generator.take_definitions(true).into_iter().map(|(name, schema)| (name, tidy(schema))).collect();
    let lines: Vec<String> = definitions.iter().map(|(name, schema)| format!("{}: {schema}", json!(name))).collect();
    let mut text = String::new();
    let _ = writeln!(text, "{{\n{}\n}}", lines.join(",\n"));
    std::fs::create_dir_all(std::path::Path::new(TARGET).parent().unwrap_or(std::path::Path::new(".")))?;
    std::fs::write(TARGET, text)
}

/// As Kubernetes writes it: what is said of a reference stands beside an `allOf`.
fn tidy(schema: Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut map: serde_json::Map<String, Value> = map.into_iter().map(|(key, value)| (key, tidy(value))).collect();
            map.remove("title");
            if map.len() > 1
                && let Some(reference) = map.shift_remove("$ref")
            {
                map.insert("allOf".into(), json!([{ "$ref": reference }]));
            }
            Value::Object(map)
        }
        Value::Array(items) => items.into_iter().map(tidy).collect(),
        other => other,
    }
}
