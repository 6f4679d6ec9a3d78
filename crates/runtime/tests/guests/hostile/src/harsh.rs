//! Acts that want more of the host than anyone should get.

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
use wasip2::io::poll::{Pollable, poll};
use wasip2::random::random::get_random_bytes;

/// `ACT|…` → what came of it, if anything does.
pub fn act(what: &str) -> String {
    let words: Vec<&str> = what.split('|').collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    match words[0] {
        "fields" => (0..number(1)).map(|_| Fields::new()).collect::<Vec<_>>().len().to_string(),
        "pollables" => timers(number(1)).len().to_string(),
        "streams" => (0..number(1)).map(|_| wasip2::cli::stdout::get_stdout()).collect::<Vec<_>>().len().to_string(),
        "random" => get_random_bytes(number(1)).len().to_string(),
        // One argument of so many bytes.
        "string" => Fields::from_list(&[("x".to_owned(), vec![b'x'; number(1) as usize])]).is_ok().to_string(),
        "list" => aliased(number(1) as usize, 1 << 20).to_string(),
        "timers" => {
            let timers = timers(number(1));
            let all: Vec<&Pollable> = timers.iter().collect();
            loop {
                std::hint::black_box(poll(&all));
            }
        }
        "clock" => monotonic_clock::now().to_string(),
        "until" => {
            monotonic_clock::subscribe_instant(number(1)).block();
            "it came".into()
        }
        "print" => {
            let piece = vec![b'x'; 1 << 20];
            (0..number(1)).for_each(|_| std::io::Write::write_all(&mut std::io::stdout(), &piece).unwrap());
            "printed".into()
        }
        "fill" => {
            let mut from = vec![1u8; number(1) as usize];
            loop {
                std::hint::black_box(&mut from).fill(2);
            }
        }
        "scan" => scan(words[1]),
        "fetches" => fetches(number(1), words[2]),
        _ => format!("what? {what}"),
    }
}

/// None of them is ever due but the first.
fn timers(n: u64) -> Vec<Pollable> {
    (0..n).map(|at| monotonic_clock::subscribe_duration(if at == 0 { 0 } else { u64::MAX / 2 })).collect()
}

/// A list that costs a guest little: all its elements are the same bytes.
fn aliased(n: usize, size: usize) -> bool {
    let bytes = vec![b'x'; size].leak();
    // Never dropped, so that nothing is freed twice.
    let list: Vec<(String, Vec<u8>)> =
        (0..n).map(|_| ("x".to_owned(), unsafe { Vec::from_raw_parts(bytes.as_mut_ptr(), size, size) })).collect();
    let list = std::mem::ManuallyDrop::new(list);
    Fields::from_list(&list).is_ok()
}

/// What former tenants left in memory that is new to this one; then fills it with a mark of its own.
fn scan(mark: &str) -> String {
    const PAGES: usize = 16;
    let before = core::arch::wasm32::memory_grow(0, PAGES);
    if before == usize::MAX {
        return "no memory".into();
    }
    let new = unsafe { std::slice::from_raw_parts_mut((before << 16) as *mut u8, PAGES << 16) };
    let found = new.iter().filter(|byte| **byte != 0).count();
    for piece in new.chunks_exact_mut(mark.len()) {
        piece.copy_from_slice(mark.as_bytes());
    }
    found.to_string()
}

/// Sends so many requests at once: what has become of them a little later.
fn fetches(n: u64, authority: &str) -> String {
    let mut pending = Vec::new();
    for _ in 0..n {
        let request = OutgoingRequest::new(Fields::new());
        request.set_scheme(Some(&Scheme::Http)).unwrap();
        request.set_authority(Some(authority)).unwrap();
        request.set_path_with_query(Some("/")).unwrap();
        pending.push(outgoing_handler::handle(request, None).unwrap());
    }
    monotonic_clock::subscribe_duration(300_000_000).block();
    let mut told = std::collections::BTreeMap::<String, u32>::new();
    for (at, answer) in pending.iter().enumerate() {
        if at % 50 == 0 {
            // The host looks at so many at a time and no more.
            monotonic_clock::subscribe_duration(1).block();
        }
        // An answer is there to get only after somebody has asked whether it is.
        let word = match answer.subscribe().ready().then(|| answer.get()).flatten() {
            None => "waits".into(),
            Some(Ok(Ok(response))) => response.status().to_string(),
            Some(Ok(Err(code))) => format!("{code:?}"),
            Some(Err(())) => "taken".into(),
        };
        *told.entry(word).or_default() += 1;
    }
    format!("{told:?}")
}
