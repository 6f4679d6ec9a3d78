//! `${VAR}` in values and in `.env`.

use std::collections::BTreeMap;

use scheduler::app::{Source, env_file};

use crate::support::{app, check, compare, lookup};

#[test]
fn variables_are_replaced_in_values_of_every_kind() {
    let app = app(
        "app: hello\nimage: ghcr.io/acme/x:${TAG}\nreplicas: ${COUNT}\nenv:\n  A: '${TAG}'\n  B: \"${NOPE:-none}\"\n  C: ${EMPTY}\n  D: ${EMPTY:-full}\n  E: ${NOPE:-${TAG}-${NOPE:-x}}\n  F: a$$b$${TAG}\n  G: ${PASSWORD}\n  H: ${NIL}\n",
    );
    assert_eq!(app.services["hello"].origin.typed(), "ghcr.io/acme/x:2.0");
    assert_eq!(app.services["hello"].settings.replicas, 4);
    let env: Vec<&str> = app.env.values().map(String::as_str).collect();
    assert_eq!(env, ["2.0", "none", "", "full", "2.0-x", "a$b${TAG}", "a$b", "null"]);
}

#[test]
fn an_unset_or_mistyped_variable_is_a_mistake_where_it_stands() {
    check(
        "app: hello\nimage: ghcr.io/acme/x:${VERSION}\nenv:\n  A: x $TAG y\n  B: \"costs $ 5\"\n  C: ${TAG:?needed}\n  D: ${TAG\n  E: ${1A}\n",
        "
app.yaml:2:23: the variable VERSION is not set; set it, here or in .env, or write `${VERSION:-default}`
  2 | image: ghcr.io/acme/x:${VERSION}
    |                       ^^^^^^^^^^
app.yaml:4:8: a variable is written in braces, and a dollar sign `$$`
  4 |   A: x $TAG y
    |        ^^^^ did you mean `${TAG}`?
app.yaml:5:13: a lone `$` could be a mistyped variable; write `$$` for a dollar sign
  5 |   B: \"costs $ 5\"
    |             ^
app.yaml:6:6: `${TAG:?needed}` is not known here; `${TAG}` and `${TAG:-default}` are
  6 |   C: ${TAG:?needed}
    |      ^^^^^^^^^^^^^^
app.yaml:7:6: the `${` is not closed with `}`; write `$$` for a dollar sign
  7 |   D: ${TAG
    |      ^^
app.yaml:8:6: `${1A}` does not name a variable: letters, digits and `_`, not starting with a digit
  8 |   E: ${1A}
    |      ^^^^^",
    );
}

#[test]
fn a_variable_in_quotes_stays_text() {
    check(
        "app: hello\nimage: ./a.wasm\nreplicas: \"${COUNT}\"\n",
        "
app.yaml:3:11: expected a whole number, found the text \"4\"
  3 | replicas: \"${COUNT}\"
    |           ^^^^^^^^^^ did you mean `4`?",
    );
}

#[test]
fn variables_cannot_be_nested_without_end() {
    let rendered = crate::support::render(&crate::support::read(format!(
        "app: hello\nimage: ./a.wasm\nenv: {{ A: \"{}x{}\" }}\n",
        "${NOPE:-".repeat(100),
        "}".repeat(100)
    )));
    assert!(rendered.contains("variables are nested more than 8 deep"), "{rendered}");
}

fn env(text: &str) -> Result<BTreeMap<String, String>, scheduler::app::Mistakes> {
    env_file(&Source::new(".env", text), &lookup)
}

#[test]
fn an_env_file_in_its_forms() {
    let read = env("# comment\n\nA=1\r\nexport B = two words # comment\nC='it''s'# x\n").map_err(|m| m.to_string());
    assert!(read.is_err_and(|m| m.contains("nothing may follow the closing quotes")));
    let read = env(
        "# comment\n\nA=1\r\nexport B = two words # comment\nC='$literal # \\n'\nD=\"a\\nb \\$x \\\"q\\\" ${A}\" # comment\nE=\nF=${TAG}-${A}\nG=\"two\nlines\"\nH=x#y\nI=#\n",
    );
    let read = read.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let expected = [
        ("A", "1"),
        ("B", "two words"),
        ("C", "$literal # \\n"),
        ("D", "a\nb $x \"q\" 1"),
        ("E", ""),
        ("F", "2.0-1"),
        ("G", "two\nlines"),
        ("H", "x#y"),
        ("I", ""),
    ];
    assert_eq!(read, expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
}

#[test]
fn an_env_file_has_all_its_mistakes_at_once() {
    let mistakes = env("A=1\nnot a line\n2B=x\nA=2\nC=${NOPE}\nD=a$b\nE=\"open\n").map_err(|mistakes| mistakes.to_string());
    compare(
        &mistakes.expect_err("there are mistakes"),
        "
.env:2:1: this line is not NAME=value
  2 | not a line
    | ^^^^^^^^^^
.env:3:1: `2B` cannot be the name of a variable: letters, digits and `_`, not starting with a digit
  3 | 2B=x
    | ^^
.env:4:1: `A` is set twice
  1 | A=1
    | - first set here
  4 | A=2
    | ^
.env:5:1: the variable NOPE is not set; set it, here or in .env, or write `${NOPE:-default}`
  5 | C=${NOPE}
    | ^
.env:6:1: a variable is written in braces, and a dollar sign `$$`
  6 | D=a$b
    | ^ did you mean `${b}`?
.env:7:3: the quotes that open here are not closed
  7 | E=\"open
    |   ^",
    );
}
