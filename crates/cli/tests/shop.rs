//! The shop, end to end: built, packed, deployed, called, restarted and killed.

mod common;

use common::{Machine, example};
use reqwest::Method;
use serde_json::{Value, json};

const HOST: &str = "shop.localhost";
/// Printed for each of the shop's routes, once it answers.
const ANSWERS: [&str; 3] = [
    "/users   curl -H 'Host: shop.localhost'",
    "/inventory   curl -H 'Host: shop.localhost'",
    "/checkout   curl -H 'Host: shop.localhost'",
];

async fn order(machine: &Machine, user: u64, sku: &str, quantity: u64) -> (u16, Value) {
    let body = json!({"user": user, "sku": sku, "quantity": quantity});
    let (status, text) = machine.ask(Method::POST, HOST, "/checkout", Some(body)).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn stock(machine: &Machine, sku: &str) -> u64 {
    let (status, text) = machine.get(HOST, &format!("/inventory/{sku}")).await;
    assert_eq!(status, 200, "{text}\n{}", machine.everything());
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["sku"], sku);
    json["stock"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_sells_what_it_has_and_remembers_it() {
    let file = example("shop").join("app.yaml");
    let mut machine = Machine::up(&[&file]);
    machine.prints("app shop is ready");
    ANSWERS.iter().for_each(|line| drop(machine.prints(line)));

    let (status, text) = machine.get(HOST, "/users/1").await;
    assert_eq!(status, 200, "{text}");
    let user: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(user["id"], 1);
    assert!(user["name"].as_str().is_some_and(|name| !name.is_empty()), "{user}");

    let before = stock(&machine, "apple").await;
    let (status, receipt) = order(&machine, 1, "apple", 2).await;
    assert_eq!(status, 201, "{receipt}");
    assert_eq!((&receipt["user"], &receipt["sku"], &receipt["quantity"]), (&json!(1), &json!("apple"), &json!(2)));
    assert_eq!(receipt["stock"], before - 2);
    assert!(!receipt["order"].is_null());
    assert_eq!(stock(&machine, "apple").await, before - 2);

    assert_eq!(order(&machine, 999_999, "apple", 1).await.0, 404, "no such user");
    assert_eq!(order(&machine, 1, "unobtainium", 1).await.0, 404, "no such sku");
    assert_eq!(order(&machine, 1, "apple", 1_000_000).await.0, 409, "short stock");
    assert_eq!(stock(&machine, "apple").await, before - 2, "what failed took nothing");

    // Many orders at once: exactly what is there is sold.
    let left = before - 2;
    let wanted = left + 20;
    let orders = (0..wanted).map(|_| order(&machine, 1, "apple", 1));
    let done = futures::future::join_all(orders).await;
    let sold = done.iter().filter(|(status, _)| *status == 201).count() as u64;
    let short = done.iter().filter(|(status, _)| *status == 409).count() as u64;
    let odd: Vec<_> = done.iter().filter(|(status, _)| !matches!(status, 201 | 409)).collect();
    assert!(odd.is_empty(), "{odd:?}\n{}", machine.everything());
    assert_eq!((sold, short), (left, 20));
    assert_eq!(stock(&machine, "apple").await, 0);

    // Stopped and started without a file: the same app, the same stock.
    machine.down();
    let machine = machine.again(&[]);
    ANSWERS.iter().for_each(|line| drop(machine.prints(line)));
    assert_eq!(stock(&machine, "apple").await, 0);
    assert_eq!(order(&machine, 1, "apple", 1).await.0, 409);

    // Killed: what was acknowledged is there.
    let bananas = stock(&machine, "banana").await;
    assert_eq!(order(&machine, 1, "banana", 1).await.0, 201);
    let mut machine = machine;
    machine.kill();
    let machine = machine.again(&[]);
    ANSWERS.iter().for_each(|line| drop(machine.prints(line)));
    assert_eq!(stock(&machine, "banana").await, bananas - 1);

    // Deleted and deployed again: its data waited for it. Deleted with its data: it begins anew.
    let path = file.to_str().unwrap();
    machine.ok(&["delete", "app", "shop", "--wait"]);
    machine.ok(&["deploy", path, "--wait"]);
    assert_eq!(stock(&machine, "apple").await, 0);
    assert!(machine.ok(&["delete", "app", "shop", "--with-data"]).contains("the data of app shop is removed"));
    machine.ok(&["deploy", path, "--wait"]);
    assert_eq!((stock(&machine, "apple").await, stock(&machine, "banana").await), (before, bananas));
    let refused = machine.command(&["delete", "deployment", "shop-user", "--with-data"]).output().unwrap();
    common::ended(&refused, 2);
    // An app that is gone can be asked for too.
    machine.ok(&["delete", "app", "shop", "--wait"]);
    machine.ok(&["delete", "app", "shop", "--with-data"]);
}
