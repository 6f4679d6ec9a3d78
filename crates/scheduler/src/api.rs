//! The HTTP API in the shape of Kubernetes: who asks, what for, and which module answers.
//!
//! A request passes [`path`] (what it names), [`access`] (whether it may), then one of [`read`], [`watch`], [`write`] and
//! [`delete`]. Everything that is written passes [`admit`]: [`fields`], [`defaults`], [`validate`] and [`policy`], in this order.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use http::{Extensions, HeaderMap, Method, header, request};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::auth::{Identity, Tokens};
use crate::kinds::{APP, ROUTE_CLAIM};
use crate::objects::Objects;
use crate::reconcile::Resolve;

mod access;
mod admit;
mod apps;
mod audited;
mod body;
mod bounds;
mod claims;
pub mod columns;
mod data;
pub mod defaults;
mod delete;
mod discovery;
mod duplicates;
mod encode;
mod evict;
pub mod fields;
mod forward;
mod grants;
mod imports;
mod link;
pub mod lists;
mod logs;
mod managed;
mod metrics;
mod node_ports;
mod openapi;
pub mod patch;
pub mod path;
mod pinned;
mod policy;
pub mod protobuf;
pub mod quantity;
mod read;
mod reply;
mod requests;
mod reviews;
mod scale;
mod scaler_v1;
pub mod selector;
pub mod status;
mod tries;
mod typed;
mod usage;
pub mod validate;
mod watch;
mod write;

pub(crate) use audited::Noted;
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
    forwards: forward::Forwards,
    routes: bounds::Routes,
    stop: CancellationToken,
    audit: OnceLock<Audit>,
}

impl Api {
    /// The API over these objects, for whom these tokens know. `resolver` looks up the tags of pods that are written by hand;
    /// watches end when `stop` is cancelled.
    pub fn new(objects: Objects, tokens: Tokens, resolver: Arc<dyn Resolve>, stop: CancellationToken) -> Api {
        Api(Arc::new(Inner {
            objects,
            tokens,
            resolver,
            links: link::Links::default(),
            counters: metrics::Counters::default(),
            forwards: forward::Forwards::default(),
            routes: bounds::Routes::default(),
            stop,
            audit: OnceLock::new(),
        }))
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

    /// From now on, who changes what is kept there.
    pub(crate) fn set_audit(&self, audit: Audit) {
        // There is one for the life of a server.
        let _ = self.0.audit.set(audit);
    }

    /// The tokens of the cluster.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Who asks: whom this process vouches for, whom `Authorization` names, or the node whose certificate was shown.
    pub(crate) async fn who(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Identity> {
        if let Some(who) = extensions.get::<Identity>() {
            return Ok(who.clone());
        }
        match extensions.get::<NodeCertificate>().filter(|_| !headers.contains_key(header::AUTHORIZATION)) {
            Some(NodeCertificate { name, generation }) => {
                let found = self.0.tokens.node(name, *generation).await.map_err(|e| Refusal::unavailable(e.to_string()))?;
                found.ok_or_else(Refusal::unauthorized)
            }
            None => self.identify(headers).await,
        }
    }

    /// Whom the request's `Authorization` names, by a bearer token or by the password of Basic, as registry clients send it.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Identity> {
        let token = body::token(headers).ok_or_else(Refusal::unauthorized)?;
        let found = self.0.tokens.identify(&token).await.map_err(|e| Refusal::unavailable(e.to_string()))?;
        found.ok_or_else(Refusal::unauthorized)
    }
}

/// The certificate that a connection was made with, on each of its requests.
#[derive(Debug, Clone)]
pub(crate) struct NodeCertificate {
    pub name: String,
    pub generation: u64,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub std::net::SocketAddr);

/// One request about objects, once it is known who asks for what.
struct Call {
    api: Api,
    who: Identity,
    target: Target,
    query: Query,
    headers: HeaderMap,
    body: Body,
    /// The connection itself, where the client may want that.
    upgrade: Option<OnUpgrade>,
}

async fn answer(State(api): State<Api>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let (method, gzip) = (head.method.clone(), encode::takes_gzip(&head.headers));
    let noted = audited::Noted::before(&api, &head).await;
    let response = match route(api.clone(), head, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(noted) = noted {
        noted.after(&api, response.status().as_u16()).await;
    }
    api.0.counters.answered(response.status().as_u16());
    match method {
        Method::HEAD => response.map(|_| Body::empty()),
        _ if gzip => encode::compressed(response).await,
        _ => response,
    }
}

async fn route(api: Api, mut head: request::Parts, body: Body) -> Result<Response> {
    if scaler_v1::is_meant(&head.uri) {
        return scaler_v1::answer(api, head, body).await;
    }
    // Who is not known learns nothing, not even which paths there are.
    let place = path::parse(head.uri.path());
    if matches!(place, Ok(Place::Health)) {
        api.0.objects.resource_version().await.map_err(|e| Refusal::unavailable(e.to_string()))?;
        return Ok(([(header::CONTENT_TYPE, "text/plain")], "ok").into_response());
    }
    let who = api.who(&head.headers, &head.extensions).await?;
    access::as_oneself(&who, &head.headers)?;
    let query = Query::of(&head.uri)?;
    let read_only = matches!(head.method, Method::GET | Method::HEAD);
    match place? {
        Place::Resource(target) => {
            let upgrade = head.extensions.remove();
            let call = Call { api, who, target, query, headers: head.headers, body, upgrade };
            dispatch(call, &head.method).await
        }
        Place::Asks { node } => {
            access::is_node(&who, &node)?;
            Ok(api.0.links.asks(&node, api.0.stop.clone()))
        }
        Place::Answer { node, id } => {
            access::is_node(&who, &node)?;
            api.0.links.answer(&node, &id, &query, body, api.0.stop.clone()).await
        }
        Place::Metrics { node } if read_only => {
            access::may_watch_nodes(&who)?;
            match node {
                Some(node) => metrics::one(&api, &node).await,
                None => Ok(metrics::all(&api).await),
            }
        }
        Place::Requests { node } if read_only => requests::answer(&api, &who, &node, &query).await,
        Place::Review(review) if head.method == Method::POST => reviews::answer(&who, review, &head.headers, body).await,
        Place::Usage(usage) if read_only => usage::answer(&api, &who, usage, &query, &head.headers).await,
        Place::Schemas if read_only => Ok(reply::json(http::StatusCode::OK, &openapi::index(), &[])),
        Place::SchemasV2 if read_only => Ok(openapi::answer_v2(&head.headers)),
        Place::Controllers if read_only => {
            let version = api.0.objects.resource_version().await.map_err(|e| Refusal::unavailable(e.to_string()))?;
            Ok(reply::json(http::StatusCode::OK, &discovery::no_controllers(version), &[]))
        }
        Place::Schema(place) if read_only => openapi::answer(&place, &head.headers, &query),
        _ if !read_only => Err(Refusal::new(405, "MethodNotAllowed", "only GET is answered here")),
        place => discovery::answer(&place, &head.headers),
    }
}

async fn dispatch(call: Call, method: &Method) -> Result<Response> {
    let part = call.target.part.clone();
    let named = call.target.name.is_some();
    // A WebSocket begins with a GET, whatever it is for.
    let verb = if part == "portforward" { "create" } else { access::verb(method, named, call.query.flag("watch")) };
    access::check(&call, verb)?;
    access::agent(&call.api, &call.who, &call.target, verb).await?;
    let kind = call.target.kind;
    if kind.is_read_only() && !matches!(verb, "get" | "list" | "watch") && !(kind == &ROUTE_CLAIM && verb == "delete") {
        return Err(Refusal::read_only(kind, verb));
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
        ("eviction", "create") if call.target.kind.kind == "Pod" => evict::answer(call).await,
        ("log", "get") if call.target.kind.kind == "Pod" => logs::answer(call).await,
        ("", "delete") => delete::one(call).await,
        ("data", "delete") if call.target.kind == &APP => data::forget(call).await,
        ("", "deletecollection") => delete::all(call).await,
        ("portforward", "create") if call.target.kind.kind == "Pod" => forward::answer(call).await,
        ("exec" | "attach", _) if call.target.kind.kind == "Pod" => {
            Err(Refusal::bad_request(format!("{part} does not work on a component: it has no shell and no terminal")))
        }
        ("", _) | ("status", _) => Err(Refusal::method(call.target.kind, verb)),
        _ => Err(Refusal::no_such_path()),
    }
}
