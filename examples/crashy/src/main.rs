//! Traps or spins on demand, so that the healing can be watched.

use wstd::http::{Body, Error, Method, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => answer(StatusCode::OK, format!("{}\n", std::env::var("HOSTNAME").unwrap_or_default())),
        (&Method::POST, "/crash") => panic!("asked to crash"),
        (&Method::POST, "/loop") => loop {
            std::hint::spin_loop();
        },
        _ => answer(StatusCode::NOT_FOUND, "try GET /, POST /crash or POST /loop\n".to_owned()),
    }
}

fn answer(status: StatusCode, text: String) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).body(Body::from(text))?)
}
