//! YAML itself: bombs, tabs, duplicates, encodings, depth, several documents.

use std::time::{Duration, Instant};

use scheduler::app::{Mistakes, Parsed};

use crate::support::{check, read, render};

#[test]
fn two_lines_are_enough() {
    check("app: hello\nimage: ./hello.wasm\n", "app hello\nhello: file ./hello.wasm");
}

#[test]
fn m1_an_alias_bomb_costs_nothing() {
    let mut bomb = String::from("app: bomb\nimage: ./x.wasm\nargs:\n  - &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("  - &a{level} [{aliases}]\n"));
    }
    let rendered = render(&cheap(&bomb));
    assert!(rendered.contains("unfolds to more than 50000 values"), "{rendered}");
}

/// Reads a file within 100 ms, in the best of five times since the machine does other things too, and within 10 MB of memory.
#[track_caller]
fn cheap(text: &str) -> Result<Parsed, Mistakes> {
    let once = || {
        let start = Instant::now();
        let (parsed, peak) = crate::memory::peak(|| read(text));
        (start.elapsed(), peak, parsed)
    };
    let (took, peak, parsed) = (0..5).map(|_| once()).min_by_key(|(took, ..)| *took).expect("five times");
    assert!(took < Duration::from_millis(100), "took {took:?}");
    assert!(peak < 10_000_000, "held {peak} bytes");
    parsed
}

#[test]
fn m1_the_same_bomb_with_merge_keys_and_long_texts() {
    let mut bomb = format!("app: bomb\nimage: ./x.wasm\nenv:\n  A: &a0 \"{}\"\nargs:\n", "x".repeat(500_000));
    (0..100).for_each(|_| bomb.push_str("  - *a0\n"));
    let rendered = render(&cheap(&bomb));
    assert!(rendered.contains("unfolds to more than"), "{rendered}");
    let mut bomb = String::from("app: bomb\nimage: ./x.wasm\nenv: &m0 { A: x }\n");
    for level in 1..40 {
        let keys: String = (0..100).map(|i| format!("K{level}_{i}: x, ")).collect();
        bomb.push_str(&format!("k{level}: &m{level} {{ {keys} <<: [*m{0}, *m{0}] }}\n", level - 1));
    }
    let rendered = render(&cheap(&bomb));
    assert!(rendered.contains("unfolds to more than"), "{rendered}");
}

#[test]
fn m1_honest_aliases_and_merge_keys_are_read() {
    check(
        r#"
app: shop
services:
  user: &base
    image: ghcr.io/acme/user:1
    replicas: 2
    limits: &limits { memory: 64Mi }
  cart:
    <<: *base
    image: ghcr.io/acme/cart:1
    limits: *limits
"#,
        r#"
app shop
cart: image ghcr.io/acme/cart:1
  limits.memory "64Mi"
  replicas 2
user: image ghcr.io/acme/user:1
  limits.memory "64Mi"
  replicas 2
"#,
    );
}

#[test]
fn m1_an_alias_without_or_inside_its_anchor() {
    check(
        "app: hello\nimage: *base\n",
        "
app.yaml:2:8: the alias `*base` has no anchor `&base` before it; quote it if it is text
  2 | image: *base
    |        ^^^^^",
    );
    check(
        "app: hello\nimage: ./x.wasm\nargs: &a [*a]\n",
        "
app.yaml:3:11: this alias stands inside its own anchor
  3 | args: &a [*a]
    |           ^^",
    );
}

#[test]
fn m2_a_duplicate_key_shows_both_lines() {
    check(
        "app: hello\nimage: ./a.wasm\nreplicas: 2\nimage: ./b.wasm\n",
        "
app.yaml:4:1: `image` is given twice
  2 | image: ./a.wasm
    | ----- first given here
  4 | image: ./b.wasm
    | ^^^^^",
    );
    check(
        "app: shop\nservices:\n  user: { image: ./a.wasm }\n  user: { image: ./b.wasm }\n",
        "
app.yaml:4:3: `user` is given twice
  3 |   user: { image: ./a.wasm }
    |   ---- first given here
  4 |   user: { image: ./b.wasm }
    |   ^^^^",
    );
}

#[test]
fn m3_a_tab_is_shown_and_named() {
    check(
        "app: shop\nservices:\n\tuser:\n\t\timage: ./a.wasm\n",
        "
app.yaml:3:1: a tab indents this line; YAML wants spaces
  3 | →user:
    | ^",
    );
    // A tab after the text has begun is white space like any other.
    check("app:\thello\t# a comment\nimage:\t./a.wasm\n", "app hello\nhello: file ./a.wasm");
}

#[test]
fn m4_unknown_field_names_the_nearest() {
    check(
        "app: hello\nimage: ./a.wasm\nreplcas: 2\nlimits: { memroy: 64Mi, tiem: 5s }\n",
        "
app.yaml:3:1: the key `replcas` is not known here
  3 | replcas: 2
    | ^^^^^^^ did you mean `replicas`?
app.yaml:4:11: the key `memroy` is not known here
  4 | limits: { memroy: 64Mi, tiem: 5s }
    |           ^^^^^^ did you mean `memory`?
app.yaml:4:25: the key `tiem` is not known here
  4 | limits: { memroy: 64Mi, tiem: 5s }
    |                         ^^^^ did you mean `time`?",
    );
}

#[test]
fn m4_a_word_of_another_tool_or_of_another_place() {
    check(
        "app: hello\nimage: ./a.wasm\nenvironment: { A: b }\nmemory: 64Mi\nports: [80]\n",
        "
app.yaml:3:1: the key `environment` is not known here
  3 | environment: { A: b }
    | ^^^^^^^^^^^ did you mean `env`?
app.yaml:4:1: the key `memory` is not known here
  4 | memory: 64Mi
    | ^^^^^^ did you mean `limits.memory`?
app.yaml:5:1: the key `ports` is not known here
  5 | ports: [80]
    | ^^^^^ did you mean `route`?",
    );
    check(
        "app: hello\nimage: ./a.wasm\nsandbox: { colour: red }\n",
        "
app.yaml:3:12: the key `colour` is not known here; the keys are reuse
  3 | sandbox: { colour: red }
    |            ^^^^^^",
    );
}

#[test]
fn m5_a_type_error_says_where_and_what_was_expected() {
    check(
        "app: hello\nimage: [./a.wasm]\nreplicas: two\nlimits: 64Mi\nenv: [A=b]\nuses: { keyvalue: users }\n",
        "
app.yaml:2:8: expected a file or reference, found a list
  2 | image: [./a.wasm]
    |        ^
app.yaml:3:11: expected a whole number, 0 to 10000, or `each-node`, found `two`
  3 | replicas: two
    |           ^^^
app.yaml:4:9: expected a map, found `64Mi`
  4 | limits: 64Mi
    |         ^^^^
app.yaml:5:6: expected a map from variable to a value, found a list
  5 | env: [A=b]
    |      ^
app.yaml:6:19: expected a list of buckets, found `users`
  6 | uses: { keyvalue: users }
    |                   ^^^^^",
    );
}

#[test]
fn m7_a_byte_order_mark_and_windows_line_ends_are_fine() {
    check("\u{feff}app: hello\r\nimage: ./a.wasm\r\n", "app hello\nhello: file ./a.wasm");
    check(
        "\u{feff}app: hello\r\nimage: ./a.wasm\r\nreplicas: x\r\n",
        "
app.yaml:3:11: expected a whole number, 0 to 10000, or `each-node`, found `x`
  3 | replicas: x
    |           ^",
    );
}

#[test]
fn m7_utf16_and_invalid_utf8_are_named() {
    let utf16 =
        |text: &str, mark: u16| -> Vec<u8> { std::iter::once(mark).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect() };
    assert_eq!(render(&read(utf16("app: hello\n", 0xfeff))), "app.yaml: the file is UTF-16; save it as UTF-8");
    let unmarked: Vec<u8> = "app: hello\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(render(&read(unmarked)), "app.yaml: the file is UTF-16; save it as UTF-8");
    let rendered = render(&read(*b"app: hello\nimage: ./gr\xfc\xdf.wasm\n"));
    assert_eq!(rendered.lines().next(), Some("app.yaml:2:12: the file is not UTF-8: byte 0xfc cannot stand here; save it as UTF-8"));
    let rendered = render(&read(*b"app: hello\nimage: ./a.wasm\0\nreplicas: 2\n"));
    assert_eq!(rendered.lines().next(), Some("app.yaml:2:16: the control character U+0000 cannot stand in an app file"));
}

#[test]
fn m7_a_huge_file_is_refused_unread() {
    let start = Instant::now();
    let rendered = render(&read(vec![b' '; 100 << 20]));
    assert_eq!(rendered, "app.yaml: the file has 104857600 bytes; an app file has at most 1048576");
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
}

#[test]
fn m7_great_depth_is_refused_at_once() {
    for deep in
        [format!("app: {}", "[".repeat(10_000)), format!("app: {}", "{a: ".repeat(10_000)), nested_block(1_000), "- ".repeat(10_000)]
    {
        let start = Instant::now();
        let rendered = render(&read(deep));
        assert!(rendered.contains("nested more than 64 deep"), "{rendered}");
        assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
    }
}

#[test]
fn m7_depth_cannot_be_had_through_aliases_either() {
    let mut deep = String::from("app: hello\nimage: ./a.wasm\nargs:\n  - &a0 [x]\n");
    for level in 1..100 {
        deep.push_str(&format!("  - &a{level} [[[[*a{}]]]]\n", level - 1));
    }
    let rendered = render(&read(deep));
    assert!(rendered.contains("nested more than 64 deep"), "{rendered}");
}

fn nested_block(depth: usize) -> String {
    (0..depth).map(|level| format!("{}a:\n", " ".repeat(level))).collect()
}

#[test]
fn m8_a_second_document_is_refused_and_a_lone_marker_is_not() {
    check(
        "app: hello\nimage: ./a.wasm\n---\napp: other\nimage: ./b.wasm\n",
        "
app.yaml:4:1: a second document starts here; an app file holds one
  4 | app: other
    | ^",
    );
    check("---\napp: hello\nimage: ./a.wasm\n---\n", "app hello\nhello: file ./a.wasm");
}

#[test]
fn m15_an_empty_file_says_what_the_smallest_one_is() {
    for empty in ["", "\n\n", "# nothing yet\n", "---\n", "\u{feff}"] {
        check(empty, "app.yaml: the file holds nothing; the smallest app is\n  app: hello\n  image: ./hello.wasm");
    }
}

#[test]
fn m15_json_is_yaml() {
    check(
        r#"{"app": "hello", "image": "./a.wasm", "replicas": 2, "limits": {"memory": "64Mi", "concurrency": 7}}"#,
        r#"
app hello
hello: file ./a.wasm
  limits.concurrency 7
  limits.memory "64Mi"
  replicas 2
"#,
    );
}

#[test]
fn a_file_that_is_no_map() {
    for text in ["- app: hello\n", "hello\n"] {
        let rendered = render(&read(text));
        assert!(rendered.starts_with("app.yaml:1:1: expected keys like `app:` and `image:` at the top of the file"), "{rendered}");
    }
}

#[test]
fn usual_syntax_errors_say_what_to_do() {
    check(
        "app: hello\nimage: ./a.wasm\nroute: a: b\n",
        "
app.yaml:3:9: a `:` cannot stand here; is a line indented wrongly, or must the text be quoted?
  3 | route: a: b
    |         ^",
    );
    let first = |text: &str| render(&read(text)).lines().next().unwrap_or_default().to_owned();
    assert!(first("app: \"hello\nimage: ./a.wasm\n").contains("not closed"), "{}", first("app: \"hello\nimage: ./a.wasm\n"));
    assert!(first("app: hello\nimage: ./a.wasm\nargs: [a, b\n").contains("closed"), "{}", first("args: [a, b\n"));
    assert!(first("app: @hello\n").contains("cannot start with `@`"), "{}", first("app: @hello\n"));
    assert!(first("app: !ruby hello\n").contains("the tag `!ruby` is not known here"), "{}", first("app: !ruby hello\n"));
}

#[test]
fn a_line_steers_no_terminal_and_fills_no_screen() {
    let long = format!("app: hello\nimage: ./a.wasm\nreplicas: \"{}\u{202e}x\"\n", "y".repeat(5000));
    let rendered = render(&read(long));
    assert!(rendered.lines().all(|line| line.chars().count() < 220), "{rendered}");
    assert!(!rendered.contains('\u{202e}'));
}
