//! Apps: what they expand to, in one commit.

use scheduler::kinds::{APP, CONTROLLER_REVISION};
use scheduler::names;
use scheduler::reconcile::Written;
use serde_json::{Value, json};

use crate::support::*;

fn shop() -> Value {
    app(
        "shop",
        json!({
            "user": { "image": image("shop/user"), "replicas": 2, "route": "shop.localhost/users" },
            "checkout": { "image": image("shop/checkout"), "route": "shop.localhost/checkout", "uses": { "call": ["user"] } },
        }),
    )
}

async fn names_of(client: &Client, path: &str) -> Vec<String> {
    let list = client.get(path).await.ok();
    list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_app_is_written_with_everything_that_it_stands_for() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let made = client.put(&format!("{APPS}/shop"), shop()).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(names_of(&client, DEPLOYMENTS).await, ["shop-checkout", "shop-user"]);
    assert_eq!(names_of(&client, "/api/v1/namespaces/default/services").await, ["shop-checkout", "shop-user"]);
    assert_eq!(names_of(&client, "/apis/wctl.dev/v1/routeclaims").await, ["shop.localhost:checkout", "shop.localhost:users"]);
    assert_eq!(names_of(&client, "/apis/apps/v1/namespaces/default/controllerrevisions").await, ["shop-1"]);
    let user = client.get(&format!("{DEPLOYMENTS}/shop-user")).await.ok();
    assert_eq!(user["spec"]["replicas"], 2);
    assert_eq!(user["metadata"]["ownerReferences"][0]["uid"], made.body["metadata"]["uid"]);
}

#[tokio::test]
async fn m16_the_same_app_twice_changes_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let path = format!("{APPS}/shop");
    client.put(&path, shop()).await.ok();
    let before = client.get(&path).await.ok();
    let child = client.get(&format!("{DEPLOYMENTS}/shop-user")).await.ok();
    let again = client.put(&path, shop()).await;
    assert_eq!((again.code.as_u16(), &again.body), (200, &before));
    assert_eq!(client.get(&format!("{DEPLOYMENTS}/shop-user")).await.ok(), child);
}

#[tokio::test]
async fn a_service_keeps_its_objects_when_another_one_comes_and_when_it_goes() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    for (app_name, first) in [("hello", "hello"), ("shop", "web")] {
        let path = format!("{APPS}/{app_name}");
        let one = json!({ (first): { "image": image("web"), "route": format!("{app_name}.localhost") } });
        let mut two = one.clone();
        two["extra"] = json!({ "image": image("extra") });
        client.put(&path, app(app_name, one.clone())).await.ok();
        let before = client.get(DEPLOYMENTS).await.ok()["items"].clone();
        client.put(&path, app(app_name, two)).await.ok();
        let after = client.get(DEPLOYMENTS).await.ok()["items"].as_array().unwrap().clone();
        for object in before.as_array().unwrap() {
            assert!(after.contains(object), "{} was not touched", object["metadata"]["name"]);
        }
        assert_eq!(after.len(), before.as_array().unwrap().len() + 1);
        client.put(&path, app(app_name, one)).await.ok();
        assert_eq!(client.get(DEPLOYMENTS).await.ok()["items"], before);
    }
    assert_eq!(names_of(&client, DEPLOYMENTS).await, ["hello", "shop-web"]);
}

#[tokio::test]
async fn a_new_spec_changes_makes_and_removes_children() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.put(&format!("{APPS}/shop"), shop()).await.ok();
    let untouched = client.get(&format!("{DEPLOYMENTS}/shop-checkout")).await.ok();
    // What others add to a child stays.
    client.merge(&format!("{DEPLOYMENTS}/shop-user"), json!({ "spec": { "paused": true } })).await.ok();
    let mut next = shop();
    next["spec"]["services"]["user"]["replicas"] = json!(3);
    next["spec"]["services"]["stock"] = json!({ "image": image("shop/stock"), "route": "shop.localhost/stock" });
    let put = client.put(&format!("{APPS}/shop"), next.clone()).await.ok();
    assert_eq!(put["metadata"]["generation"], 2);
    assert_eq!(names_of(&client, DEPLOYMENTS).await, ["shop-checkout", "shop-stock", "shop-user"]);
    let user = client.get(&format!("{DEPLOYMENTS}/shop-user")).await.ok();
    assert_eq!((&user["spec"]["replicas"], &user["spec"]["paused"]), (&json!(3), &json!(true)));
    assert_eq!(client.get(&format!("{DEPLOYMENTS}/shop-checkout")).await.ok(), untouched, "what stays the same is not written");
    next["spec"]["services"].as_object_mut().unwrap().remove("checkout");
    client.put(&format!("{APPS}/shop"), next).await.ok();
    assert_eq!(names_of(&client, DEPLOYMENTS).await, ["shop-stock", "shop-user"]);
    assert_eq!(names_of(&client, "/apis/networking.k8s.io/v1/namespaces/default/ingresses").await, ["shop-stock", "shop-user"]);
    assert_eq!(names_of(&client, "/apis/wctl.dev/v1/routeclaims").await, ["shop.localhost:stock", "shop.localhost:users"]);
    assert_eq!(names_of(&client, "/apis/apps/v1/namespaces/default/controllerrevisions").await, ["shop-1", "shop-2", "shop-3"]);
}

#[tokio::test]
async fn a_name_that_another_has_is_refused_and_says_who() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post(DEPLOYMENTS, deployment("shop-user")).await.ok();
    let refused = client.put(&format!("{APPS}/shop"), shop()).await.refused(409, "AlreadyExists");
    assert!(refused["message"].as_str().unwrap().contains("shop-user exists already and was made by hand"), "{refused}");
    client.get(&format!("{APPS}/shop")).await.refused(404, "NotFound");
    assert_eq!(names_of(&client, "/api/v1/namespaces/default/services").await, Vec::<String>::new());
}

#[tokio::test]
async fn m12_of_two_apps_one_has_the_route() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post("/api/v1/namespaces", json!({ "metadata": { "name": "other" } })).await.ok();
    client.put(&format!("{APPS}/shop"), shop()).await.ok();
    let rival = || app("rival", json!({ "web": { "image": image("web"), "route": "shop.localhost/users" } }));
    let path = "/apis/wctl.dev/v1/namespaces/other/apps/rival";
    let refused = client.put(path, rival()).await.refused(409, "AlreadyExists");
    assert!(
        refused["message"].as_str().unwrap().contains("shop.localhost/users belongs to the app shop in the namespace default"),
        "{refused}"
    );
    client.delete(&format!("{APPS}/shop")).await.ok();
    client.put(path, rival()).await.ok();
    // Both at once: exactly one of them.
    let (a, b) = ("/apis/wctl.dev/v1/namespaces/default/apps/a", "/apis/wctl.dev/v1/namespaces/other/apps/b");
    let web = || json!({ "web": { "image": image("web"), "route": "race.localhost" } });
    let (one, two) = tokio::join!(client.put(a, app("a", web())), client.put(b, app("b", web())));
    let mut codes = [one.code.as_u16(), two.code.as_u16()];
    codes.sort_unstable();
    assert_eq!(codes, [201, 409]);
}

#[tokio::test]
async fn to_scale_a_child_is_to_scale_its_app() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.put(&format!("{APPS}/shop"), shop()).await.ok();
    client.put(&format!("{DEPLOYMENTS}/shop-user/scale"), json!({ "spec": { "replicas": 5 } })).await.ok();
    let app = client.get(&format!("{APPS}/shop")).await.ok();
    assert_eq!((&app["spec"]["services"]["user"]["replicas"], &app["metadata"]["generation"]), (&json!(5), &json!(2)));
    client.merge(&format!("{DEPLOYMENTS}/shop-user"), json!({ "spec": { "replicas": 6 } })).await.ok();
    assert_eq!(client.get(&format!("{APPS}/shop")).await.ok()["spec"]["services"]["user"]["replicas"], 6);
    assert_eq!(client.get(&format!("{DEPLOYMENTS}/shop-user")).await.ok()["spec"]["replicas"], 6);
    // The App's next generation keeps it.
    client.merge(&format!("{APPS}/shop"), json!({ "spec": { "services": { "checkout": { "replicas": 2 } } } })).await.ok();
    assert_eq!(client.get(&format!("{DEPLOYMENTS}/shop-user")).await.ok()["spec"]["replicas"], 6);
}

#[tokio::test]
async fn an_app_is_deleted_with_its_children_routes_and_revisions() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.put(&format!("{APPS}/shop"), shop()).await.ok();
    let list = client.get(DEPLOYMENTS).await.ok();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut gone = client.watch(&format!("{DEPLOYMENTS}?watch=true&resourceVersion={version}")).await;
    client.delete(&format!("{APPS}/shop")).await.ok();
    let last: Vec<String> = vec![gone.told().await, gone.told().await];
    assert!(last.iter().any(|e| e == "DELETED shop-user"), "{last:?}");
    for all in [
        DEPLOYMENTS,
        "/api/v1/services",
        "/apis/networking.k8s.io/v1/ingresses",
        "/apis/wctl.dev/v1/routeclaims",
        "/apis/apps/v1/controllerrevisions",
    ] {
        assert_eq!(names_of(&client, all).await, Vec::<String>::new(), "{all}");
    }
}

#[tokio::test]
async fn an_app_with_a_tag_or_an_unknown_field_is_refused_whole() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let tagged = client.post(APPS, app("a", json!({ "a": { "image": "web:1" } }))).await.refused(422, "Invalid");
    assert!(tagged["message"].as_str().unwrap().contains("image"), "{tagged}");
    let newer = client.post(APPS, app("a", json!({ "a": { "image": image("a"), "gpu": 1 } }))).await.refused(422, "Invalid");
    assert!(newer["message"].as_str().unwrap().contains("gpu"), "{newer}");
    assert_eq!(names_of(&client, DEPLOYMENTS).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_roll_back_writes_an_old_spec_as_a_new_generation() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.put(&format!("{APPS}/shop"), shop()).await.ok();
    let mut next = shop();
    next["spec"]["services"]["user"]["replicas"] = json!(7);
    client.put(&format!("{APPS}/shop"), next).await.ok();
    let api = cluster.server.apps();
    assert_eq!(api.roll_back("default", "shop", 1, 1, "late").await, Ok(Written::Stale));
    assert_eq!(api.roll_back("default", "shop", 2, 1, "user was not ready in 60s").await, Ok(Written::Done));
    let objects = cluster.server.objects();
    let app = objects.get(&APP, "default", "shop").await.unwrap().unwrap();
    assert_eq!((app.generation(), app.annotation(names::ROLLED_BACK)), (3, Some("user was not ready in 60s")));
    assert_eq!(app.spec()["services"]["user"]["replicas"], 2);
    assert_eq!(client.get(&format!("{DEPLOYMENTS}/shop-user")).await.ok()["spec"]["replicas"], 2);
    assert!(objects.get(&CONTROLLER_REVISION, "default", "shop-3").await.unwrap().is_some());
    for (number, failed) in [(1, None), (2, Some("user was not ready in 60s")), (3, None)] {
        let revision = objects.get(&CONTROLLER_REVISION, "default", &format!("shop-{number}")).await.unwrap().unwrap();
        assert_eq!(revision.annotation(names::FAILED), failed, "revision {number}");
    }
    assert!(api.roll_back("default", "shop", 3, 99, "x").await.unwrap_err().contains("shop-99"));
}

#[tokio::test]
async fn a_dry_run_of_an_app_checks_its_children_and_keeps_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.put(&format!("{APPS}/shop?dryRun=All"), shop()).await.ok();
    assert_eq!(names_of(&client, DEPLOYMENTS).await, Vec::<String>::new());
    client.post(DEPLOYMENTS, deployment("shop-user")).await.ok();
    client.put(&format!("{APPS}/shop?dryRun=All"), shop()).await.refused(409, "AlreadyExists");
}

#[tokio::test]
async fn deploying_an_unchanged_app_makes_again_what_was_deleted_of_it() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let path = format!("{APPS}/shop");
    let made = client.put(&path, shop()).await.ok();
    let ingress = "/apis/networking.k8s.io/v1/namespaces/default/ingresses/shop-user";
    let lost = [format!("{DEPLOYMENTS}/shop-user"), "/api/v1/namespaces/default/services/shop-user".to_owned(), ingress.to_owned()];
    for child in &lost {
        client.delete(child).await.ok();
    }
    let again = client.put(&path, shop()).await.ok();
    assert_eq!(again["metadata"]["generation"], made["metadata"]["generation"], "the App itself is unchanged");
    for child in &lost {
        let child = client.get(child).await.ok();
        assert_eq!(child["metadata"]["ownerReferences"][0]["uid"], made["metadata"]["uid"]);
    }
    client.delete(&lost[0]).await.ok();
    let apps = cluster.server.apps();
    assert_eq!(apps.remake("default", "shop", 9).await, Ok(Written::Stale));
    assert_eq!(apps.remake("default", "shop", 1).await, Ok(Written::Done));
    assert_eq!(client.get(&lost[0]).await.ok()["spec"]["replicas"], 2);
    // What somebody else put in the place stays, and is named.
    client.delete(&lost[0]).await.ok();
    client.post(DEPLOYMENTS, deployment("shop-user")).await.ok();
    let refused = client.put(&path, shop()).await.refused(409, "AlreadyExists");
    assert!(refused["message"].as_str().unwrap().contains("shop-user"), "{refused}");
}
