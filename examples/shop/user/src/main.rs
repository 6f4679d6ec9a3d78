//! Knows the shop's customers: `GET /users/1` answers `{"id":1,"name":"Ada"}`.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

const NAMES: [&str; 5] = ["Ada", "Grace", "Edsger", "Barbara", "Alan"];

#[derive(Serialize)]
struct User {
    id: usize,
    name: &'static str,
}

#[wstd_axum::http_server]
fn main() -> Router {
    Router::new().route("/users/{id}", get(user)).route("/healthz", get(|| async { "ok\n" }))
}

async fn user(Path(id): Path<usize>) -> Result<Json<User>, (StatusCode, String)> {
    match id.checked_sub(1).and_then(|index| NAMES.get(index)) {
        Some(name) => Ok(Json(User { id, name })),
        None => Err((StatusCode::NOT_FOUND, format!("no user {id}\n"))),
    }
}
