//! Patches and applied bodies that nobody means well with: refused or done, never the server's fault.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use crate::support::*;

/// Any JSON, with words that mean something to a patch.
fn any_patch() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "metadata",
        "spec",
        "template",
        "containers",
        "name",
        "labels",
        "annotations",
        "env",
        "ports",
        "containerPort",
        "replicas",
        "selector",
        "finalizers",
        "ownerReferences",
        "uid",
        "managedFields",
        "fieldsV1",
        "f:spec",
        "strategy",
        "status",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "op",
        "path",
        "value",
        "from",
        "resourceVersion",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec!["", "web", "delete", "replace", "merge", "add", "/spec/replicas", "/metadata", "x\u{0}"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word.clone().prop_map(str::to_owned), inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

#[tokio::test]
async fn no_patch_and_nothing_that_is_applied_is_the_servers_fault() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let web = deployment("web");
    assert_eq!(admin.post(DEPLOYMENTS, web.clone()).await.code, 201);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..400 {
        let patch = any_patch().new_tree(&mut runner).unwrap().current();
        let form = ["strategic-merge-patch+json", "merge-patch+json", "json-patch+json", "apply-patch+yaml"][round % 4];
        let part = ["", "/status", "/scale"][round / 4 % 3];
        let path = format!("{DEPLOYMENTS}/web{part}?fieldManager=m{}&force={}", round % 5, round % 2 == 0);
        let answer = admin.send("PATCH", &path, &format!("application/{form}"), Some(patch.clone())).await;
        assert!(answer.code.as_u16() < 500, "{form} {part} {patch}: {answer:?}");
        if answer.code.is_success() {
            taken += 1
        } else {
            refused += 1
        }
        if admin.get(&format!("{DEPLOYMENTS}/web")).await.code == 404 {
            admin.post(DEPLOYMENTS, web.clone()).await;
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused: the patches are too much alike");
}

#[tokio::test]
async fn a_field_that_stands_there_twice_is_told_or_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let body = r#"{"metadata":{"name":"c"},"data":{"a":"1","a":"2"}}"#;
    let strict = admin.raw("POST", &format!("{CONFIG_MAPS}?fieldValidation=Strict"), "application/json", body).await;
    assert_eq!((strict.code.as_u16(), strict.body["message"].as_str()), (400, Some("strict decoding error: duplicate field \"data.a\"")));
    let ignored = admin.raw("POST", &format!("{CONFIG_MAPS}?fieldValidation=Ignore&dryRun=All"), "application/json", body).await;
    assert!(ignored.code == 201 && ignored.headers.get("warning").is_none(), "{ignored:?}");
    let warned = admin.raw("POST", CONFIG_MAPS, "application/json", body).await;
    assert!(warned.code == 201 && warned.headers["warning"].to_str().unwrap().contains("duplicate field \\\"data.a\\\""), "{warned:?}");
}

#[tokio::test]
async fn an_app_that_is_applied_where_its_name_is_taken_is_refused_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(DEPLOYMENTS, deployment("web")).await.ok();
    let web = app("web", json!({ "web": { "image": image("web"), "replicas": 1 } }));
    let path = format!("{APPS}/web?fieldManager=m&force=true");
    let applied = admin.send("PATCH", &path, "application/apply-patch+yaml", Some(web));
    let refused = tokio::time::timeout(std::time::Duration::from_secs(20), applied).await.expect("an answer").refused(409, "AlreadyExists");
    assert!(refused["message"].as_str().unwrap().contains("belongs to no App"), "{refused}");
}
