//! What a deploy would change, as sentences.

use scheduler::app::{Sort, diff};

use crate::support::{compare, spec};

#[track_caller]
fn check(old: Option<&str>, new: &str, expected: &str) {
    compare(&diff(old.map(spec).as_ref(), &spec(new)).to_string(), expected);
}

#[test]
fn a_new_app_says_first_what_it_may_reach() {
    check(
        None,
        "
app: shop
services:
  user: { image: ghcr.io/acme/user:1, replicas: 2, route: shop.localhost/users }
  checkout: { image: ./c.wasm, uses: { call: [user], secrets: [KEY], keyvalue: [orders], blobs: [uploads], connect: [https://api.pay.example], listen: [5000/tcp], volumes: { /data: { size: 1Gi } } } }
",
        "
checkout will newly reach https://api.pay.example:443
checkout will newly listen on port 5000/tcp
checkout will newly call user
checkout will newly get the secret KEY
checkout will newly read and write the bucket orders
checkout will newly read and write the container uploads
checkout will newly keep up to 1Gi of files in /data
checkout is new, with 1 pod of ./c.wasm (sha256:000001310c6a)
user is new, with 2 pods of ghcr.io/acme/user:1 (sha256:13df010261c1)
user will be reached at shop.localhost/users
",
    );
}

#[test]
fn everything_that_changes_is_said_in_its_order() {
    let old = "
app: shop
env: { LOG: info, OLD: x }
services:
  cart: { image: ghcr.io/acme/cart:1, uses: { connect: [https://a.example, https://b.example] } }
  user: { image: ghcr.io/acme/user:1, env: { A: one }, route: [a.example, b.example] }
  gone: { image: ./g.wasm, route: g.example, uses: { keyvalue: [x] } }
";
    let new = "
app: shop
env: { LOG: debug }
services:
  cart: { image: ghcr.io/acme/cart:1, uses: { connect: [https://b.example, https://c.example] }, limits: { memory: 64Mi, cpu: 200m, time: 5s, concurrency: 7 }, sandbox: { reuse: 9 } }
  user: { image: ghcr.io/acme/user:2, replicas: 3, env: { A: two, B: new }, args: [x], route: [a.example, c.example], probe: { path: /h }, place: { spread: zone, require: { disk: ssd } }, restart: { backoff: 1s..5s, reset: 9s } }
  new: { image: ./n.wasm }
rollout: { surge: 2, unavailable: 1, deadline: 5s, bake: 1s, on_failure: pause }
";
    let told = diff(Some(&spec(old)), &spec(new));
    let sorts: Vec<Sort> = told.changes.iter().map(|change| change.sort).collect();
    assert!(sorts.is_sorted(), "{sorts:?}");
    let digests = told.to_string().replace(|c: char| c.is_ascii_digit(), "0");
    assert!(digests.contains("user changes its image from ghcr.io/acme/user:0 (sha000:"), "{digests}");
    let lines: Vec<String> = told.to_string().lines().filter(|line| !line.contains("sha256:")).map(str::to_owned).collect();
    compare(
        &lines.join("\n"),
        "
cart will newly reach https://c.example:443
cart will no longer reach https://a.example:443
gone will no longer read and write the bucket x
gone goes away, with all its pods
user changes its pods from 1 to 3
user changes A from \"one\" to \"two\"
user sets B to \"new\"
user changes its arguments from none to x
every service changes LOG from \"info\" to \"debug\"
every service no longer sets OLD
user will be reached at c.example
user will no longer be reached at b.example
gone will no longer be reached at g.example
cart changes its memory from 128Mi shared to 64Mi
cart changes its CPU from shared to 200m
cart changes its request time from 30s to 5s
cart changes its concurrency from 100 to 7
cart changes the requests of a sandbox from 1 to 9
user changes its probe from none to /h every 5s, 1s to answer, 3 failures
user changes what its pods are spread over from node to zone
user changes the labels that its nodes need from none to disk=ssd
user changes its back-off from 100ms..30s to 1s..5s
user changes its back-off's reset from 60s to 9s
the rollout changes its surge from 1 to 2
the rollout changes the pods that may be missing from 0 to 1
the rollout changes its deadline from 1m to 5s
the rollout changes its bake time from 0s to 1s
the rollout changes what it does on failure from rollback to pause
",
    );
}

#[test]
fn a_volume_of_another_size_is_no_other_volume() {
    let volume = |size: &str| format!("app: hello\nimage: ./a.wasm\nuses: {{ volumes: {{ /data: {{ size: {size} }} }} }}\n");
    check(Some(&volume("1Mi")), &volume("2Mi"), "hello changes the size of its volume /data from 1Mi to 2Mi");
    check(Some(&volume("1Mi")), "app: hello\nimage: ./a.wasm\n", "hello will no longer keep files in /data");
}

#[test]
fn no_change_says_so() {
    let app = "app: hello\nimage: ./a.wasm\n";
    check(Some(app), app, "no change");
}

#[test]
fn one_tag_with_two_digests_is_a_change() {
    let old = spec("app: hello\nimage: x:1\n");
    let mut new = old.clone();
    let service = new.services.get_mut("hello").expect("the service");
    service.image = service.image.replace("000", "fff");
    let told = diff(Some(&old), &new);
    assert_eq!(told.changes.len(), 1);
    assert_eq!(told.changes[0].sort, Sort::Image);
}

#[test]
fn each_field_of_a_service_shows_in_a_diff() {
    // A field that the spec keeps and the diff forgets would be deployed unseen.
    let base = "app: hello\nimage: x:1\n";
    for own in [
        "replicas: 2",
        "env: { A: x }",
        "args: [x]",
        "route: a.example",
        "probe: { path: /h }",
        "limits: { memory: 64Mi }",
        "limits: { cpu: 1 }",
        "limits: { time: 1s }",
        "limits: { concurrency: 1 }",
        "sandbox: { reuse: 2 }",
        "uses: { keyvalue: [x] }",
        "uses: { blobs: [x] }",
        "uses: { secrets: [X] }",
        "uses: { connect: [https://x] }",
        "uses: { listen: [5000/tcp] }",
        "uses: { call: [hello] }",
        "uses: { volumes: { /data: { size: 1Mi } } }",
        "place: { spread: zone }",
        "place: { require: { a: b } }",
        "restart: { backoff: 1s..2s }",
        "restart: { reset: 1s }",
        "rollout: { bake: 1s }",
    ] {
        let told = diff(Some(&spec(base)), &spec(&format!("{base}{own}\n")));
        assert_eq!(told.changes.len(), 1, "{own}: {told}");
        let back = diff(Some(&spec(&format!("{base}{own}\n"))), &spec(base));
        assert_eq!(back.changes.len(), 1, "{own}: {back}");
    }
}
