//! hello in WASI 0.3 with nothing between it and the interfaces: what is measured is the host.

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Hello);

struct Hello;

impl Guest for Hello {
    async fn handle(_: Request) -> Result<Response, ErrorCode> {
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
}
