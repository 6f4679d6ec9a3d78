//! Single values: numbers, amounts, names, texts that look like something else.

use crate::support::{app, check, read, render};

/// The first line of what is said about one key's value.
fn about(key: &str, value: &str) -> String {
    let rendered = render(&read(format!("app: hello\nimage: ./a.wasm\n{key}: {value}\n")));
    rendered.lines().next().unwrap_or_default().to_owned()
}

fn meant(key: &str, value: &str) -> Option<String> {
    let rendered = render(&read(format!("app: hello\nimage: ./a.wasm\n{key}: {value}\n")));
    rendered.split_once("did you mean `").and_then(|(_, rest)| rest.split_once("`?")).map(|(meant, _)| meant.to_owned())
}

#[test]
fn m6_what_looks_like_something_else_stays_text() {
    let written = ["no", "on", "Yes", "1.10", "0777", "1e3", "0x1F", "1_000", "+1", "true", ".5", "12:30:45", "2026-01-01", ".inf", "0o17"];
    let env: String = written.iter().enumerate().map(|(i, text)| format!("  V{i}: {text}\n")).collect();
    let app = app(&format!("app: no\nimage: ghcr.io/acme/x:1.10\nargs: [{}]\nenv:\n{env}", written.join(", ")));
    assert_eq!(app.name, "no");
    assert_eq!(app.services["no"].settings.args, written);
    for (i, text) in written.iter().enumerate() {
        assert_eq!(app.env[&format!("V{i}")], *text);
    }
    assert_eq!(app.services["no"].origin.typed(), "ghcr.io/acme/x:1.10");
}

#[test]
fn m6_null_is_never_a_text() {
    check(
        "app: hello\nimage: ./a.wasm\nenv:\n  A: null\n  B:\n  C: ~\n  D: \"null\"\n  E: \"\"\n",
        "
app.yaml:4:6: the value is missing: expected a text; write \"\" for an empty text
  4 |   A: null
    |      ^^^^
app.yaml:5:4: the value is missing: expected a text; write \"\" for an empty text
  5 |   B:
    |    ^
app.yaml:6:6: the value is missing: expected a text; write \"\" for an empty text
  6 |   C: ~
    |      ^",
    );
    assert_eq!(app("app: hello\nimage: ./a.wasm\nenv: { D: \"null\", E: \"\", F: !!str null }\n").env["D"], "null");
}

#[test]
fn m6_a_key_is_text_too() {
    let app = app("app: hello\nimage: ./a.wasm\nenv: { on: 1, y: 2, NO: 3 }\n");
    assert_eq!(app.env.keys().collect::<Vec<_>>(), ["NO", "on", "y"]);
}

#[test]
fn m9_replicas() {
    assert_eq!(app("app: hello\nimage: ./a.wasm\nreplicas: 0\n").services["hello"].settings.replicas, 0);
    assert_eq!(about("replicas", "-1"), "app.yaml:3:11: `-1` is not between 0 and 10000");
    assert_eq!(about("replicas", "1000000000"), "app.yaml:3:11: `1000000000` is not between 0 and 10000");
    assert_eq!(about("replicas", "99999999999999999999999"), "app.yaml:3:11: `99999999999999999999999` is not between 0 and 10000");
    assert_eq!(about("replicas", "1e9"), "app.yaml:3:11: expected a whole number, found `1e9`");
    assert_eq!(about("replicas", "1.5"), "app.yaml:3:11: expected a whole number, found `1.5`");
    assert_eq!(about("replicas", "\"3\""), "app.yaml:3:11: expected a whole number, found the text \"3\"");
    assert_eq!(meant("replicas", "\"3\"").as_deref(), Some("3"));
    assert_eq!(about("replicas", "010"), "app.yaml:3:11: `010` starts with a 0, which some would read as octal");
    assert_eq!(about("replicas", "[1]"), "app.yaml:3:11: expected a whole number, found a list");
    assert_eq!(about("replicas", ""), "app.yaml:3:9: expected a whole number, found nothing");
}

#[test]
fn m10_memory() {
    let memory = |text: &str| {
        app(&format!("app: hello\nimage: ./a.wasm\nlimits: {{ memory: {text} }}\n")).services["hello"].settings.limits.memory.map(|m| m.0)
    };
    assert_eq!(memory("64Mi"), Some(64 << 20));
    assert_eq!(memory("64M"), Some(64_000_000));
    assert_eq!(memory("1.5Gi"), Some(3 << 29));
    assert_eq!(memory("67108864"), Some(64 << 20));
    assert_eq!(memory("\"64Mi\""), Some(64 << 20));
    let about = |text: &str| {
        let rendered = render(&read(format!("app: hello\nimage: ./a.wasm\nlimits: {{ memory: {text} }}\n")));
        let first = rendered.lines().next().unwrap_or_default().trim_start_matches("app.yaml:3:19: ").to_owned();
        let meant = rendered.split_once("did you mean").map(|(_, meant)| meant.trim().to_owned());
        (first, meant.unwrap_or_default())
    };
    let is_none = |text: &str| (format!("`{text}` is not an amount of memory; write it like 64Mi, 64M or 1Gi"), String::new());
    let meant = |text: &str, meant: &str| (is_none(text).0, format!("`{meant}`?"));
    assert_eq!(about("64"), ("`64` is 64 bytes, less than the least memory that a pod may have, 1Mi".into(), "`64Mi`?".into()));
    assert_eq!(about("\"\""), is_none(""));
    assert_eq!(about("64MB"), meant("64MB", "64Mi"));
    assert_eq!(about("64m"), meant("64m", "64Mi"));
    assert_eq!(about("64 MiB"), meant("64 MiB", "64Mi"));
    assert_eq!(about("-64Mi"), is_none("-64Mi"));
    assert_eq!(about("1e9"), is_none("1e9"));
    assert_eq!(about("064Mi"), is_none("064Mi"));
    assert_eq!(about("1.Gi"), is_none("1.Gi"));
    let too_much = |text: &str| (format!("`{text}` is more than the most memory that a pod may have, 1Ti"), String::new());
    for much in ["2Ti", "99999999999999999999Gi", "18446744073709551616", "340282366920938463463374607431768211456Ti"] {
        assert_eq!(about(much), too_much(much));
    }
    assert_eq!(about("999999999999999999999999999999999999999999999999999999999999999999999Mi").1, "");
}

#[test]
fn amounts_are_shown_as_they_are_read() {
    use scheduler::app::quantity::{Backoff, Cpu, Memory, Share, Time};
    fn both<T: std::str::FromStr + std::fmt::Display>(text: &str) -> String {
        text.parse::<T>().map_or_else(|_| "wrong".into(), |value| value.to_string())
    }
    for text in ["64Mi", "64M", "1Gi", "1536Mi", "1048577"] {
        assert_eq!(both::<Memory>(text), text);
    }
    for (text, shown) in [
        ("200m", "200m"),
        ("0.5", "500m"),
        ("2", "2"),
        ("1500m", "1500m"),
        ("0", "wrong"),
        ("0.0001", "wrong"),
        ("2000", "wrong"),
        ("", "wrong"),
    ] {
        assert_eq!(both::<Cpu>(text), shown);
    }
    for (text, shown) in [
        ("500ms", "500ms"),
        ("90s", "1m30s"),
        ("1h", "1h"),
        ("1m30s", "1m30s"),
        ("0s", "0s"),
        ("5", "wrong"),
        ("5s1m", "wrong"),
        ("1d", "wrong"),
        ("-5s", "wrong"),
        ("1.5s", "wrong"),
        ("99999999999999999999h", "wrong"),
        ("9999999999999999h", "wrong"),
        ("", "wrong"),
    ] {
        assert_eq!(both::<Time>(text), shown, "{text}");
    }
    for (text, shown) in [("25%", "25%"), ("2", "2"), ("101%", "wrong"), ("-1", "wrong"), ("%", "wrong"), ("", "wrong")] {
        assert_eq!(both::<Share>(text), shown);
    }
    for (text, shown) in
        [("100ms..30s", "100ms..30s"), ("1s..1s", "1s..1s"), ("2s..1s", "wrong"), ("0s..1s", "wrong"), ("1s", "wrong"), ("1s..2h", "wrong")]
    {
        assert_eq!(both::<Backoff>(text), shown);
    }
}

#[test]
fn times_have_units_and_bounds() {
    check(
        "app: hello\nimage: ./a.wasm\nlimits: { time: 5 }\nprobe: { path: /healthz, every: 1500ms, timeout: 0s }\nrollout: { deadline: 2h }\n",
        "
app.yaml:3:17: `5` has no unit; write it like 500ms, 5s, 1m or 1h
  3 | limits: { time: 5 }
    |                 ^ did you mean `5s`?
app.yaml:4:33: `1500ms` is not in whole seconds
  4 | probe: { path: /healthz, every: 1500ms, timeout: 0s }
    |                                 ^^^^^^
app.yaml:4:50: `0s` is not between 1s and 1h
  4 | probe: { path: /healthz, every: 1500ms, timeout: 0s }
    |                                                  ^^
app.yaml:5:22: `2h` is not between 1s and 1h
  5 | rollout: { deadline: 2h }
    |                      ^^",
    );
}

#[test]
fn m11_names() {
    let name = |name: &str| {
        let rendered = render(&read(format!("app: {name}\nimage: ./a.wasm\n")));
        rendered.lines().next().unwrap_or_default().trim_start_matches("app.yaml:1:6: ").to_owned()
    };
    let rule = |name: &str| {
        format!("`{name}` cannot be a name: it must be lower-case letters, digits and `-`, from a letter to a letter or digit")
    };
    assert_eq!(name("\"\""), "the name is empty");
    assert_eq!(name(&"a".repeat(64)), format!("`{}…` cannot be a name: it has 64 characters, the most is 63", "a".repeat(60)));
    assert_eq!(name("../x"), rule("../x"));
    assert_eq!(name("Shop"), rule("Shop"));
    assert_eq!(name("🚀"), rule("🚀"));
    assert_eq!(name("-x"), rule("-x"));
    assert_eq!(name("x-"), rule("x-"));
    assert_eq!(name("1x"), rule("1x"));
    assert_eq!(name("a.b"), rule("a.b"));
    assert_eq!(name("kubernetes"), "`kubernetes` cannot be a name: it is reserved");
    assert_eq!(app(&format!("app: {}\nimage: ./a.wasm\n", "a".repeat(63))).name.len(), 63);
    // One mistake, though in the short form the service has the same name.
    assert_eq!(render(&read("app: My_Shop\nimage: ./a.wasm\n")).lines().count(), 3);
}

#[test]
fn m11_names_of_other_things() {
    check(
        "app: shop\nnamespace: kube-system\nservices:\n  User: { image: ./a.wasm, uses: { keyvalue: [../x, \"\", Users], secrets: [1A, A=B] } }\n",
        "
app.yaml:2:12: `kube-system` cannot be a name: it is reserved
  2 | namespace: kube-system
    |            ^^^^^^^^^^^
app.yaml:4:3: `User` cannot be a name: it must be lower-case letters, digits and `-`, from a letter to a letter or digit
  4 |   User: { image: ./a.wasm, uses: { keyvalue: [../x, \"\", Users], secrets: [1A, A=B] } }
    |   ^^^^ did you mean `user`?
app.yaml:4:47: `../x` cannot be the name of a bucket: it must be 1 to 63 lower-case letters, digits, `-` and `_`, from a letter or digit
  4 |   User: { image: ./a.wasm, uses: { keyvalue: [../x, \"\", Users], secrets: [1A, A=B] } }
    |                                               ^^^^
app.yaml:4:53: `` cannot be the name of a bucket: it must be 1 to 63 lower-case letters, digits, `-` and `_`, from a letter or digit
  4 |   User: { image: ./a.wasm, uses: { keyvalue: [../x, \"\", Users], secrets: [1A, A=B] } }
    |                                                     ^^
app.yaml:4:57: `Users` cannot be the name of a bucket: it must be 1 to 63 lower-case letters, digits, `-` and `_`, from a letter or digit
  4 |   User: { image: ./a.wasm, uses: { keyvalue: [../x, \"\", Users], secrets: [1A, A=B] } }
    |                                                         ^^^^^ did you mean `users`?
app.yaml:4:75: `1A` cannot be the name of a variable: it must be letters, digits, `_`, `.` and `-`, not starting with a digit
  4 |   User: { image: ./a.wasm, uses: { keyvalue: [../x, \"\", Users], secrets: [1A, A=B] } }
    |                                                                           ^^
app.yaml:4:79: `A=B` cannot be the name of a variable: it must be letters, digits, `_`, `.` and `-`, not starting with a digit
  4 |   User: { image: ./a.wasm, uses: { keyvalue: [../x, \"\", Users], secrets: [1A, A=B] } }
    |                                                                               ^^^",
    );
}

#[test]
fn m11_the_names_of_objects_fit_too() {
    let long = format!("app: {}\nservices:\n  {}: {{ image: ./a.wasm }}\n  b: {{ image: ./b.wasm }}\n", "a".repeat(40), "s".repeat(40));
    let rendered = render(&read(long));
    assert!(rendered.contains("which has more than 63 characters"), "{rendered}");
}

#[test]
fn m13_env_keeps_every_character_that_an_environment_can_carry() {
    let app = app("app: hello\nimage: ./a.wasm\nenv:\n  LINES: \"a\\nb\"\n  BLOCK: |\n    c\n    d\n  MONEY: $$5\n  SPACES: '  x  '\n");
    assert_eq!(app.env["LINES"], "a\nb");
    assert_eq!(app.env["BLOCK"], "c\nd\n");
    assert_eq!(app.env["MONEY"], "$5");
    assert_eq!(app.env["SPACES"], "  x  ");
    check(
        "app: hello\nimage: ./a.wasm\nenv: { A: \"x\\0y\", B: $5, \"C=D\": x }\n",
        "
app.yaml:3:11: the value holds a NUL character, which no environment can carry
  3 | env: { A: \"x\\0y\", B: $5, \"C=D\": x }
    |           ^^^^^^
app.yaml:3:22: a lone `$` could be a mistyped variable; write `$$` for a dollar sign
  3 | env: { A: \"x\\0y\", B: $5, \"C=D\": x }
    |                      ^
app.yaml:3:26: `C=D` cannot be the name of a variable: it must be letters, digits, `_`, `.` and `-`, not starting with a digit
  3 | env: { A: \"x\\0y\", B: $5, \"C=D\": x }
    |                          ^^^^^",
    );
}

#[test]
fn images_are_files_or_references() {
    assert_eq!(meant("image2", "x"), Some("image".into()));
    let image = |image: &str| render(&read(format!("app: hello\nimage: {image}\n"))).lines().next().unwrap_or_default().to_owned();
    assert_eq!(
        image("hello.wasm"),
        "app.yaml:2:8: `hello.wasm` would be looked for in a registry; a file beside this one starts with `./`"
    );
    for (typed, file) in [
        ("./a b.wasm", true),
        ("../x.wasm", true),
        ("/abs/x.wasm", true),
        ("C:\\x.wasm", true),
        ("acme/x:1", false),
        ("localhost:5000/x", false),
    ] {
        let app = app(&format!("app: hello\nimage: {typed}\n"));
        assert_eq!(matches!(app.services["hello"].origin, scheduler::app::Origin::File(_)), file, "{typed}");
    }
    for wrong in ["ghcr.io/Acme/x", "x@sha256:abc", "\"a b\"", "x@md5:00000000000000000000000000000000", "\"\""] {
        assert!(image(wrong).contains("neither a file (./…) nor a reference"), "{}", image(wrong));
    }
}
