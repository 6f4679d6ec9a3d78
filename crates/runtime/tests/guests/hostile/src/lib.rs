//! A 0.2 HTTP guest that misbehaves in the way that the request's path names.

mod blobs;
mod buckets;
mod harsh;
mod logged {
    wit_bindgen::generate!({ path: "../../../../../wit/wasi-logging", world: "imports", generate_all });
}

use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme};
use wasip2::io::streams::OutputStream;
use wasip2::random::random::get_random_bytes;

wasip2::http::proxy::export!(Hostile);

struct Hostile;

static mut CALLS: u32 = 0;
static mut SECRET: [u8; 32] = [0; 32];

impl Guest for Hostile {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let whole = request.path_with_query().unwrap_or_default();
        let (path, query) = whole.split_once('?').unwrap_or((&whole, ""));
        match path {
            "/" => answer(out, b"hello"),
            "/count" => answer(out, count().to_string().as_bytes()),
            "/canary" => answer(out, canary(query).as_bytes()),
            "/env" => answer(out, format!("{:?}", std::env::vars().collect::<Vec<_>>()).as_bytes()),
            "/print" => {
                println!("to stdout");
                eprintln!("to stderr");
                answer(out, b"printed");
            }
            "/log" => {
                log(query);
                answer(out, b"logged");
            }
            "/trace" => answer(out, trace(&request, query).as_bytes()),
            "/echo" => echo(request, out),
            "/length" => {
                let incoming = request.consume().expect("the request's body");
                let read = incoming.stream().expect("its stream");
                let mut length = 0;
                while let Ok(bytes) = read.blocking_read(4096) {
                    length += bytes.len();
                }
                answer(out, length.to_string().as_bytes());
            }
            _ if path.starts_with("/reflect") => {
                let seen = reflect(&request, &whole);
                answer(out, seen.as_bytes());
            }
            "/spin" => spin(),
            "/spin-clock" => loop {
                std::hint::black_box(monotonic_clock::now());
            },
            "/spin-random" => loop {
                std::hint::black_box(get_random_bytes(1024));
            },
            "/spin-poll" => loop {
                monotonic_clock::subscribe_duration(0).block();
            },
            "/sleep" => {
                monotonic_clock::subscribe_duration(query.parse().unwrap_or(u64::MAX)).block();
                answer(out, b"slept");
            }
            "/memory" => {
                let mut held = Vec::new();
                loop {
                    held.push(std::hint::black_box(vec![1u8; 1 << 20]));
                }
            }
            "/recurse" => answer(out, recurse(1).to_string().as_bytes()),
            "/random" => answer(out, get_random_bytes(1 << 40).len().to_string().as_bytes()),
            "/resources" => {
                let fields: Vec<Fields> = (0..1_000_000).map(|_| Fields::new()).collect();
                answer(out, fields.len().to_string().as_bytes());
            }
            "/panic" => panic!("as asked"),
            "/panic-env" => panic!("{}", std::env::var(query).unwrap_or_default()),
            "/exit" => wasip2::cli::exit::exit(if query == "0" { Ok(()) } else { Err(()) }),
            "/headers" => headers(out, query.parse().unwrap_or(40_000), 1),
            "/large-header" => headers(out, 1, 1 << 20),
            "/hop" => hop(out),
            "/none" => drop(out),
            "/twice" => {
                let again = unsafe { ResponseOutparam::from_handle(out.handle()) };
                answer(out, b"once");
                answer(again, b"twice");
            }
            "/error" => ResponseOutparam::set(out, Err(wasip2::http::types::ErrorCode::InternalError(Some("as asked".into())))),
            "/trap-body" => stream(out, None, |_| std::process::abort()),
            "/spin-body" => stream(out, None, |_| spin()),
            "/stall-body" => stream(out, None, |_| monotonic_clock::subscribe_duration(u64::MAX).block()),
            "/print-body" => stream(out, None, |_| println!("in mid-body")),
            "/leak-body" => stream(out, None, |_| ()),
            "/long-body" => stream(out, Some("3"), |_| ()),
            "/short-body" => stream(out, Some("300"), |_| ()),
            "/endless" => stream(out, None, |write| while write.blocking_write_and_flush(&[b'x'; 4096]).is_ok() {}),
            "/fetch" => answer(out, fetch(query).as_bytes()),
            "/harsh" => answer(out, harsh::act(query).as_bytes()),
            "/fields" => fields(out, query),
            "/again" => answer(out, fetch(&format!("http|{query}|/again?{query}")).as_bytes()),
            "/blobs" => answer(out, blobs::act(query).as_bytes()),
            "/keep" => answer(out, keep(query).as_bytes()),
            "/keyvalue" => answer(out, buckets::act(query).as_bytes()),
            _ => answer(out, b"what?"),
        }
    }
}

/// `LEVEL|CONTEXT|MESSAGE`
fn log(what: &str) {
    use logged::wasi::logging::logging::{Level, log};
    let parts: Vec<&str> = what.splitn(3, '|').collect();
    let level = match parts[0] {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => Level::Critical,
    };
    log(level, parts[1], parts[2]);
}

/// The request's place in its trace, and that of the request that `next` names, as [`fetch`] has it.
fn trace(request: &IncomingRequest, next: &str) -> String {
    let value = |name: &str| {
        let values: Vec<String> = request.headers().get(name).iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        values.join("+")
    };
    let mut text = format!("{} {}", value("traceparent"), value("tracestate"));
    if !next.is_empty() {
        text += &format!("\n{}", fetch(next));
    }
    text
}

/// `PATH|TEXT` keeps a text in a file, `PATH` says what was kept.
fn keep(what: &str) -> String {
    match what.split_once('|') {
        Some((path, text)) => format!("{:?}", std::fs::write(path, text).map_err(|error| error.kind())),
        None => std::fs::read_to_string(what).unwrap_or_else(|error| format!("{:?}", error.kind())),
    }
}

fn spin() -> ! {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

#[allow(unconditional_recursion, reason = "the stack is to run out")]
fn recurse(n: u64) -> u64 {
    // A small frame in linear memory, so that the host's stack is what runs out.
    std::hint::black_box(n) + recurse(std::hint::black_box(n + 1))
}

fn count() -> u32 {
    // One request at a time runs in a sandbox.
    unsafe {
        CALLS += 1;
        CALLS
    }
}

/// What the last request left behind; then leaves something.
fn canary(secret: &str) -> String {
    unsafe {
        let before = SECRET;
        let n = secret.len().min(32);
        SECRET[..n].copy_from_slice(&secret.as_bytes()[..n]);
        String::from_utf8_lossy(&before).trim_end_matches('\0').to_owned()
    }
}

fn respond(out: ResponseOutparam, fields: Fields) -> OutgoingBody {
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("the body");
    ResponseOutparam::set(out, Ok(response));
    body
}

fn answer(out: ResponseOutparam, bytes: &[u8]) {
    let body = respond(out, Fields::new());
    let write = body.write().expect("the stream");
    for chunk in bytes.chunks(4096) {
        write.blocking_write_and_flush(chunk).expect("writing");
    }
    drop(write);
    OutgoingBody::finish(body, None).expect("finishing");
}

/// What the guest sees of a request's head.
fn reflect(request: &IncomingRequest, whole: &str) -> String {
    let method = match request.method() {
        Method::Get => "GET".to_owned(),
        Method::Post => "POST".to_owned(),
        other => format!("{other:?}"),
    };
    let mut seen = format!("{method} {whole}\nhost: {}\n", request.authority().unwrap_or_default());
    for (name, value) in request.headers().entries() {
        seen += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
    }
    seen
}

fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the request's body");
    let read = incoming.stream().expect("its stream");
    let body = respond(out, Fields::new());
    let write = body.write().expect("the stream");
    while let Ok(bytes) = read.blocking_read(4096) {
        write.blocking_write_and_flush(&bytes).expect("writing");
    }
    drop(write);
    OutgoingBody::finish(body, None).expect("finishing");
}

/// Sends a head and a little of a body, and then does worse.
fn stream(out: ResponseOutparam, length: Option<&str>, then: impl FnOnce(&OutputStream)) {
    let fields = Fields::new();
    if let Some(length) = length {
        fields.append("content-length", length.as_bytes()).expect("the length");
    }
    let body = respond(out, fields);
    let write = body.write().expect("the stream");
    // Enough that it does not fit what the host gathers before it begins to stream.
    for _ in 0..if length.is_some() { 1 } else { 40 } {
        let _ = write.blocking_write_and_flush(&[b'x'; 4096][..if length.is_some() { 30 } else { 4096 }]);
    }
    then(&write);
    drop(write);
    std::mem::forget(body);
}

fn headers(out: ResponseOutparam, count: usize, size: usize) {
    let fields = Fields::new();
    for n in 0..count {
        let _ = fields.append(&format!("x-{n}"), &vec![b'v'; size]);
    }
    let body = respond(out, fields);
    OutgoingBody::finish(body, None).expect("finishing");
}

/// `NAME|VALUE|NAME|VALUE…`: answers with these fields, as far as they can be set, and says which could not.
fn fields(out: ResponseOutparam, what: &str) {
    let fields = Fields::new();
    let words: Vec<&str> = what.split('|').collect();
    let refused: Vec<&str> = words
        .chunks_exact(2)
        .filter(|pair| fields.append(pair[0], pair[1].replace("%0d", "\r").replace("%0a", "\n").as_bytes()).is_err())
        .map(|pair| pair[0])
        .collect();
    let body = respond(out, fields);
    let write = body.write().expect("the stream");
    write.blocking_write_and_flush(format!("refused: {}", refused.join(" ")).as_bytes()).expect("writing");
    drop(write);
    OutgoingBody::finish(body, None).expect("finishing");
}

fn hop(out: ResponseOutparam) {
    let fields = Fields::new();
    for (name, value) in [("connection", "x-private"), ("transfer-encoding", "chunked"), ("te", "gzip"), ("trailer", "x"), ("x-kept", "1")]
    {
        let _ = fields.append(name, value.as_bytes());
    }
    let body = respond(out, fields);
    OutgoingBody::finish(body, None).expect("finishing");
}

/// `SCHEME|AUTHORITY|PATH` and, if there is more, `|NAME|VALUE` of a field → the status and body, or the error. `%0d` and `%0a` are what they
/// stand for.
fn fetch(what: &str) -> String {
    let what = what.replace("%0d", "\r").replace("%0a", "\n");
    let parts: Vec<&str> = what.splitn(5, '|').collect();
    let fields = Fields::new();
    if let [_, _, _, name, value] = parts[..]
        && fields.append(name, value.as_bytes()).is_err()
    {
        return "error: unsettable".into();
    }
    let request = OutgoingRequest::new(fields);
    let scheme = match parts[0] {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let set = [
        request.set_method(&Method::Get),
        request.set_scheme(Some(&scheme)),
        request.set_authority(Some(parts[1])),
        request.set_path_with_query(Some(parts.get(2).copied().unwrap_or("/"))),
    ];
    if set.iter().any(Result::is_err) {
        return "error: unsettable".into();
    }
    let pending = match outgoing_handler::handle(request, None) {
        Ok(pending) => pending,
        Err(code) => return format!("error: {code:?}"),
    };
    pending.subscribe().block();
    match pending.get().expect("it is ready").expect("once") {
        Err(code) => format!("error: {code:?}"),
        Ok(response) => {
            let body = response.consume().expect("the body");
            let read = body.stream().expect("its stream");
            let mut text = format!("{} ", response.status()).into_bytes();
            while let Ok(bytes) = read.blocking_read(4096) {
                text.extend_from_slice(&bytes);
            }
            String::from_utf8_lossy(&text).into_owned()
        }
    }
}
