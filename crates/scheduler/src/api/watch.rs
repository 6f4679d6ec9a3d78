//! Watches: what changes, as it changes, one JSON object a line.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use http::header;
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::objects::{Change, Continue, Event};

use super::read;
use super::reply::{self, Form};
use super::selector::Selector;
use super::status::{Refusal, Result};
use super::{Api, Call, Target};

/// How long a watch lasts that sets no `timeoutSeconds`, at least; each is a little longer, so that not all come back at once.
const LASTS: Duration = Duration::from_secs(30 * 60);
/// Longest watch that a client may ask for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Objects read at a time for a watcher that is told first what is there.
const PAGE: usize = 50;

/// What a watcher sees of each change.
struct View {
    kind: &'static Kind,
    selector: Selector,
    form: Form,
    bookmarks: bool,
}

pub(super) async fn watch(call: Call) -> Result<Response> {
    let Call { api, target, query, headers, .. } = call;
    let mut selector = Selector::of(target.kind, &query)?;
    if let Some(name) = &target.name {
        selector = selector.and_name(name);
    }
    let form = Form::of(&headers, &query);
    let bookmarks = query.flag("allowWatchBookmarks");
    let lasts = query.number("timeoutSeconds")?.filter(|s| *s > 0).map_or_else(|| LASTS + jitter(), Duration::from_secs).min(LONGEST);
    let asked = query.get("resourceVersion").map(str::parse::<u64>).transpose();
    let asked = asked.map_err(|_| Refusal::bad_request("resourceVersion is not one that this server gave"))?.filter(|v| *v > 0);
    let initial = query.flag("sendInitialEvents");
    let view = View { kind: target.kind, selector, form, bookmarks };
    let view = Arc::new(view);
    let events = match asked {
        Some(version) if !initial => follow(&api, &target, view, version),
        _ => {
            let first = page(&api, &target, &view, None).await?;
            let after = first.version;
            let there = now_there(api.clone(), target.clone(), view.clone(), initial, first);
            there.chain(follow(&api, &target, view, after)).boxed()
        }
    };
    let lines = events.map(Ok::<_, std::convert::Infallible>);
    let body = Body::from_stream(until(lines, api.0.stop.clone().cancelled_owned(), lasts));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn jitter() -> Duration {
    Duration::from_secs(rand::random_range(0..300))
}

async fn page(api: &Api, target: &Target, view: &View, next: Option<Continue>) -> Result<read::Selected> {
    read::select(api, target, &view.selector, Some(PAGE), next).await
}

/// Everything there is, as if it were added just now. Read as the client takes it: many that begin at once hold a page each, not all.
fn now_there(api: Api, target: Target, view: Arc<View>, initial: bool, first: read::Selected) -> BoxStream<'static, Bytes> {
    let (version, end) = (first.version, view.clone());
    let pages = stream::unfold(Some(Result::Ok(first)), move |at| {
        let (api, target, view) = (api.clone(), target.clone(), view.clone());
        async move {
            match at? {
                Ok(selected) => {
                    let events: Vec<Bytes> = selected.items.iter().map(|object| view.event("ADDED", object)).collect();
                    let next = match selected.next {
                        Some(next) => Some(page(&api, &target, &view, Some(next)).await),
                        None => None,
                    };
                    Some((events, next))
                }
                // History may be forgotten while a client takes its time.
                Err(refusal) => Some((vec![line("ERROR", &refusal.body())], None)),
            }
        }
    });
    let told = initial && end.bookmarks;
    let last = told.then(|| end.bookmark(version, json!({ "k8s.io/initial-events-end": "true" })));
    pages.flat_map(stream::iter).chain(stream::iter(last)).boxed()
}

fn follow(api: &Api, target: &Target, view: Arc<View>, after: u64) -> BoxStream<'static, Bytes> {
    let events = api.0.objects.watch_with_bookmarks(&[target.kind], target.namespace.as_deref(), after);
    events
        .filter_map(move |event| {
            let told = match event {
                Ok(event) => view.tell(event),
                Err(error) => Some(line("ERROR", &reply::refusal(view.kind, "", error).body())),
            };
            futures::future::ready(told)
        })
        .boxed()
}

impl View {
    /// The event as this watcher sees it: what comes to match was added, what no longer matches was deleted.
    fn tell(&self, event: Event) -> Option<Bytes> {
        if matches!(event.change, Change::Bookmark) {
            return self.bookmarks.then(|| self.bookmark(event.resource_version, json!({})));
        }
        let before = event.previous.as_ref().is_some_and(|object| self.selector.matches(&object.0));
        let after = !matches!(event.change, Change::Deleted) && self.selector.matches(&event.object.0);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(self.event("ADDED", &event.object.0)),
            (true, true) => Some(self.event("MODIFIED", &event.object.0)),
            (true, false) => {
                let mut last = event.previous?.0;
                last["metadata"]["resourceVersion"] = json!(event.resource_version.to_string());
                Some(self.event("DELETED", &last))
            }
        }
    }

    fn event(&self, change: &str, object: &Value) -> Bytes {
        // Written here, since `json!` would copy the object.
        match self.form {
            Form::Whole => line(change, object),
            form => line(change, &form.one(self.kind, object.clone(), jiff::Timestamp::now())),
        }
    }

    fn bookmark(&self, version: u64, annotations: Value) -> Bytes {
        let mut object = json!({
            "kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": { "resourceVersion": version.to_string() },
        });
        if annotations.as_object().is_some_and(|a| !a.is_empty()) {
            object["metadata"]["annotations"] = annotations;
        }
        match self.form {
            Form::Whole | Form::Metadata => line("BOOKMARK", &object),
            // A bookmark is about no object, so its table has no rows.
            Form::Table(_) => {
                let meta = &object["metadata"];
                line(
                    "BOOKMARK",
                    &json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": [], "rows": [] }),
                )
            }
        }
    }
}

fn line(change: &str, object: &Value) -> Bytes {
    format!("{{\"type\":\"{change}\",\"object\":{object}}}\n").into()
}

/// The stream, until `stop`, or until it has lasted long enough.
fn until<S: Stream>(stream: S, stop: impl Future<Output = ()> + Send, lasts: Duration) -> impl Stream<Item = S::Item> {
    let end = async move {
        tokio::select! { () = stop => {}, () = tokio::time::sleep(lasts) => {} }
    };
    stream.take_until(end)
}
