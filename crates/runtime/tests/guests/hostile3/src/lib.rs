//! A 0.3 HTTP guest that misbehaves in the way that the request's path names.

mod files;
mod sockets;

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_bindgen, wit_future, wit_stream};

wasip3::http::service::export!(Hostile);

struct Hostile;

static mut CALLS: u32 = 0;

impl Guest for Hostile {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let whole = request.get_path_with_query().unwrap_or_default();
        let (path, query) = whole.split_once('?').unwrap_or((&whole, ""));
        match path {
            "/count" => Ok(answer(count().to_string().into_bytes(), After::Finish)),
            "/spin" => spin(),
            "/sleep" => {
                wasip3::clocks::monotonic_clock::wait_for(u64::MAX).await;
                Ok(answer(Vec::new(), After::Finish))
            }
            "/error" => Err(ErrorCode::InternalError(Some("as asked".into()))),
            "/print" => {
                println!("to stdout");
                Ok(answer(b"printed".to_vec(), After::Finish))
            }
            "/panic" => panic!("as asked"),
            "/trap-body" => Ok(answer(vec![b'x'; 200_000], After::Trap)),
            "/spin-body" => Ok(answer(vec![b'x'; 200_000], After::Spin)),
            "/stall-body" => Ok(answer(vec![b'x'; 200_000], After::Stall)),
            "/files" => Ok(answer(files::act(query).await.into_bytes(), After::Finish)),
            "/sockets" => Ok(answer(sockets::act(query).await.into_bytes(), After::Finish)),
            "/fetch" => Ok(answer(fetch(query).await.into_bytes(), After::Finish)),
            _ => Ok(answer(b"hello".to_vec(), After::Finish)),
        }
    }
}

enum After {
    Finish,
    Trap,
    Spin,
    Stall,
}

fn spin() -> ! {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

fn count() -> u32 {
    unsafe {
        CALLS += 1;
        CALLS
    }
}

fn answer(bytes: Vec<u8>, after: After) -> Response {
    let (mut body, reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(reader), trailers_reader);
    wit_bindgen::spawn_local(async move {
        body.write_all(bytes).await;
        match after {
            After::Finish => {}
            After::Trap => std::process::abort(),
            After::Spin => spin(),
            After::Stall => wasip3::clocks::monotonic_clock::wait_for(u64::MAX).await,
        }
        drop(body);
        let _ = trailers.write(Ok(None)).await;
    });
    response
}

/// `SCHEME|AUTHORITY|PATH` → the status, or the error.
async fn fetch(what: &str) -> String {
    use wasip3::http::types::Scheme;
    let what = what.replace("%0d", "\r").replace("%0a", "\n");
    let parts: Vec<&str> = what.splitn(5, '|').collect();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    drop(trailers);
    let fields = Fields::new();
    if let [_, _, _, name, value] = parts[..]
        && fields.append(name, value.as_bytes()).is_err()
    {
        return "error: unsettable".into();
    }
    let (request, _sent) = Request::new(fields, None, trailers_reader, None);
    let scheme = match parts[0] {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let set = [
        request.set_scheme(Some(&scheme)),
        request.set_authority(Some(parts[1])),
        request.set_path_with_query(Some(parts.get(2).copied().unwrap_or("/"))),
    ];
    if set.iter().any(Result::is_err) {
        return "error: unsettable".into();
    }
    match wasip3::http::client::send(request).await {
        Ok(response) => response.get_status_code().to_string(),
        Err(code) => format!("error: {code:?}"),
    }
}
