//! Asks `$ASKED` for each request to `/ask` and passes its answer on, in WASI 0.3; answers hello by itself elsewhere.

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Ask);

struct Ask;

impl Guest for Ask {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        match request.get_path_with_query().as_deref() {
            Some("/ask") => ask().await,
            _ => hello(),
        }
    }
}

async fn ask() -> Result<Response, ErrorCode> {
    let (trailers, none) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (request, _sent) = Request::new(Fields::new(), None, none, None);
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(&std::env::var("ASKED").expect("whom to ask"))).expect("an authority");
    request.set_path_with_query(Some("/")).expect("a path");
    wasip3::http::client::send(request).await
}

fn hello() -> Result<Response, ErrorCode> {
    let headers = Fields::from_list(&[("content-type".to_owned(), b"text/plain".to_vec())]).expect("valid headers");
    let (mut body, reader) = wit_stream::new();
    let (trailers, none) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (response, _sent) = Response::new(headers, Some(reader), none);
    wit_bindgen::spawn_local(async move {
        body.write_all(b"Hello from wctl!\n".to_vec()).await;
    });
    Ok(response)
}
