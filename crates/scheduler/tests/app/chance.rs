//! m18: whatever is typed, the reader answers and never panics.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use scheduler::app::{AppSpec, Parsed, Source, env_file, parse};

use crate::support::{lookup, read, render};

/// Words and marks of app files, so that chance gets past the first line.
fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "app: hello\n",
        "image: ./a.wasm\n",
        "services:\n",
        "  user:\n",
        "    image: x:1\n",
        "    route: ",
        "a.example/x",
        "replicas: ",
        "uses: {",
        "connect: [",
        "https://a.b:443",
        "]",
        "}",
        "- ",
        "${TAG}",
        "${",
        "$$",
        "&a ",
        "*a",
        "<<: ",
        "\"",
        "'",
        "|\n",
        ">\n",
        "\t",
        "\r\n",
        "\n",
        "  ",
        ": ",
        ", ",
        "# x\n",
        "---\n",
        "...\n",
        "!reset ",
        "!override ",
        "null",
        "~",
        "0777",
        "1e9",
        "64Mi",
        "500ms",
        "🚀",
        "\u{202e}",
        "\u{feff}",
        "%YAML 1.2\n",
        "? ",
        "env: ",
        "limits: ",
        "scale: ",
        "job: {}",
        "@",
        "`",
        "\u{85}",
        "\u{2028}",
    ];
    prop_oneof![8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 2 => any::<String>(), 1 => "[ -~]{0,12}"]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..40).prop_map(|parts| parts.concat())
}

/// A good file with some bytes changed, cut out or doubled.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let good = include_str!("design.yaml").as_bytes().to_vec();
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6);
    damage.prop_map(move |damage| {
        let mut bytes = good.clone();
        for (index, byte, how) in damage {
            if bytes.is_empty() {
                break;
            }
            let i = index.index(bytes.len());
            match how {
                0 => bytes[i] = byte,
                1 => drop(bytes.remove(i)),
                2 => bytes.insert(i, byte),
                _ => bytes.truncate(i + 1),
            }
        }
        bytes
    })
}

/// `PROPTEST_CASES=1000000` is the long run.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(2_000), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn m18_any_text_is_answered(text in text()) {
        any_text(text)?;
    }

    #[test]
    fn m18_any_bytes_are_answered(bytes in bytes()) {
        any_bytes(bytes)?;
    }

    #[test]
    fn m18_a_damaged_file_is_answered_and_what_is_read_reads_again(bytes in damaged()) {
        any_damage(bytes)?;
    }

    #[test]
    fn m18_any_json_is_answered(text in json()) {
        any_json(text)?;
    }
}

type Answered = Result<(), TestCaseError>;

fn any_text(text: String) -> Answered {
    let parsed = read(text.clone());
    let _ = render(&parsed);
    let _ = env_file(&Source::new(".env", text), &lookup).map_err(|mistakes| mistakes.to_string());
    Ok(())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

fn any_bytes(bytes: Vec<u8>) -> Answered {
    let _ = render(&read(bytes));
    Ok(())
}

fn any_damage(bytes: Vec<u8>) -> Answered {
    let parsed = read(bytes.clone());
    let _ = render(&parsed);
    prop_assert_eq!(&parsed, &parse(&[Source::new("app.yaml", bytes.clone())], &lookup));
    if let Ok(Parsed::App(app)) = parsed {
        let images = app.services.iter().map(|(name, s)| (name.clone(), crate::support::locked(name, s.origin.typed()))).collect();
        let spec = app.lock(images).expect("every service is locked");
        let value = serde_json::to_value(&spec).expect("a spec is JSON");
        prop_assert_eq!(AppSpec::read(&value), Ok(spec));
    }
    Ok(())
}

fn json() -> impl Strategy<Value = String> {
    "[\\[\\]{}\":,a-z0-9 ]{0,200}"
}

fn any_json(text: String) -> Answered {
    if let Ok(value) = serde_json::from_str(&text) {
        let _ = AppSpec::read(&value).map_err(|mistakes| mistakes.to_string());
    }
    Ok(())
}

/// How long chance has in the nightly run.
const NIGHT: Duration = Duration::from_secs(600);

#[test]
#[ignore = "nightly: takes ten minutes"]
fn m18_ten_minutes_of_anything_are_answered() {
    fn turn<T: std::fmt::Debug>(input: &impl Strategy<Value = T>, answer: impl Fn(T) -> Answered) {
        // A runner that has had its cases has no more, so each turn has its own; what it finds is printed.
        let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..config() });
        runner.run(input, answer).unwrap_or_else(|found| panic!("{found}"));
    }
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < NIGHT {
        turn(&text(), any_text);
        turn(&bytes(), any_bytes);
        turn(&damaged(), any_damage);
        turn(&json(), any_json);
        turns += 1;
    }
    let cases = turns * 4 * config().cases;
    println!("{cases} cases");
    // More would mean that they were not run.
    assert!((4 * config().cases..1_000_000_000).contains(&cases), "{cases} cases in {NIGHT:?}");
}
