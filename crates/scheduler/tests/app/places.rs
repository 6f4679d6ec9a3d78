//! Routes and what follows from where a key stands.

use crate::support::{check, read, render};

#[test]
fn routes_in_their_forms() {
    check(
        "
app: shop
services:
  user: { image: ./a.wasm, route: shop.localhost/users/ }
  cart: { image: ./b.wasm, route: [shop.localhost/cart, { host: cart.localhost }, { path: /c }] }
",
        r#"
app shop
cart: file ./b.wasm
  route [{"host":"","path":"/c"},{"host":"cart.localhost","path":"/"},{"host":"shop.localhost","path":"/cart"}]
user: file ./a.wasm
  route [{"host":"shop.localhost","path":"/users"}]
"#,
    );
}

#[test]
fn a_route_that_two_could_read_differently_is_refused() {
    let about = |route: &str| {
        let rendered = render(&read(format!("app: hello\nimage: ./a.wasm\nroute: {route}\n")));
        let first = rendered.lines().next().unwrap_or_default().trim_start_matches("app.yaml:3:8: ").to_owned();
        let meant = rendered.split_once("did you mean ").map(|(_, rest)| rest.trim().to_owned()).unwrap_or_default();
        (first, meant)
    };
    let meant = |meant: &str| format!("`{meant}`?");
    assert_eq!(about("https://a.example/x").1, meant("a.example/x"));
    assert_eq!(
        about("a.example:8080/x"),
        ("`a.example:8080` cannot be a route's host: a route has no port, the gateway's is used".into(), meant("a.example"))
    );
    assert_eq!(about("A.example").1, meant("a.example"));
    assert_eq!(about("a.example.").1, meant("a.example"));
    for bad in ["\"*.example\"", "127.0.0.1", "\"[::1]/x\"", "bücher.example", "a..b", "-a.b", "a_b.c", "\"a b\""] {
        assert!(about(bad).0.contains("cannot be a route's host"), "{bad}: {:?}", about(bad));
    }
    for bad in ["a.b//x", "a.b/../x", "a.b/%2e", "a.b/x?y", "a.b/*", "a.b/x#y", "\"a.b/x y\"", "a.b/ä"] {
        assert!(about(bad).0.contains("cannot be a route's path"), "{bad}: {:?}", about(bad));
    }
    assert!(about("\"\"").0.starts_with("the route is empty"));
    assert!(about("{}").0.starts_with("the route is empty"));
}

#[test]
fn m12_one_route_leads_to_one_service() {
    check(
        "
app: shop
services:
  user: { image: ./a.wasm, route: shop.localhost/x }
  cart: { image: ./b.wasm, route: [{ host: shop.localhost, path: /x/ }, shop.localhost/x/y] }
",
        "
app.yaml:5:36: `shop.localhost/x` leads to the service `user` already
  4 |   user: { image: ./a.wasm, route: shop.localhost/x }
    |                                   ---------------- claimed here
  5 |   cart: { image: ./b.wasm, route: [{ host: shop.localhost, path: /x/ }, shop.localhost/x/y] }
    |                                    ^",
    );
    check(
        "app: hello\nimage: ./a.wasm\nroute: [a.example, a.example/]\n",
        "
app.yaml:3:20: this is listed twice
  3 | route: [a.example, a.example/]
    |                    ^^^^^^^^^^",
    );
}

#[test]
fn a_service_has_one_origin() {
    check(
        "app: shop\nservices:\n  user: { replicas: 2 }\n  cart: { image: ./a.wasm, build: . }\n",
        "
app.yaml:3:3: `user` has neither an `image` nor a `build`
  3 |   user: { replicas: 2 }
    |   ^^^^
app.yaml:4:28: `image` and `build` exclude each other
  4 |   cart: { image: ./a.wasm, build: . }
    |           ----- given here
  4 |   cart: { image: ./a.wasm, build: . }
    |                            ^^^^^",
    );
    check(
        "app: hello\n",
        "
app.yaml:1:6: `hello` has neither an `image` nor a `build`
  1 | app: hello
    |      ^^^^^",
    );
    check(
        "image: ./a.wasm\n",
        "
app.yaml:1:1: `app` is missing: the App's name: at most 63 lower-case letters, digits and `-`
  1 | image: ./a.wasm
    | ^",
    );
}

#[test]
fn the_short_and_the_long_form_do_not_mix() {
    check(
        "app: shop\nreplicas: 2\nservices:\n  user: { image: ./a.wasm }\n",
        "
app.yaml:2:1: `replicas` belongs to a service: move it below one of `services`, or take `services` away
  2 | replicas: 2
    | ^^^^^^^^",
    );
    check(
        "app: shop\nservices: {}\n",
        "
app.yaml:2:11: the app has no service: give it an `image`, a `build`, or `services`
  2 | services: {}
    |           ^",
    );
}

#[test]
fn too_many_services() {
    let services: String = (0..26).map(|i| format!("  s{i}: {{ image: ./a.wasm }}\n")).collect();
    let rendered = render(&read(format!("app: shop\nservices:\n{services}")));
    assert!(rendered.contains("the app has 26 services, the most is 25"), "{rendered}");
}

#[test]
fn a_rollout_must_be_able_to_go_on() {
    check(
        "app: hello\nimage: ./a.wasm\nrollout: { surge: 0 }\n",
        "
app.yaml:3:12: `surge` and `unavailable` are both 0, so no pod could ever be replaced
  3 | rollout: { surge: 0 }
    |            ^^^^^",
    );
    check(
        "app: hello\nimage: ./a.wasm\nrollout: { surge: 0, unavailable: 25%, on_failure: pause, bake: 90s }\n",
        r#"
app hello
hello: file ./a.wasm
  rollout.bake "1m30s"
  rollout.on_failure "pause"
  rollout.surge "0"
  rollout.unavailable "25%"
"#,
    );
}

#[test]
fn keys_of_later_parts_are_checked_and_refused_by_name() {
    let about = |text: &str| render(&read(format!("app: hello\n{text}")));
    let not_yet = |key: &str| format!("not yet: `{key}` is known, but this version does not carry it out; take it out for now");
    for (key, text) in [
        ("lost", "image: ./a.wasm\nlost: { after: 6s, then: move }\n"),
        ("tls", "image: ./a.wasm\ntls: { shop.example.com: acme }\n"),
        ("retry", "image: ./a.wasm\nretry: { attempts: 2, on: [connect, 503], budget: 20% }\n"),
        ("sticky", "image: ./a.wasm\nroute: { host: a.example, sticky: cookie }\n"),
    ] {
        let rendered = about(text);
        assert!(rendered.contains(&not_yet(key)), "{key}:\n{rendered}");
        assert_eq!(rendered.matches("app.yaml:").count(), 1, "{rendered}");
    }
    assert!(about("image: ./a.wasm\nreplicas: each-node\n").contains("not yet: `each-node`"));
    assert!(about("image: ./a.wasm\nuses: { listen: [5000/udp] }\n").contains("not yet: listening on `5000/udp`"));
    // What is wrong below such a key is said as well.
    let both = about("image: ./a.wasm\nscale: { min: -1, mx: 3 }\nretry: { attempts: 11 }\nlost: { then: run }\n");
    for part in [
        "`-1` is not between",
        "did you mean `max`",
        "`max` is missing",
        "`11` is not between",
        "`run` is not `move` or `stay`",
        &not_yet("retry"),
        &not_yet("lost"),
    ] {
        assert!(both.contains(part), "{part}:\n{both}");
    }
}

#[test]
fn kubernetes_and_compose_are_recognised() {
    check("apiVersion: apps/v1\nkind: Deployment\n---\napiVersion: v1\nkind: Service\n---\n", "Kubernetes: Deployment, Service");
    check("services:\n  web:\n    image: nginx\n    ports: [\"80:80\"]\nvolumes: {}\n", "Compose");
    check("name: shop\nservices: { web: { image: nginx } }\n", "Compose");
    check(
        "app: hello\nimage: ./a.wasm\n---\napiVersion: v1\nkind: Service\n",
        "
app.yaml:1:1: this document is no Kubernetes object (`apiVersion`, `kind`), but another one is
  1 | app: hello
    | ^",
    );
}
