//! Keeps the shop's stock in `wasi:keyvalue`: `GET /inventory/apple`, and `POST /inventory/apple/take` with `{"quantity":2}`.

mod stock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Item {
    sku: String,
    stock: i64,
}

#[derive(Deserialize)]
struct Take {
    quantity: i64,
}

type Failure = (StatusCode, String);

#[wstd_axum::http_server]
fn main() -> Router {
    Router::new()
        .route("/inventory/{sku}", get(look))
        .route("/inventory/{sku}/take", post(take))
        .route("/healthz", get(|| async { "ok\n" }))
}

async fn look(Path(sku): Path<String>) -> Result<Json<Item>, Failure> {
    let stock = stock::of(&sku).map_err(failure)?;
    Ok(Json(Item { sku, stock }))
}

async fn take(Path(sku): Path<String>, Json(take): Json<Take>) -> Result<Json<Item>, Failure> {
    if take.quantity < 1 {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "quantity must be at least 1\n".to_owned()));
    }
    let stock = stock::take(&sku, take.quantity).map_err(failure)?;
    Ok(Json(Item { sku, stock }))
}

fn failure(error: stock::Error) -> Failure {
    match error {
        stock::Error::Unknown(sku) => (StatusCode::NOT_FOUND, format!("no item {sku}\n")),
        stock::Error::Short { sku, stock } => (StatusCode::CONFLICT, format!("only {stock} of {sku} left\n")),
        stock::Error::Store(reason) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}\n")),
    }
}
