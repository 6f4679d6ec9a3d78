//! hello in WASI 0.2 with nothing between it and the interfaces: what is measured is the host.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Hello);

struct Hello;

impl Guest for Hello {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::from_list(&[("content-type".to_owned(), b"text/plain".to_vec())]).expect("valid headers");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body, taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("its stream, taken once");
        stream.blocking_write_and_flush(b"Hello from wctl!\n").expect("a reader");
        drop(stream);
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}
