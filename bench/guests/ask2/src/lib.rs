//! Asks `$ASKED` for each request to `/ask` and answers with its answer, in WASI 0.2; answers hello by itself elsewhere.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme};

wasip2::http::proxy::export!(Ask);

struct Ask;

impl Guest for Ask {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let text = match request.path_with_query().as_deref() {
            Some("/ask") => ask(),
            _ => b"Hello from wctl!\n".to_vec(),
        };
        let headers = Fields::from_list(&[("content-type".to_owned(), b"text/plain".to_vec())]).expect("valid headers");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body, taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("its stream, taken once");
        stream.blocking_write_and_flush(&text).expect("a reader");
        drop(stream);
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}

fn ask() -> Vec<u8> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(&std::env::var("ASKED").expect("whom to ask"))).expect("an authority");
    request.set_path_with_query(Some("/")).expect("a path");
    let answer = outgoing_handler::handle(request, None).expect("a request that may be made");
    answer.subscribe().block();
    let response = answer.get().expect("it is there").expect("taken once").expect("an answer");
    assert_eq!(response.status(), 200);
    let body = response.consume().expect("the body, taken once");
    let stream = body.stream().expect("its stream, taken once");
    let mut text = Vec::new();
    while let Ok(bytes) = stream.blocking_read(4096) {
        text.extend_from_slice(&bytes);
    }
    text
}
