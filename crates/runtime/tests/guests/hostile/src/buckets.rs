//! Acts on buckets, through both drafts of the interface.

mod draft2 {
    wit_bindgen::generate!({ path: "../../../../../wit/wasi-keyvalue-draft2", world: "imports", generate_all });
}

mod draft {
    wit_bindgen::generate!({ path: "../../../../../wit/wasi-keyvalue-draft", world: "imports", generate_all });
}

mod config {
    wit_bindgen::generate!({ path: "../../../../../wit/wasi-config", world: "imports", generate_all });
}

use draft2::wasi::keyvalue::{atomics, batch, store};

/// `ACT|BUCKET|KEY|VALUE` → what came of it.
pub fn act(what: &str) -> String {
    let mut parts = what.split('|');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (act, bucket, key, value) = (next(), next(), next(), next());
    match act.as_str() {
        "config" => return format!("{:?}", config::wasi::config::store::get(&bucket)),
        "old" => return old(&bucket, &key, &value),
        _ => {}
    }
    let bucket = match store::open(&bucket) {
        Ok(bucket) => bucket,
        Err(error) => return format!("{error:?}"),
    };
    match act.as_str() {
        "get" => format!("{:?}", bucket.get(&key).map(|value| value.map(|value| String::from_utf8_lossy(&value).into_owned()))),
        "set" => format!("{:?}", bucket.set(&key, value.as_bytes())),
        "large" => format!("{:?}", bucket.set(&key, &vec![0; 2 << 20])),
        "increment" => format!("{:?}", atomics::increment(&bucket, &key, value.parse().unwrap_or(1))),
        "swap" => {
            let cas = atomics::Cas::new(&bucket, &key).expect("reading");
            bucket.set(&key, b"between").expect("writing");
            match atomics::swap(cas, value.as_bytes()) {
                Err(atomics::CasError::CasFailed(newer)) => format!("failed, then {:?}", atomics::swap(newer, value.as_bytes()).is_ok()),
                other => format!("{:?}", other.is_ok()),
            }
        }
        "keys" => format!("{:?}", bucket.list_keys(None).map(|page| page.keys)),
        "batch" => {
            batch::set_many(&bucket, &[("one".to_owned(), b"1".to_vec()), ("two".to_owned(), b"2".to_vec())]).expect("writing");
            format!("{:?}", batch::get_many(&bucket, &["one".to_owned(), "three".to_owned()]))
        }
        _ => "what?".into(),
    }
}

fn old(bucket: &str, key: &str, value: &str) -> String {
    use draft::wasi::keyvalue::{atomics, store};
    let bucket = match store::open(bucket) {
        Ok(bucket) => bucket,
        Err(error) => return format!("{error:?}"),
    };
    bucket.set(key, value.as_bytes()).expect("writing");
    let sum = atomics::increment(&bucket, key, 1);
    format!("{sum:?} {:?}", bucket.list_keys(None).map(|page| page.keys))
}
