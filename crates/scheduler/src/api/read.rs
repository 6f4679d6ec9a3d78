//! One object, and lists.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::objects::{Continue, Object, Part};

use super::reply::{self, Form};
use super::selector::Selector;
use super::status::{Refusal, Result};
use super::{Api, Call, Target};

/// Most objects that one answer holds when the client sets no limit, in order that it stays one answer for small clusters.
const MOST_UNPAGED: usize = 100_000;
/// Objects read from the store at a time.
const PAGE: usize = 500;

/// The object of a target that names one.
pub(super) async fn object(api: &Api, target: &Target) -> Result<Object> {
    let name = target.name.as_deref().unwrap_or_default();
    let found = api.0.objects.get(target.kind, target.namespace(), name).await;
    found.map_err(|e| reply::refusal(target.kind, name, e))?.ok_or_else(|| Refusal::not_found(target.kind, name))
}

pub(super) async fn get(call: Call) -> Result<Response> {
    let object = object(&call.api, &call.target).await?;
    let body = Form::of(&call.headers, &call.query).one(call.target.kind, object.0, jiff::Timestamp::now());
    Ok(reply::json(StatusCode::OK, &body, &[]))
}

pub(super) async fn list(call: Call) -> Result<Response> {
    let kind = call.target.kind;
    let selector = Selector::of(kind, &call.query)?;
    let limit = call.query.number("limit")?.filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok());
    let next = call.query.get("continue").map(str::parse).transpose();
    // A token that another server gave, or that was cut, asks for a new list just as one that is too old does.
    let next: Option<Continue> = next.map_err(|e: crate::objects::Error| Refusal::bad_request(e.to_string()))?;
    let (form, now) = (Form::of(&call.headers, &call.query), jiff::Timestamp::now());
    let limit = limit.map(|limit| form.page(limit));
    let page = pages(&call.api, &call.target, &selector, limit, next, (form.parts(kind), |object| form.item(kind, object, now))).await?;
    let mut meta = json!({ "resourceVersion": page.version.to_string() });
    if let Some(next) = page.next {
        meta["continue"] = json!(next.to_string());
    }
    Ok(reply::json(StatusCode::OK, &form.list(kind, page.items, meta), &[]))
}

/// Some of the objects that a selector matches.
pub(super) struct Selected {
    /// The resourceVersion of all pages.
    pub(super) version: u64,
    pub(super) items: Vec<Value>,
    pub(super) next: Option<Continue>,
}

/// Up to `limit` objects that match, from where `next` points.
pub(super) async fn select(
    api: &Api,
    target: &Target,
    selector: &Selector,
    limit: Option<usize>,
    next: Option<Continue>,
) -> Result<Selected> {
    pages(api, target, selector, limit, next, (&[], |object| object)).await
}

/// The same, of each object these parts (none named: all), and what `shown` makes of them: the rest is not held until the last page is there.
async fn pages(
    api: &Api,
    target: &Target,
    selector: &Selector,
    limit: Option<usize>,
    mut next: Option<Continue>,
    (parts, shown): (&[Part], impl Fn(Value) -> Value),
) -> Result<Selected> {
    let most = limit.unwrap_or(MOST_UNPAGED);
    let mut items = Vec::new();
    loop {
        // Never more than still fit, so that the next page starts right after the last object looked at.
        let ask = PAGE.min(most - items.len());
        let page = api.0.objects.list_parts(target.kind, target.namespace.as_deref(), ask, next, parts).await;
        let page = page.map_err(|e| reply::refusal(target.kind, "", e))?;
        items.extend(page.items.into_iter().map(|o| o.0).filter(|o| selector.matches(o)).map(&shown));
        next = page.next;
        if next.is_none() || items.len() >= most {
            return Ok(Selected { version: page.resource_version, items, next });
        }
    }
}
