//! What a guest may reach: only what one line names, written the one way in which it is compared.

use crate::support::{app, check, read, render};

#[test]
fn nothing_is_granted_by_default() {
    let app = app("app: hello\nimage: ./a.wasm\nuses: { connect: , keyvalue: [] }\n");
    assert_eq!(app.services["hello"].settings.uses, scheduler::app::Uses::default());
}

#[test]
fn targets_get_their_one_form() {
    let app = app(
        "app: hello\nimage: ./a.wasm\nuses:\n  connect: [https://api.example, \"http://api.example\", https://a.b:8443/, \"http://[::1]:8080\", http://192.0.2.7]\n",
    );
    let connect: Vec<&str> = app.services["hello"].settings.uses.connect.iter().map(String::as_str).collect();
    assert_eq!(
        connect,
        ["http://192.0.2.7:80", "http://[::1]:8080", "http://api.example:80", "https://a.b:8443", "https://api.example:443"]
    );
}

#[test]
fn h26_a_target_with_two_readings_is_refused() {
    let about = |target: &str| render(&read(format!("app: hello\nimage: ./a.wasm\nuses: {{ connect: [\"{target}\"] }}\n")));
    for bad in [
        "https://user@a.b",
        "https://a.b/x",
        "https://a.b?x",
        "https://a.b#x",
        "https://*.a.b",
        "https://a.b.",
        "https://A.b",
        "https://bücher.de",
        "https://",
        "https://:443",
        "https://a.b:",
        "https://a.b:0",
        "https://a.b:65536",
        "https://a.b:0443",
        "https://a.b:+443",
        "ftp://a.b",
        "a.b:443",
        "unix:///x",
        "http://2130706433",
        "http://0x7f.1",
        "http://127.1",
        "http://0177.0.0.1",
        "http://[::1",
        "http://[fe80::1%eth0]",
        "https://a,b",
        "https://a.b:443:1",
        "",
    ] {
        let rendered = about(bad);
        assert!(rendered.contains("is not a target"), "{bad}:\n{rendered}");
    }
    assert!(about("api.example.com").contains("did you mean `https://api.example.com`?"));
    assert!(about("https://a.b/v1/x").contains("did you mean `https://a.b`?"));
    assert!(about("tcp://a.b").contains("tcp needs a port"));
}

#[test]
fn a_volume_is_at_a_plain_path_and_has_a_size() {
    check(
        "app: hello\nimage: ./a.wasm\nuses: { volumes: { /data/../etc: { size: 1Mi }, data: { size: 1 }, /d: {} } }\n",
        "
app.yaml:3:20: `/data/../etc` is not a place for a volume; write an absolute path like /data, of at most 60 letters, digits, `.`, `_`, `-` and `/`
  3 | uses: { volumes: { /data/../etc: { size: 1Mi }, data: { size: 1 }, /d: {} } }
    |                    ^^^^^^^^^^^^
app.yaml:3:49: `data` is not a place for a volume; write an absolute path like /data, of at most 60 letters, digits, `.`, `_`, `-` and `/`
  3 | uses: { volumes: { /data/../etc: { size: 1Mi }, data: { size: 1 }, /d: {} } }
    |                                                 ^^^^
app.yaml:3:63: `1` is 1 bytes, less than the least storage that a volume may have, 1Mi
  3 | uses: { volumes: { /data/../etc: { size: 1Mi }, data: { size: 1 }, /d: {} } }
    |                                                               ^ did you mean `1Mi`?
app.yaml:3:72: `size` is missing: the most that it holds; each name counts 4Ki beside its content
  3 | uses: { volumes: { /data/../etc: { size: 1Mi }, data: { size: 1 }, /d: {} } }
    |                                                                        ^
",
    );
}

#[test]
fn calls_go_to_services_of_the_app() {
    check(
        "app: shop\nservices:\n  user: { image: ./a.wasm }\n  cart: { image: ./b.wasm, uses: { call: [usr, billing] } }\n",
        "
app.yaml:4:43: the app has no service `usr` to call; it has user, cart
  4 |   cart: { image: ./b.wasm, uses: { call: [usr, billing] } }
    |                                           ^^^ did you mean `user`?
app.yaml:4:48: the app has no service `billing` to call; it has user, cart
  4 |   cart: { image: ./b.wasm, uses: { call: [usr, billing] } }
    |                                                ^^^^^^^",
    );
}

#[test]
fn a_secret_is_no_variable_at_the_same_time() {
    check(
        "app: shop\nenv: { A: x }\nservices:\n  user: { image: ./a.wasm, env: { B: x }, uses: { secrets: [A, B] } }\n",
        "
app.yaml:4:61: `A` is both a secret and a variable in `env`
  2 | env: { A: x }
    |        - set here
  4 |   user: { image: ./a.wasm, env: { B: x }, uses: { secrets: [A, B] } }
    |                                                             ^
app.yaml:4:64: `B` is both a secret and a variable in `env`
  4 |   user: { image: ./a.wasm, env: { B: x }, uses: { secrets: [A, B] } }
    |                                   - set here
  4 |   user: { image: ./a.wasm, env: { B: x }, uses: { secrets: [A, B] } }
    |                                                                ^",
    );
}

#[test]
fn an_environment_has_a_bound() {
    let rendered = render(&read(format!("app: hello\nimage: ./a.wasm\nenv: {{ A: {} }}\n", "x".repeat(40_000))));
    assert!(rendered.contains("the environment has 40001 bytes, the most is 32768"), "{rendered}");
}
