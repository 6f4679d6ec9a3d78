//! Lists: repositories, tags, and what refers to a manifest.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName, LINK};

use super::Call;
use super::answer::{Code, Refusal};
use super::content::set;
use crate::blobs::{Blobs, Referrer};
use crate::digest::Digest;
use crate::manifest::INDEX;

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn catalog(blobs: &Blobs, call: &Call) -> Result<Response, Refusal> {
    let (page, link) = page(blobs.repositories().await?, call, "/v2/_catalog")?;
    Ok(linked(Json(serde_json::json!({ "repositories": page })).into_response(), link))
}

pub(super) async fn tags(blobs: &Blobs, call: &Call) -> Result<Response, Refusal> {
    let path = format!("/v2/{}/tags/list", call.repository);
    let (page, link) = page(blobs.tags(&call.repository).await?, call, &path)?;
    Ok(linked(Json(serde_json::json!({ "name": call.repository, "tags": page })).into_response(), link))
}

/// At most `n` names after `last`, and the address of the next page if there is one. `names` are sorted.
fn page(names: Vec<String>, call: &Call, path: &str) -> Result<(Vec<String>, Option<String>), Refusal> {
    let wrong = || Refusal::new(400, Code::Unsupported, "the query's n must be a whole number");
    let most = call.query.get("n").map(|n| n.parse::<usize>().map_err(|_| wrong())).transpose()?.unwrap_or(usize::MAX);
    let last = call.query.get("last");
    let mut rest = names.into_iter().filter(|name| last.is_none_or(|last| name > last));
    let page: Vec<String> = rest.by_ref().take(most).collect();
    // Names and tags hold nothing that a query would have to escape.
    let link = page.last().filter(|_| rest.next().is_some()).map(|last| format!("<{path}?n={most}&last={last}>; rel=\"next\""));
    Ok((page, link))
}

fn linked(mut response: Response, link: Option<String>) -> Response {
    if let Some(link) = link {
        set(&mut response, LINK, &link);
    }
    response
}

pub(super) async fn referrers(blobs: &Blobs, call: &Call, subject: &Digest) -> Result<Response, Refusal> {
    let artifact_type = call.query.get("artifactType").map(String::as_str);
    let found = blobs.referrers(&call.repository, subject, artifact_type).await?;
    let manifests: Vec<_> = found.iter().filter_map(Referrer::descriptor).collect();
    let mut response = Json(serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })).into_response();
    set(&mut response, CONTENT_TYPE, INDEX);
    if artifact_type.is_some() {
        set(&mut response, FILTERS, "artifactType");
    }
    Ok(response)
}
