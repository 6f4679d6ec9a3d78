//! What admins do to the cluster as a whole: `/apis/wctl.dev/v1/freeze` and `/apis/wctl.dev/v1/backup`.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::status::Refusal;
use crate::auth::Identity;
use crate::freeze::{self, Frozen};
use crate::{backup, store};

#[derive(Clone)]
struct Shared {
    api: Api,
    backup: backup::Source,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Why {
    why: String,
}

pub(super) fn router(api: Api, backup: backup::Source) -> Router {
    Router::new()
        .route("/apis/wctl.dev/v1/freeze", get(told).put(frozen).delete(thawed))
        .route("/apis/wctl.dev/v1/backup", get(backed_up))
        .with_state(Shared { api, backup })
}

pub(super) fn refused(who: &Identity, what: &str) -> Refusal {
    Refusal::new(403, "Forbidden", format!("User \"{}\" may not {what}", who.name))
}

/// Who asks, if that is an admin.
pub(super) async fn admin(api: &Api, head: &Parts, what: &str) -> Result<Identity, Refusal> {
    let who = api.who(&head.headers, &head.extensions).await?;
    if who.is_admin() { Ok(who) } else { Err(refused(&who, what)) }
}

fn failed(error: store::Error) -> Refusal {
    Refusal::unavailable(error.to_string())
}

/// Whoever is known may see that the scheduler stands still.
async fn told(State(Shared { api, .. }): State<Shared>, head: Parts) -> Result<Json<Value>, Refusal> {
    api.who(&head.headers, &head.extensions).await?;
    let frozen = freeze::get(&**api.objects().store()).await.map_err(failed)?;
    Ok(Json(json!({ "frozen": frozen })))
}

async fn frozen(State(Shared { api, .. }): State<Shared>, head: Parts, body: String) -> Result<Json<Value>, Refusal> {
    let who = admin(&api, &head, "stop the scheduler").await?;
    let Why { why } = if body.trim().is_empty() {
        Why::default()
    } else {
        serde_json::from_str(&body).map_err(|error| Refusal::bad_request(format!("the reason: {error}")))?
    };
    let frozen = Frozen { by: who.name, since: jiff::Timestamp::now().to_string(), why, restored: false };
    let frozen = freeze::freeze(&**api.objects().store(), frozen).await.map_err(failed)?;
    Ok(Json(json!({ "frozen": frozen })))
}

async fn thawed(State(Shared { api, .. }): State<Shared>, head: Parts) -> Result<Json<Value>, Refusal> {
    admin(&api, &head, "let the scheduler go on").await?;
    let was = freeze::thaw(&**api.objects().store()).await.map_err(failed)?;
    Ok(Json(json!({ "frozen": null, "was": was })))
}

async fn backed_up(State(Shared { api, backup }): State<Shared>, head: Parts) -> Result<Response, Refusal> {
    admin(&api, &head, "make a backup: it holds everything").await?;
    let lines = backup::lines(api.objects().store().clone(), backup);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
