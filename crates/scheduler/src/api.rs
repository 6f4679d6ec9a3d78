//! The HTTP API in the shape of Kubernetes: who asks, what for, and which module answers.
//!
//! A request passes [`path`] (what it names), [`access`] (whether it may), then one of [`read`], [`watch`], [`write`] and
//! [`delete`]. Everything that is written passes [`admit`]: [`fields`], [`defaults`], [`validate`] and [`policy`], in this order.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use http::{HeaderMap, Method, header, request};
use tokio_util::sync::CancellationToken;

use crate::auth::{Identity, Tokens};
use crate::kinds::{APP, ROUTE_CLAIM};
use crate::objects::Objects;
use crate::reconcile::Resolve;

mod access;
mod admit;
mod apps;
mod body;
mod claims;
pub mod columns;
mod data;
pub mod defaults;
mod delete;
mod discovery;
pub mod fields;
mod grants;
mod imports;
mod link;
mod logs;
mod metrics;
pub mod patch;
pub mod path;
mod pinned;
mod policy;
pub mod quantity;
mod read;
mod reply;
mod requests;
mod scale;
pub mod selector;
pub mod status;
mod tries;
pub mod validate;
mod watch;
mod write;

use path::{Place, Query, Target};
use status::{Refusal, Result};

/// The API over the objects of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    objects: Objects,
    tokens: Tokens,
    resolver: Arc<dyn Resolve>,
    links: link::Links,
    counters: metrics::Counters,
    stop: CancellationToken,
}

impl Api {
    /// The API over these objects, for whom these tokens know. `resolver` looks up the tags of pods that are written by hand;
    /// watches end when `stop` is cancelled.
    pub fn new(objects: Objects, tokens: Tokens, resolver: Arc<dyn Resolve>, stop: CancellationToken) -> Api {
        Api(Arc::new(Inner { objects, tokens, resolver, links: link::Links::default(), counters: metrics::Counters::default(), stop }))
    }

    /// The objects beneath.
    pub fn objects(&self) -> &Objects {
        &self.0.objects
    }

    /// What a node answers to an ask: a JSON value.
    pub(crate) async fn ask<T: serde::de::DeserializeOwned>(&self, node: &str, ask: serde_json::Value) -> Result<T> {
        let text = link::whole(self.0.links.ask(node, ask).await?).await?;
        serde_json::from_slice(&text).map_err(|error| Refusal::internal(format!("node {node} answered what cannot be read: {error}")))
    }

    /// The API for clients that show a token.
    pub fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// The API as `who` sees it, for clients in this process.
    pub fn service(&self, who: Identity) -> Router {
        self.router().layer(Extension(who))
    }

    /// Whom the request's `Authorization` names, by a bearer token or by the password of Basic, as registry clients send it.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Identity> {
        let token = body::token(headers).ok_or_else(Refusal::unauthorized)?;
        let found = self.0.tokens.identify(&token).await.map_err(|e| Refusal::unavailable(e.to_string()))?;
        found.ok_or_else(Refusal::unauthorized)
    }
}

/// One request about objects, once it is known who asks for what.
struct Call {
    api: Api,
    who: Identity,
    target: Target,
    query: Query,
    headers: HeaderMap,
    body: Body,
}

async fn answer(State(api): State<Api>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let method = head.method.clone();
    let response = match route(api.clone(), head, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    api.0.counters.answered(response.status().as_u16());
    if method == Method::HEAD { response.map(|_| Body::empty()) } else { response }
}

async fn route(api: Api, head: request::Parts, body: Body) -> Result<Response> {
    // Who is not known learns nothing, not even which paths there are.
    let place = path::parse(head.uri.path());
    if matches!(place, Ok(Place::Health)) {
        api.0.objects.resource_version().await.map_err(|e| Refusal::unavailable(e.to_string()))?;
        return Ok(([(header::CONTENT_TYPE, "text/plain")], "ok").into_response());
    }
    let given = head.extensions.get::<Identity>().cloned();
    let who = match given {
        Some(who) => who,
        None => api.identify(&head.headers).await?,
    };
    let query = Query::of(&head.uri)?;
    let read_only = matches!(head.method, Method::GET | Method::HEAD);
    match place? {
        Place::Resource(target) => {
            let call = Call { api, who, target, query, headers: head.headers, body };
            dispatch(call, &head.method).await
        }
        Place::Asks { node } => {
            access::is_node(&who, &node)?;
            Ok(api.0.links.asks(&node, api.0.stop.clone()))
        }
        Place::Answer { node, id } => {
            access::is_node(&who, &node)?;
            api.0.links.answer(&node, &id, &query, body).await
        }
        Place::Metrics { node } if read_only => {
            access::may_watch_nodes(&who)?;
            match node {
                Some(node) => metrics::one(&api, &node).await,
                None => Ok(metrics::all(&api).await),
            }
        }
        Place::Requests { node } if read_only => requests::answer(&api, &who, &node, &query).await,
        _ if !read_only => Err(Refusal::new(405, "MethodNotAllowed", "only GET is answered here")),
        place => discovery::answer(&place),
    }
}

async fn dispatch(call: Call, method: &Method) -> Result<Response> {
    let part = call.target.part.clone();
    let named = call.target.name.is_some();
    let verb = access::verb(method, named, call.query.flag("watch"));
    access::check(&call, verb)?;
    if call.target.kind == &ROUTE_CLAIM && !matches!(verb, "get" | "list" | "watch" | "delete") {
        return Err(Refusal::method(&ROUTE_CLAIM, verb));
    }
    match (part.as_str(), verb) {
        ("", "get") => read::get(call).await,
        ("", "list") => read::list(call).await,
        ("", "watch") => watch::watch(call).await,
        ("", "create") if !named => write::create(call).await,
        ("" | "status", "update") if named => write::replace(call).await,
        ("" | "status", "patch") if named => write::patch(call).await,
        ("status", "get") => read::get(call).await,
        ("scale", _) if call.target.kind.scale => scale::answer(call, verb).await,
        ("log", "get") if call.target.kind.kind == "Pod" => logs::answer(call).await,
        ("", "delete") => delete::one(call).await,
        ("data", "delete") if call.target.kind == &APP => data::forget(call).await,
        ("", "deletecollection") => delete::all(call).await,
        ("exec" | "attach" | "portforward", _) if call.target.kind.kind == "Pod" => {
            Err(Refusal::bad_request(format!("{part} does not work on a component: it has no shell, no terminal and no ports of its own")))
        }
        ("", _) | ("status", _) => Err(Refusal::method(call.target.kind, verb)),
        _ => Err(Refusal::no_such_path()),
    }
}
