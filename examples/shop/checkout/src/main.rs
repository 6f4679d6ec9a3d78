//! Takes orders: asks `user` who is buying and `inventory` for the goods, each over plain HTTP inside the app.

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use wstd::http::{Body, Client, Request, Response};

#[derive(Deserialize)]
struct Order {
    user: u64,
    sku: String,
    quantity: i64,
}

#[derive(Serialize)]
struct Receipt {
    order: String,
    user: u64,
    sku: String,
    quantity: i64,
    stock: i64,
}

#[derive(Deserialize)]
struct Item {
    stock: i64,
}

type Failure = (StatusCode, String);

#[wstd_axum::http_server]
fn main() -> Router {
    Router::new().route("/checkout", post(checkout)).route("/healthz", get(|| async { "ok\n" }))
}

async fn checkout(Json(order): Json<Order>) -> Result<(StatusCode, Json<Receipt>), Failure> {
    let user = Request::get(format!("http://user.internal/users/{}", order.user)).body(Body::empty()).map_err(unusable)?;
    ask(user).await?;

    // The sku becomes part of a path, so nothing that could change that path may pass.
    if order.sku.is_empty() || !order.sku.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        return Err((StatusCode::NOT_FOUND, format!("no item {}\n", order.sku)));
    }
    let body = serde_json::json!({ "quantity": order.quantity }).to_string();
    let take = Request::post(format!("http://inventory.internal/inventory/{}/take", order.sku))
        .header("content-type", "application/json")
        .body(Body::from(body))
        .map_err(unusable)?;
    let item: Item = serde_json::from_slice(&ask(take).await?).map_err(unreachable)?;

    let Order { user, sku, quantity } = order;
    Ok((StatusCode::CREATED, Json(Receipt { order: order_number(), user, sku, quantity, stock: item.stock })))
}

/// The body of a good answer; of any other the status and text, which the customer gets as they are.
async fn ask(request: Request<Body>) -> Result<Vec<u8>, Failure> {
    let response: Response<Body> = Client::new().send(request).await.map_err(unreachable)?;
    let status = StatusCode::from_u16(response.status().as_u16()).map_err(unreachable)?;
    let mut body = response.into_body();
    let bytes = body.contents().await.map_err(unreachable)?.to_vec();
    if status.is_success() { Ok(bytes) } else { Err((status, String::from_utf8_lossy(&bytes).into_owned())) }
}

/// Sixteen random hex digits: orders need no counter that every replica would have to share.
fn order_number() -> String {
    let mut number = [0; 8];
    wstd::rand::get_insecure_random_bytes(&mut number);
    format!("{:016x}", u64::from_be_bytes(number))
}

fn unusable(error: impl std::fmt::Display) -> Failure {
    (StatusCode::UNPROCESSABLE_ENTITY, format!("the order cannot be read: {error}\n"))
}

fn unreachable(error: impl std::fmt::Display) -> Failure {
    (StatusCode::BAD_GATEWAY, format!("a service of the shop did not answer: {error}\n"))
}
