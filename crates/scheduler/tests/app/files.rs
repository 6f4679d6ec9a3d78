//! Several files, each over the one before.

use crate::support::{check_all, read_all, render};
use scheduler::app::Parsed;

#[test]
fn maps_join_lists_are_appended_the_rest_is_replaced() {
    check_all(
        &[
            "
app: shop
env: { A: one, B: one }
services:
  user:
    build: ./user
    route: shop.localhost/users
    args: [a, b]
    limits: { memory: 64Mi, time: 5s }
    uses: { connect: [https://a.example], keyvalue: [users] }
",
            "
env: { B: two }
services:
  user:
    image: ghcr.io/acme/user:1
    route: shop.example.com/users
    args: [c]
    limits: { time: 9s }
    uses: { connect: [https://b.example, https://a.example] }
  cart: { image: ./cart.wasm }
",
            "app: !override shop-eu\nservices: { user: { replicas: 9 } }\n",
        ],
        r#"
app shop-eu
env A="one"
env B="two"
cart: file ./cart.wasm
user: image ghcr.io/acme/user:1
  args ["c"]
  limits.memory "64Mi"
  limits.time "9s"
  replicas 9
  route [{"host":"shop.example.com","path":"/users"}]
  uses.connect ["https://a.example:443","https://b.example:443"]
  uses.keyvalue ["users"]
"#,
    );
}

#[test]
fn a_later_file_takes_back() {
    check_all(
        &[
            "app: shop\nimage: ./a.wasm\nenv: { A: one, B: two }\nroute: a.example\nuses: { connect: [https://a.example], keyvalue: [x] }\nlimits: { memory: 64Mi }\n",
            "env: { A: !reset null }\nroute: !reset\nuses: { connect: !override [https://b.example] }\nlimits: !override { time: 1s }\n",
        ],
        r#"
app shop
env B="two"
shop: file ./a.wasm
  limits.time "1s"
  uses.connect ["https://b.example:443"]
  uses.keyvalue ["x"]
"#,
    );
}

#[test]
fn an_environment_may_hold_words_that_exclude_each_other_as_keys() {
    check_all(
        &["app: hello\nimage: ./a.wasm\nenv: { image: x }\n", "env: { build: y }\n"],
        "app hello\nenv build=\"y\"\nenv image=\"x\"\nhello: file ./a.wasm",
    );
}

#[test]
fn a_mistake_is_shown_in_its_own_file() {
    check_all(
        &[
            "app: hello\nimage: ./a.wasm\nreplicas: x\nroute: a.example\nlimits: { time: 1 }\n",
            "# over it\nreplicas: y\nlmits: { time: 1s }\n",
        ],
        "
first.yaml:5:17: `1` has no unit; write it like 500ms, 5s, 1m or 1h
  5 | limits: { time: 1 }
    |                 ^ did you mean `1s`?
second.yaml:2:11: expected a whole number, 0 to 10000, or `each-node`, found `y`
  2 | replicas: y
    |           ^
second.yaml:3:1: the key `lmits` is not known here
  3 | lmits: { time: 1s }
    | ^^^^^ did you mean `limits`?",
    );
    check_all(
        &["app: shop\nservices:\n  a: { image: ./a.wasm, route: x.example }\n", "services:\n  b: { image: ./b.wasm, route: x.example }\n"],
        "
second.yaml:2:32: `x.example` leads to the service `a` already
  3 |   a: { image: ./a.wasm, route: x.example }
    |                                --------- claimed here, in first.yaml
  2 |   b: { image: ./b.wasm, route: x.example }
    |                                ^^^^^^^^^",
    );
}

#[test]
fn two_names_are_two_apps() {
    let second = |name: &str| format!("app: {name}\nreplicas: 2\n");
    check_all(
        &["app: shop\nimage: ./a.wasm\n", &second("other")],
        "
second.yaml:1:6: these files are of two apps, shop and other; deploy them one by one
  1 | app: shop
    |      ---- the first is named here, in first.yaml
  1 | app: other
    |      ^^^^^",
    );
    for name in ["shop", "\"shop\"", "!override other", "${TAG:-shop}"] {
        let rendered = render(&read_all(&["app: shop\nimage: ./a.wasm\n", &second(name)]));
        assert!(!rendered.contains("two apps"), "{name}: {rendered}");
    }
}

#[test]
fn what_files_with_mistakes_name_on_this_machine_is_known() {
    let text = "app: t\nservices:\n  a: { image: ./a.wasm, replcas: 1 }\n  b: { build: { path: \"./${DIR:-b}\" } }\n  c: { image: ghcr.io/acme/c:1 }\n  d: { limits: 1 }\n";
    let sources = [scheduler::app::Source::new("t.yaml", text)];
    let named = scheduler::app::named_here(&sources, &|_| None);
    let named: Vec<_> = named.iter().map(|(service, origin, place)| (service.as_str(), origin.typed(), place.line, place.column)).collect();
    assert_eq!(named, [("a", "./a.wasm", 3, 15), ("b", "./b", 4, 23)]);
}

#[test]
fn every_unreadable_file_is_named() {
    let rendered = render(&read_all(&["app: [\n", "app: hello\n\timage: x\n"]));
    assert!(rendered.contains("first.yaml:") && rendered.contains("second.yaml:2:1: a tab"), "{rendered}");
}

#[test]
fn m16_the_same_file_twice_is_no_change() {
    let text = "
app: shop
env: { A: one }
services:
  user: { image: ghcr.io/acme/user:1, route: [a.example, b.example/x], args: [x, x], uses: { connect: [https://a.example], secrets: [S] } }
";
    // Where it was read is no part of what it says.
    let said = |texts: &[&str]| match read_all(texts) {
        Ok(Parsed::App(mut app)) => {
            app.origins.clear();
            app
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(said(&[text]), said(&[text, text]));
    let spec = crate::support::spec(text);
    assert!(scheduler::app::diff(Some(&spec), &crate::support::spec(text)).is_empty());
    // Order is no change either.
    let turned = text.replace("[a.example, b.example/x]", "[b.example/x, a.example]");
    assert_eq!(serde_json::to_value(&spec).ok(), serde_json::to_value(crate::support::spec(&turned)).ok());
}
